"""What the JSON API takes and gives: rows of customers, orders and events, and the answers. OpenAPI is made from these."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from winback.importers import Outcome
from winback.store import Channel, OrderStatus, Purpose

#: The largest amount, in whole units of its currency: digits before the decimal point.
_DIGITS = 13

_AMOUNT = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,6})?\Z")


def _id(value: Any) -> Any:
    """Take ids that a shop counts as numbers for what they are: names."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _amount(value: Any) -> str:
    """Return an amount as plain digits with a point; floats never come here, JSON fractions are read as decimals."""
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < _DIGITS and _places(value) < _DIGITS:
        value = f"{value:f}"
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_DIGITS:
        value = str(value)
    if not isinstance(value, str) or not _AMOUNT.match(value):
        raise ValueError('an amount is a number or a text like "24.90", with a point and nothing else')
    whole, point, fraction = value.partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}" if point else whole


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else _DIGITS


def _moment(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError('a moment is a text in ISO 8601, like "2026-11-24T10:00:00+01:00"') from None


Id = Annotated[
    str,
    BeforeValidator(_id),
    Field(min_length=1, max_length=180),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 180}, {"type": "integer"}]}),
]
Amount = Annotated[
    str,
    BeforeValidator(_amount),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^-?\d{1,13}(\.\d{1,6})?$"}, {"type": "number"}]}),
]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]

_NO_OFFSET = "Without an offset it is the shop's local time."


class Row(BaseModel):
    """A row of the API; keys that it does not know are refused, so that a typing error is never a loss."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class CustomerRow(Row):
    """A customer. What is left out stays as it is, `null` empties it. Consent is taken over only where that weakens nothing."""

    id: Id = Field(description="The shop's own id of the customer.", examples=["C-1001"])
    email: str | None = Field(None, description="E-mail address.", examples=["ada@example.com"])
    phone: str | None = Field(
        None,
        description="Phone number; a national one is of the customer's country, else of the shop's.",
        examples=["+4915112345678"],
    )
    first_name: str | None = Field(None, examples=["Ada"])
    last_name: str | None = Field(None, examples=["Lovelace"])
    locale: str | None = Field(None, description="Language of letters, BCP 47.", examples=["de-AT"])
    country: str | None = Field(None, description="ISO 3166-1: two letters, or the country's name.", examples=["AT"])
    city: str | None = Field(None, examples=["Wien"])
    zone: str | None = Field(None, description="IANA time zone.", examples=["Europe/Vienna"])
    birthday: str | None = Field(
        None, description="`1985-11-24`, or `--11-24` when the year is unknown.", examples=["1985-11-24", "--11-24"]
    )
    email_marketing: bool | None = Field(None, description="Agreed to marketing e-mail; `null` when nobody asked.")
    email_service: bool | None = Field(None, description="E-mail about their own orders; allowed until a no.")
    sms_marketing: bool | None = Field(None, description="Agreed to marketing by text message.")
    sms_service: bool | None = Field(None, description="Text messages about their own orders; allowed until a no.")
    consent_at: Moment | None = Field(
        None, description=f"When the person said so. A yes counts over a no only when it is dated after it. {_NO_OFFSET}"
    )
    consent_source: str | None = Field(None, description="Where the person said so.", examples=["checkout"])
    consent_wording: str | None = Field(None, description="Version of the text they agreed to.", examples=["2026-03"])
    attributes: dict[str, Any] | None = Field(
        None,
        description="Anything else: texts, numbers, yes or no, and lists of these. `null` takes an attribute away.",
        examples=[{"tier": "gold", "points": 120}],
    )


class OrderLineRow(Row):
    """One product of an order."""

    product: Id = Field(description="The product's id.", examples=["hn-100"])
    name: str | None = Field(None, description="Its name; the id where there is none.", examples=["Half Note sampler"])
    category: str | None = Field(None, examples=["jazz"])
    quantity: int = Field(1, strict=True, ge=-1_000_000, le=1_000_000)
    price: Amount = Field(description="Of one piece, in the order's currency.", examples=["24.90"])
    url: str | None = Field(None, description="Its page in the shop.", examples=["https://halfnote.example/hn-100"])


class OrderRow(Row):
    """An order. A known one is updated by what is given; a new one needs its customer, `placed_at`, and `total` or `lines`."""

    id: Id = Field(description="The shop's own id of the order.", examples=["O-5001"])
    customer: Id | None = Field(
        None, description="The customer's id; a customer that is not known yet is created.", examples=["C-1001"]
    )
    email: str | None = Field(None, description="Instead of `customer`: the address that finds, or creates, the customer.")
    placed_at: Moment | None = Field(
        None, description=f"When it was ordered. {_NO_OFFSET}", examples=["2026-11-24T10:00:00+01:00"]
    )
    status: str | None = Field(
        None, description=f"One of {', '.join(OrderStatus)}, or a usual word for it (`shipped`, `completed`).", examples=["paid"]
    )
    total: Amount | None = Field(None, description="In whole units; without one the sum of the lines.", examples=["49.80"])
    currency: str | None = Field(None, description="ISO 4217; the shop's where it is left out.", examples=["EUR"])
    delivered_at: Moment | None = Field(None, description=f"When it arrived. {_NO_OFFSET}")
    voided_at: Moment | None = Field(None, description=f"When it was cancelled, refunded or returned. {_NO_OFFSET}")
    lines: list[OrderLineRow] | None = Field(
        None, max_length=1000, description="Its products; given lines replace the known ones."
    )
    attributes: dict[str, Any] | None = Field(None, description="Anything else about the order.")


class EventRow(Row):
    """Something named that a customer did. Send an `id`, or the same event twice counts once only if all of it is the same."""

    id: Id | None = Field(None, description="The source's own id of the event.", examples=["E-1"])
    customer: Id | None = Field(
        None, description="The customer's id; a customer that is not known yet is created.", examples=["C-1001"]
    )
    email: str | None = Field(None, description="Instead of `customer`: the address that finds, or creates, the customer.")
    name: str = Field(min_length=1, max_length=100, description="What campaigns know it by.", examples=["webinar_attended"])
    at: Moment = Field(description=f"When it happened. {_NO_OFFSET}", examples=["2026-11-24T18:30:00Z"])
    properties: dict[str, Any] | None = Field(None, description="Anything else about it.", examples=[{"topic": "care"}])


class ConsentRow(Row):
    """A yes or a no that a person gave, in the shop, on the phone or in a letter."""

    channel: Channel = Field(description="How we may write.", examples=["email"])
    purpose: Purpose = Field(Purpose.MARKETING, description="What for.")
    granted: bool = Field(strict=True, description="`true` for a yes, `false` for a no.")
    at: Moment | None = Field(None, description=f"When they said so; now, where it is left out. {_NO_OFFSET}")
    source: str = Field("api", min_length=1, max_length=100, description="Where they said so.", examples=["phone call"])
    wording: str | None = Field(None, max_length=100, description="Version of the text they agreed to.", examples=["2026-03"])


class RowAnswer(BaseModel):
    """What became of one row."""

    row: int = Field(description="Its place in the list, from 1.")
    id: str | None = Field(None, description="Its id, as it was sent.")
    result: Outcome = Field(description="`inserted`, `updated`, `unchanged` or `rejected`.")
    reason: str | None = Field(None, description="Why it was rejected.")
    warnings: list[str] = Field(default_factory=list, description="Values that could not be used; the row was kept without them.")


class RowsAnswer(BaseModel):
    """What became of the rows; inserted + updated + unchanged + rejected = rows."""

    rows: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    customers_created: int = Field(description="Customers that were not known before.")
    results: list[RowAnswer]
    notes: list[str] = Field(default_factory=list, description="What a person should know of the rows as a whole.")
    detail: str | None = Field(None, description="With status 422 only: no row could be used.")


class OrdersOfCustomer(BaseModel):
    """A customer's orders that count: neither cancelled, refunded nor returned."""

    count: int
    spent: str | None = Field(description="In `currency`, the newest order's.", examples=["149.40"])
    currency: str | None
    first_at: datetime | None
    last_at: datetime | None
    last_id: str | None
    median_gap_days: float | None = Field(description="The customer's own rhythm: the median of days between order days.")


