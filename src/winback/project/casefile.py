"""campaigns/tests/*.toml: made-up customers, what they do, and what they must get; as checked objects that never change."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from winback.filemodel import Duration, FileModel, Name, Text, kind_of, refused, written_as
from winback.project.settings import LimitSettings, QuietHourSettings
from winback.store import Channel

#: Folder of the tests below campaigns/.
FOLDER = "tests"


_BIRTHDAY = re.compile(r"(?:\d{4}-)?\d{2}-\d{2}")
_AMOUNT = re.compile(r"\d{1,9}(?:\.\d{1,3})?")

_WRITE = 'write "2026-12-24 09:30", or 2026-12-24'


def _moment(value: Any) -> datetime:
    """Return the wall-clock moment that a file says, without a zone."""
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, date):
        found = datetime.combine(value, time())
    elif not isinstance(value, str):
        raise refused(f"{kind_of(value)} is not a moment", _WRITE)
    else:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise refused(f"{value!r} is not a moment", _WRITE) from None
    if found.tzinfo is not None:
        raise refused(f"{found.isoformat()} names a zone", 'write "2026-12-24 09:30": the clock where the customer lives')
    return found


def _birthday(value: Any) -> str:
    """Return a date of birth as `1985-03-14`, or `03-14` where the year is unknown."""
    text = value.isoformat() if isinstance(value, date) else value
    try:
        if not isinstance(text, str) or not _BIRTHDAY.fullmatch(text):
            raise ValueError
        date.fromisoformat(text if len(text) == len("1985-03-14") else f"2000-{text}")
    except ValueError:
        raise refused(f"{text!r} is not a date of birth", 'write "1985-03-14", or "03-14"') from None
    return text


def _amount(value: Any) -> Decimal:
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise refused(f"{value!r} is not an amount", 'write "59.90", in quotes')
    return Decimal(value)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_MOMENT = {"type": "string", "examples": ["2026-12-24 09:30"]}

#: On the clock where the customer lives; `from` and `until` on the shop's.
Moment = Annotated[datetime, *written_as(_moment, **_MOMENT)]

Birth = Annotated[str, *written_as(_birthday, type="string", examples=["03-14", "1985-03-14"])]
Amount = Annotated[Decimal, *written_as(_amount, type="string", pattern=_AMOUNT.pattern, examples=["59.90"])]

_Said = Literal["email", "sms", "email service", "sms service"]
_Saids = Annotated[tuple[_Said, ...], BeforeValidator(_tuple)]
_Texts = Annotated[tuple[Text, ...], BeforeValidator(_tuple)]
_Channel = Annotated[Channel, Field(strict=False)]
_Names = Annotated[tuple[Name, ...], BeforeValidator(_tuple)]


class CaseCustomer(FileModel):
    """A made-up customer; the table's name is their id."""

    first_name: str | None = Field(None, description="First name.", examples=["Anna"])
    last_name: str | None = Field(None, description="Last name.", examples=["Weber"])
    email: str | None = Field(None, description='Address; "" for none. Without it ID@example.com.', examples=["anna@example.com"])
    phone: str | None = Field(None, description="Phone number with its country code.", examples=["+4915112345678"])
    consent: _Saids = Field(("email",), description="What they said yes to.", examples=[["email", "sms"]])
    refused: _Saids = Field((), description="What they said no to.", examples=[["email service"]])
    blocked: Annotated[tuple[_Channel, ...], BeforeValidator(_tuple)] = Field(
        (), description="Channels whose address bounced or complained.", examples=[["email"]]
    )
    birthday: Birth | None = Field(None, description="Date of birth, or month and day.", examples=["03-14", "1985-03-14"])
    zone: str | None = Field(
        None, description="Time zone; without it the phone's country's, else the shop's.", examples=["Asia/Tokyo"]
    )
    country: str | None = Field(None, description="Two capital letters.", examples=["DE"])
    city: str | None = Field(None, description="City.", examples=["Berlin"])
    locale: str | None = Field(None, description="Language.", examples=["de"])
    attributes: dict[str, Any] = Field(default_factory=dict, description="Fields of your own.", examples=[{"tier": "gold"}])


class CaseLine(FileModel):
    """What was bought."""

    name: Text = Field(description="What it is called.", examples=["Kind of Blue"])
    id: str | None = Field(None, description="The product's id.", examples=["LP-1"])
    category: str | None = Field(None, description="Its category.", examples=["Jazz"])
    quantity: int = Field(1, ge=1, description="How many.", examples=[2])
    price: Amount = Field(Decimal("10.00"), description="Price of one.", examples=["18.99"])
    url: str | None = Field(None, description="Its page.", examples=["https://example.com/lp-1"])


class CaseOrder(FileModel):
    """An order that a customer places."""

    customer: Text = Field(description="Whose it is.", examples=["anna"])
    placed: Moment = Field(description="When.", examples=["2026-03-01 20:15"])
    id: str | None = Field(None, description="Its number; without it O1, O2 and so on.", examples=["1042"])
    total: Amount = Field(Decimal("10.00"), description="Its total.", examples=["59.90"])
    currency: str | None = Field(None, description="Of its amounts; without it the shop's.", examples=["EUR"])
    status: Literal["placed", "paid", "delivered"] = Field("paid", description="How far it has come.", examples=["paid"])
    delivered: Moment | None = Field(None, description="When it arrived.", examples=["2026-03-04 12:00"])
    cancelled: Moment | None = Field(None, description="When it was cancelled.", examples=["2026-03-02 09:00"])
    lines: Annotated[tuple[CaseLine, ...], BeforeValidator(_tuple)] = Field(
        (), description="What was bought.", examples=[[{"name": "Kind of Blue", "category": "Jazz"}]]
    )


