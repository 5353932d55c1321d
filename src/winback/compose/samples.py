"""Made-up recipients for `winback check` and previews: the usual one, and those that break careless templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from winback.compose.coupons import coupon_code
from winback.compose.message import Money, Recipient
from winback.project import Campaign, Project, Step
from winback.store import Channel

#: The day on which samples are written to; a fixed one, so that checks do not depend on when they run.
SAMPLE_NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)

_ORDERED = date(2026, 11, 10)


class Sample(StrEnum):
    """Which made-up person."""

    USUAL = "usual"  # everything is known
    SPARSE = "sparse"  # only what must be there: no name, no country, no attributes, no product addresses
    NEWCOMER = "newcomer"  # has never ordered
    AWKWARD = "awkward"  # names and products with &, <, quotes, emoji and right-to-left letters, very long ones too


class _AnyAttribute(Mapping[str, Any]):
    """Attributes of somebody of whom the shop knows everything: each has a value, and that is its name."""

    def __getitem__(self, name: str) -> str:
        return name.replace("_", " ")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


def samples_for(campaign: Campaign) -> tuple[Sample, ...]:
    """Return the made-up people that can come into a campaign: who sleeps or gets a thank-you has ordered."""
    ordered = campaign.audience.preset in {"sleeping", "after_order"}
    return tuple(sample for sample in Sample if not (ordered and sample is Sample.NEWCOMER))


def sample_recipient(
    project: Project,
    campaign: Campaign,
    step: Step,
    *,
    sample: Sample = Sample.USUAL,
    channel: Channel | None = None,
    locale: str | None = None,
) -> Recipient:
    """Return a made-up recipient of one step; `channel` and `locale` default to the step's and the shop's own."""
    via = channel or step.channel
    currency = project.settings.shop.currency
    preset = campaign.audience.preset
    message_id = str(uuid5(NAMESPACE_URL, f"winback:sample:{campaign.name}:{step.name}:{sample}"))
    last_order = None if sample is Sample.NEWCOMER else _order(sample, currency)
    coupon = None
    if step.coupon:
        code = coupon_code(b"sample", step.coupon.pool, message_id)
        coupon = {"code": code, "expires_on": (SAMPLE_NOW + step.coupon.expires).date(), "pool": step.coupon.pool}
    score = None
    if preset == "score":
        score = {
            "name": getattr(campaign.audience, "score", "score"),
            "value": 34.0,
            "level": getattr(campaign.audience, "level", ""),
        }
    return Recipient(
        message_id=message_id,
        channel=via,
        address="sample@example.com" if via is Channel.EMAIL else "+4915112345678",
        customer=_customer(project, sample, currency, locale),
        order=last_order if preset == "after_order" else None,
        last_order=last_order,
        coupon=coupon,
        score=score,
    )


def _customer(project: Project, sample: Sample, currency: str, locale: str | None) -> dict[str, Any]:
    shop = project.settings.shop
    customer: dict[str, Any] = {
        "external_id": "sample-1",
        "first_name": "Anna",
        "last_name": "Weber",
        "email": "sample@example.com",
        "phone": "+4915112345678",
        "country": shop.region,
        "city": "Berlin",
        "locale": locale or shop.locale,
        "zone": shop.zone,
        "birthday": date(2026, 11, 24),
        "orders": 4,
        "spent": Money(18_450, currency),
        "first_order_on": date(2024, 3, 2),
        "last_order_on": _ORDERED,
        "attributes": _AnyAttribute(),
    }
    match sample:
        case Sample.SPARSE:
            unknown = ("first_name", "last_name", "email", "phone", "country", "city", "birthday")
            customer |= dict.fromkeys(unknown) | {"locale": locale, "attributes": {}, "orders": 1, "first_order_on": _ORDERED}
        case Sample.NEWCOMER:
            customer |= {"orders": 0, "spent": Money(0, currency), "first_order_on": None, "last_order_on": None}
        case Sample.AWKWARD:
            customer |= {"first_name": "Zoë <b> & “Möhre” 🎷", "last_name": "O'Brien-" + "Længe" * 8, "city": "תל אביב"}
        case Sample.USUAL:
            pass
    return customer


def _order(sample: Sample, currency: str) -> dict[str, Any]:
    sparse, awkward = sample is Sample.SPARSE, sample is Sample.AWKWARD
    names = ("Kind of Blue", "A Love Supreme", "Head Hunters")
    if awkward:
        names = ("Rock & Roll <Live> at “Fünf” " + "with a very long title " * 4, "قصيدة", "Donaudampfschifffahrt" * 3)
    lines: list[dict[str, Any]] = [
        {
            "name": name,
            "quantity": quantity,
            "price": Money(price, currency),
            "category": None if sparse else "Jazz",
            "url": None if sparse else f"https://example.com/products/{number}?a=1&b=2",
        }
        for number, (name, quantity, price) in enumerate(zip(names, (1, 2, 1), (1_899, 2_450, 123_456_700), strict=True), 1)
        if number < 3 or awkward
    ]
    total = sum(line["price"].minor * line["quantity"] for line in lines)
    return {"number": "1042", "placed_on": _ORDERED, "total": Money(total, currency), "lines": lines}
