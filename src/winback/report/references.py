"""What others report of letters of a kind: lines beside the rates, with the words of their source. They promise nothing."""

from __future__ import annotations

from winback.project import Campaign
from winback.report.model import Reference

#: Letters after a purchase. Nobody knows how these were counted: their openings probably include machines.
_THANK_YOU = "public reference for thank-you letters after a purchase"

_THANK_YOU_LETTERS = (
    Reference("opened", 0.425, _THANK_YOU),
    Reference("clicked", 0.183, _THANK_YOU),
    Reference("converted", 0.103, _THANK_YOU),
)


def references_for(campaign: Campaign) -> tuple[Reference, ...]:
    """Return the references for campaigns of this kind, none for most."""
    audience = campaign.audience
    thanks = audience.preset == "after_order" and audience.after != "voided"
    return _THANK_YOU_LETTERS if thanks else ()
