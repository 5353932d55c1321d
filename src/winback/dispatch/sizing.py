"""How many parts text messages take: each is composed as its customer would get it, and thrown away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP

from babel.numbers import get_currency_precision
from sqlalchemy import Connection

from winback.compose.composer import Composer
from winback.dispatch.recipients import Addressee, load_recipients
from winback.errors import RenderError
from winback.project import Project

#: A number that links have in shops that have sent for a while: with it the signed addresses are as long as theirs.
_LINK = 1_000


@dataclass(frozen=True)
class TextMessage:
    """A text message that would go: to whom, and by which arm of a test."""

    addressee: Addressee
    variant: str


@dataclass
class _Known:
    """What was learnt of the messages of one step."""

    counted: int = 0
    parts: int = 0

    @property
    def usual(self) -> int:
        return round(self.parts / self.counted) if self.counted else 1


@dataclass
class Parts:
    """Counts the parts of text messages. With `at_most`, so many of each step are composed, and the others taken for as long."""

    project: Project
    at_most: int | None = None
    _known: dict[tuple[str, str], _Known] = field(default_factory=lambda: defaultdict(_Known))

    def __post_init__(self) -> None:
        self._composer = Composer(self.project, signed=False)

    def count(self, connection: Connection, texts: Sequence[TextMessage], now: datetime) -> dict[str, int]:
        """Return the parts of each message by its id; one that cannot be composed is left out."""
        found: dict[str, int] = {}
        composed = []
        for text in texts:
            known = self._known[text.addressee.campaign.name, text.addressee.step.name]
            if self.at_most is not None and known.counted >= self.at_most:
                found[text.addressee.message_id] = known.usual
            else:
                composed.append(text)
        recipients = load_recipients(connection, self.project, [text.addressee for text in composed], now)
        for text in composed:
            about = text.addressee
            try:
                message = self._composer.compose(
                    about.campaign,
                    about.step,
                    recipients[about.message_id],
                    variant=text.variant,
                    now=now,
                    link_ids=lambda targets: [_LINK] * len(targets),
                )
            except RenderError:
                continue
            assert message.segments is not None  # noqa: S101 - what text messages have
            known = self._known[about.campaign.name, about.step.name]
            known.counted += 1
            known.parts += message.segments.count
            found[about.message_id] = message.segments.count
        return found


def cost_of(project: Project, parts: int) -> int | None:
    """Return what so many parts cost in minor units of the shop's currency, None where the price is not known."""
    price = project.settings.deliver.sms_price
    if price is None:
        return None
    minor = (parts * price).scaleb(get_currency_precision(project.settings.shop.currency))
    return int(minor.to_integral_value(ROUND_HALF_UP))