class ConsentAnswer(BaseModel):
    """The consent in force: `true`, `false`, or `null` where nobody asked."""

    email_marketing: bool | None
    email_service: bool | None
    sms_marketing: bool | None
    sms_service: bool | None


class CustomerAnswer(BaseModel):
    """All that is known of a customer, but single orders, events and messages."""

    id: str
    email: str | None
    phone: str | None
    first_name: str | None
    last_name: str | None
    locale: str | None
    country: str | None
    city: str | None
    zone: str | None
    local_zone: str = Field(description="The zone in use: the profile's, else that of the phone number, else the shop's.")
    birthday: str | None
    attributes: dict[str, Any]
    consent: ConsentAnswer
    suppressed: dict[str, str] = Field(description="Channels whose address must not be written to, and why.")
    orders: OrdersOfCustomer
    created_at: datetime
    updated_at: datetime


class ConsentTaken(BaseModel):
    """What a yes or a no did."""

    changed: bool = Field(description="`false` when the same answer was there already.")
    consent: ConsentAnswer


class CampaignAnswer(BaseModel):
    """A campaign and how many of its messages stand where."""

    name: str
    title: str
    purpose: str
    enabled: bool
    paused: bool
    messages: dict[str, int] = Field(description="By state: planned, sent, delivered, bounced, …")


class Refusal(BaseModel):
    """Why a call was not answered."""

    detail: str


#: The kinds of rows, by the last part of their address.
RowKind = Literal["customers", "orders", "events"]


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON Schema in one piece: a request body that is read by hand cannot refer to OpenAPI's components."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(each) for each in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            rest = {key: value for key, value in node.items() if key != "$ref"}
            return resolve({**parts[reference.rpartition("/")[2]], **rest})
        return {key: resolve(value) for key, value in node.items()}

    return dict(resolve(schema))