class CaseEvent(FileModel):
    """Something that a customer does elsewhere."""

    customer: Text = Field(description="Who does it.", examples=["anna"])
    name: Text = Field(description="Its name.", examples=["webinar_attended"])
    at: Moment = Field(description="When.", examples=["2026-03-01 20:15"])
    key: str | None = Field(
        None, description="What tells it from others of its name; without it E1, E2 and so on.", examples=["cart-7"]
    )
    properties: dict[str, Any] = Field(default_factory=dict, description="What else is known.", examples=[{"minutes": 40}])


class Reaction(FileModel):
    """What a customer does with a message that they get."""

    customer: Text = Field(description="Who does it.", examples=["anna"])
    step: Name = Field(description="With which step's message.", examples=["hello"])
    campaign: Name | None = Field(None, description="Of which campaign; without it of any.", examples=["sleeping"])
    does: Literal["open", "click", "unsubscribe", "order"] = Field(description="What.", examples=["click"])
    after: Duration = Field(timedelta(hours=1), description="How long after it went.", examples=["2h"])


class Change(FileModel):
    """Something that becomes different about a customer."""

    customer: Text = Field(description="About whom.", examples=["anna"])
    at: Moment = Field(description="When.", examples=["2026-03-01 20:15"])
    birthday: Birth | None = Field(None, description="A new date of birth.", examples=["04-14"])
    consent: _Saids = Field((), description="What they say yes to.", examples=[["sms"]])
    refused: _Saids = Field((), description="What they say no to.", examples=[["email"]])
    attributes: dict[str, Any] = Field(default_factory=dict, description="New values of fields.", examples=[{"tier": "gold"}])


class Expected(FileModel):
    """A message that a customer must get; or, with `skipped`, one that they must not get, and why."""

    customer: Text = Field(description="Who.", examples=["anna"])
    step: Name | None = Field(None, description="The step.", examples=["greeting"])
    campaign: Name | None = Field(None, description="The campaign, where a test is about several.", examples=["birthday"])
    at: Moment | None = Field(None, description="When, on the clock where they live.", examples=["2026-03-14 09:00"])
    channel: _Channel | None = Field(None, description="How it travels.", examples=["email"])
    subject: str | None = Field(None, description="The whole subject.", examples=["Happy birthday, Anna!"])
    contains: _Texts = Field((), description="What the message says somewhere.", examples=[["four weeks"]])
    lacks: _Texts = Field((), description="What it says nowhere.", examples=[["None"]])
    skipped: Text | None = Field(
        None, description="Why they do not get it: the reason that `winback explain` gives.", examples=["no_consent"]
    )


class Case(FileModel):
    """One test: a span of time, and what happens in it."""

    name: Text = Field(description="What must hold.", examples=["A greeting at nine on the day"])
    from_: Moment = Field(
        alias="from", description="From when on the campaigns run, on the shop's clock.", examples=["2026-03-13"]
    )
    until: Moment | None = Field(None, description="Until when; without it a day.", examples=["2026-03-25"])
    campaigns: _Names | None = Field(None, description="Which campaigns run, instead of the file's.", examples=[["birthday"]])
    arm: Name | None = Field(None, description="Everybody is in this arm of a test of subjects.", examples=["b"])
    limits: LimitSettings | None = Field(None, description="Caps, instead of those of config.toml.")
    quiet_hours: QuietHourSettings | None = Field(None, description="Quiet hours, instead of those of config.toml.")
    customers: dict[Text, CaseCustomer] = Field(
        default_factory=dict, description="More customers, or others.", examples=[{"anna": {}}]
    )
    orders: Annotated[tuple[CaseOrder, ...], BeforeValidator(_tuple)] = Field((), description="More orders.")
    events: Annotated[tuple[CaseEvent, ...], BeforeValidator(_tuple)] = Field((), description="More events.")
    changes: Annotated[tuple[Change, ...], BeforeValidator(_tuple)] = Field((), description="What becomes different meanwhile.")
    reactions: Annotated[tuple[Reaction, ...], BeforeValidator(_tuple)] = Field((), description="What people do with messages.")
    expect: Annotated[tuple[Expected, ...], BeforeValidator(_tuple)] = Field(
        description="Every message that goes; [] for none.", examples=[[{"customer": "anna", "step": "greeting"}]]
    )


class CaseFile(FileModel):
    """A file of tests; what stands above them holds for each."""

    campaigns: _Names = Field((), description="Which campaigns run.", examples=[["birthday"]])
    customers: dict[Text, CaseCustomer] = Field(default_factory=dict, description="Made-up customers, by their ids.")
    orders: Annotated[tuple[CaseOrder, ...], BeforeValidator(_tuple)] = Field((), description="Their orders.")
    events: Annotated[tuple[CaseEvent, ...], BeforeValidator(_tuple)] = Field((), description="What they do elsewhere.")
    tests: Annotated[tuple[Case, ...], BeforeValidator(_tuple), Field(min_length=1)] = Field(description="The tests.")


__all__ = [
    "FOLDER",
    "Case",
    "CaseCustomer",
    "CaseEvent",
    "CaseFile",
    "CaseLine",
    "CaseOrder",
    "Change",
    "Expected",
    "Reaction",
]
