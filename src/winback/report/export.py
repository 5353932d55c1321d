"""A report as plain values: a dict for JSON, and rows for a table or CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from winback.report.model import CampaignReport, Funnel, Group, Rate, Report


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as plain dicts, lists, texts and numbers.

    Moments are ISO 8601, money is in minor units, shares are from 0 to 1, and every rate has its denominator and what that is.
    """
    plain: dict[str, Any] = _plain(report)
    return plain


def to_rows(report: Report) -> list[dict[str, Any]]:
    """Return one row for each campaign (its `step` is empty) and one for each of its steps; money as `minor CURRENCY`."""
    return [row for campaign in report.campaigns for row in _rows(campaign)]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)} | _derived(value)
    return value


def _derived(value: Any) -> dict[str, Any]:
    """Return what a shape computes from its fields."""
    if isinstance(value, Rate):
        return {"value": value.value}
    if isinstance(value, Group):
        return {"rate": _plain(value.rate)}
    if isinstance(value, Funnel):
        return {"planned": value.planned, "arrived": value.arrived, "rates": _plain(value.rates())}
    return {}


#: Counts of a funnel that a row has, in their order.
_COUNTS = (
    *("planned", "sent", "delivered", "bounced", "failed", "uncertain", "cancelled", "waiting", "held_out"),
    *("arrived", "arrived_email", "opened", "opened_by_machines", "clicked", "converted", "orders", "unsubscribed"),
)

#: Rates that a row has, and what they are called there.
_RATES = {"opened": "open_rate", "clicked": "click_rate", "converted": "conversion_rate", "unsubscribed": "unsubscribe_rate"}

#: What a row has.
ROW_KEYS = ("campaign", "step", "channel", *_COUNTS, "skipped", *_RATES.values(), "revenue", "skip_reasons")


def _rows(campaign: CampaignReport) -> Iterator[dict[str, Any]]:
    for funnel in (campaign.total, *campaign.steps):
        rates = funnel.rates()
        yield {
            "campaign": campaign.name,
            "step": funnel.step,
            "channel": funnel.channel,
            **{name: getattr(funnel, name) for name in _COUNTS},
            "skipped": sum(funnel.skipped.values()),
            **{key: rates[name].value for name, key in _RATES.items()},
            "revenue": " ".join(f"{amount.minor} {amount.currency}" for amount in funnel.revenue),
            "skip_reasons": " ".join(f"{reason}={count}" for reason, count in funnel.skipped.items()),
        }
