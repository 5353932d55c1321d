"""What goes into composing and what comes out: plain values, shared by dispatch, previews and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from babel.numbers import get_currency_precision

from winback.compose.sms import SmsSegments
from winback.store import Channel

if TYPE_CHECKING:
    from winback.gateways.base import Outgoing


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in minor units (cents) of an ISO 4217 currency. Templates print it with the `money` filter."""

    minor: int
    currency: str

    @property
    def amount(self) -> Decimal:
        """Return the amount in whole units: 1234 cents are 12.34, 1234 yen are 1234."""
        return Decimal(self.minor).scaleb(-get_currency_precision(self.currency))

    def __mul__(self, factor: int) -> Money:
        return Money(self.minor * factor, self.currency)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One message's addressee, with everything a template may ask for; the shapes are in docs/templates.md.

    `address` is the e-mail address or E.164 number of `channel`. `order` is the order the enrollment is about, `last_order` the
    customer's newest one that counts; either has `lines`. What does not exist is None.
    """

    message_id: str
    channel: Channel
    address: str
    customer: Mapping[str, Any]
    order: Mapping[str, Any] | None = None
    last_order: Mapping[str, Any] | None = None
    coupon: Mapping[str, Any] | None = None
    score: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """Where a tracked link leads, UTM parameters included, and what the report calls it."""

    url: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Composed:
    """A message ready for a gateway, and its parts as a preview shows them.

    `subject` and `html` are empty for SMS. `size` counts the bytes of the HTML (Gmail clips at 102 kB), for SMS of the text.
    """

    outgoing: Outgoing
    subject: str
    html: str | None
    text: str
    segments: SmsSegments | None
    size: int
