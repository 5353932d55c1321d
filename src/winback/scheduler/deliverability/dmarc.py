"""DMARC (RFC 7489): what receivers do with mail that only claims to come from a domain, and whether ours proves that it does."""

from __future__ import annotations

from collections.abc import Sequence

from winback.project.signing import is_aligned
from winback.scheduler.deliverability.dkim import read_tags
from winback.scheduler.deliverability.finding import Finding
from winback.scheduler.deliverability.names import Names

_POLICIES = {
    "none": "p=none: receivers only watch",
    "quarantine": "p=quarantine: receivers put what fails into spam",
    "reject": "p=reject: receivers refuse what fails",
}


def dmarc(names: Names, sender: str, signed_by: Sequence[str], envelope: str) -> Finding:
    """Return what is asked of letters from `sender`, signed for the domains `signed_by`, whose bounces go to `envelope`."""
    place, found = _look_up(names, sender)
    record = f"v=DMARC1; p=none; rua=mailto:dmarc@{place}"
    if not found:
        message = f"{sender} has no DMARC record: large receivers want one"
        return Finding("DMARC", False, message, f'publish a TXT record at _dmarc.{place}: "{record}"')
    if len(found) > 1:
        message = f"_dmarc.{place} has {len(found)} DMARC records, so that none counts"
        return Finding("DMARC", False, message, "leave one of them")
    tags = read_tags(found[0])
    policy = tags.get("p", "").lower()
    if place != sender:
        policy = tags.get("sp", policy).lower()
    if policy not in _POLICIES:
        message = f"_dmarc.{place} has no policy that receivers know: {found[0]}"
        return Finding("DMARC", False, message, f'write for example "{record}"')
    return _alignment(sender, place, tags, policy, signed_by, envelope)


def _alignment(sender: str, place: str, tags: dict[str, str], policy: str, signed_by: Sequence[str], envelope: str) -> Finding:
    aligned = [domain for domain in signed_by if _counts(domain, sender, tags.get("adkim", "r"))]
    ways = [f"DKIM (signed by {domain})" for domain in dict.fromkeys(aligned)]
    if _counts(envelope, sender, tags.get("aspf", "r")):
        ways.append(f"SPF (bounces go to {envelope})")
    said = f"{place} has {_POLICIES[policy]}"
    if not ways:
        message = f"{said}; our letters prove nothing: no signature and no envelope sender is of {sender}"
        return Finding(
            "DMARC", False, message, "let winback sign (winback dkim winback1), or set envelope_from to your own domain"
        )
    remedy = "" if "rua" in tags else f"add rua=mailto:dmarc@{place} to it, and learn who sends in your name"
    return Finding("DMARC", True, f"{said}; our letters can pass by {' and by '.join(ways)}", remedy)


def _counts(domain: str, sender: str, mode: str) -> bool:
    return domain == sender if mode.lower() == "s" else is_aligned(domain, sender)


def _look_up(names: Names, sender: str) -> tuple[str, list[str]]:
    """Return where the record stands, and what is there: at the sender's own domain, else at the nearest above that has one."""
    labels = sender.split(".")
    for start in range(len(labels) - 1):
        place = ".".join(labels[start:])
        found = [text for text in names.texts(f"_dmarc.{place}") or () if text.replace(" ", "").lower().startswith("v=dmarc1")]
        if found:
            return place, found
    return sender, []
