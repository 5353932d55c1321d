"""People: customers, what they allow, and addresses nobody may write to again."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from winback.store.types import Id, Json, UtcDateTime


class Channel(StrEnum):
    """How a message travels."""

    EMAIL = "email"
    SMS = "sms"


class Purpose(StrEnum):
    """Why we write; consent is kept for each apart."""

    MARKETING = "marketing"  # needs an explicit yes
    SERVICE = "service"  # about something the customer did; allowed until an explicit no


class SuppressionReason(StrEnum):
    """Why an address must never be written to."""

    HARD_BOUNCE = "hard_bounce"  # the mailbox or number does not exist
    SOFT_BOUNCES = "soft_bounces"  # came back again and again over a week or more, with no sign of life in between
    COMPLAINT = "complaint"  # reported as spam
    ERASED = "erased"  # the person asked to be forgotten
    MANUAL = "manual"  # put on the list by a person


class Customer(SQLModel, table=True):
    """A person with addresses, consent in force, attributes, and aggregates of their orders (kept by `store.aggregates`)."""

    __tablename__ = "customers"
    __table_args__ = (
        Index("ix_customers_birth", "birth_month", "birth_day"),
        Index("ix_customers_last_order", "last_order_at"),
        Index("ix_customers_first_order", "first_order_at"),
        Index("ix_customers_email_hash", "email_hash"),
        Index("ix_customers_phone_hash", "phone_hash"),
    )

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    external_id: str = Field(max_length=200, unique=True)
    email: str | None = Field(default=None, max_length=320)  # normalised
    phone: str | None = Field(default=None, max_length=20)  # E.164
    email_hash: str | None = Field(default=None, max_length=32)  # keyed, matches suppressions.address_hash
    phone_hash: str | None = Field(default=None, max_length=32)
    first_name: str | None = Field(default=None, max_length=200)
    last_name: str | None = Field(default=None, max_length=200)
    locale: str | None = Field(default=None, max_length=20)  # BCP 47, for example de-AT
    country: str | None = Field(default=None, max_length=2)  # ISO 3166-1 alpha-2
    city: str | None = Field(default=None, max_length=200)
    zone: str | None = Field(default=None, max_length=64)  # as the profile says, a valid IANA name or nothing
    local_zone: str = Field(max_length=64)  # the zone to use: profile, else phone's country, else the shop's
    birth_year: int | None = None  # often unknown
    birth_month: int | None = None
    birth_day: int | None = None
    attributes: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    # Consent in force, the newest entry of the log; empty = never asked.
    email_marketing: bool | None = None
    email_service: bool | None = None
    sms_marketing: bool | None = None
    sms_service: bool | None = None
    # Aggregates over orders that count (see store.aggregates).
    order_count: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    spent_minor: int = Field(default=0, sa_column=Column(Id, nullable=False, server_default=text("0")))
    currency: str | None = Field(default=None, max_length=3)
    first_order_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_order_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_order_id: str | None = Field(default=None, max_length=200)  # external id
    median_gap_days: float | None = None  # own rhythm: median days between order days; empty below two order days
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    erased_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Consent(SQLModel, table=True):
    """One entry of the append-only log of what a customer allowed; the newest (by `at`, then id) counts."""

    __tablename__ = "consents"
    __table_args__ = (Index("ix_consents_customer", "customer_id", "channel", "purpose", "at"),)

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    customer_id: int = Field(sa_type=Id, foreign_key="customers.id")
    channel: str = Field(max_length=10)
    purpose: str = Field(max_length=10)
    granted: bool
    at: datetime = Field(sa_type=UtcDateTime)
    source: str = Field(max_length=100)  # import:FILE, unsubscribe, one-click, api, staff …
    wording: str | None = Field(default=None, max_length=100)  # version of the consent text


class Suppression(SQLModel, table=True):
    """An address that must never be written to, as a keyed hash: it survives erasure and re-import."""

    __tablename__ = "suppressions"
    __table_args__ = (UniqueConstraint("channel", "address_hash"),)

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    channel: str = Field(max_length=10)
    address_hash: str = Field(max_length=32)
    reason: str = Field(max_length=20)
    at: datetime = Field(sa_type=UtcDateTime)
    source: str = Field(max_length=100)


class SegmentMember(SQLModel, table=True):
    """A customer inside a named audience of campaigns/audiences.toml, since when, or until when they were."""

    __tablename__ = "segment_members"

    segment: str = Field(max_length=100, primary_key=True)
    customer_id: int = Field(sa_type=Id, foreign_key="customers.id", primary_key=True)
    entered_at: datetime = Field(sa_type=UtcDateTime)
    left_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # empty while they are inside


class ScoreState(SQLModel, table=True):
    """Where a customer stands in one score model, as of the last upkeep."""

    __tablename__ = "score_states"

    model: str = Field(max_length=100, primary_key=True)
    customer_id: int = Field(sa_type=Id, foreign_key="customers.id", primary_key=True)
    value: float
    level: str = Field(max_length=50)
    since: datetime = Field(sa_type=UtcDateTime)  # in this level since
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ScoreCrossing(SQLModel, table=True):
    """A customer's change of level in a score model; `number` counts that customer's changes from 1."""

    __tablename__ = "score_crossings"
    __table_args__ = (UniqueConstraint("model", "customer_id", "number"), Index("ix_score_crossings_at", "model", "at"))

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    model: str = Field(max_length=100)
    customer_id: int = Field(sa_type=Id, foreign_key="customers.id")
    number: int
    level: str = Field(max_length=50)
    upward: bool
    value: float
    at: datetime = Field(sa_type=UtcDateTime)


class Standing(SQLModel, table=True):
    """Where a buyer stands among all, as of the last day on which something asked for it (see `audience.standings`)."""

    __tablename__ = "standings"

    customer_id: int = Field(sa_column=Column(Id, ForeignKey("customers.id"), primary_key=True, autoincrement=False))
    recency: int  # marks from 1 to 5
    frequency: int
    monetary: int
    rfm_group: str = Field(max_length=20)
    group_before: str | None = Field(default=None, max_length=20)
    abc: str = Field(max_length=1)
    since: datetime = Field(sa_type=UtcDateTime)  # in this group since
    updated_at: datetime = Field(sa_type=UtcDateTime)


class Prediction(SQLModel, table=True):
    """What is to be expected of a buyer, as of the last day on which something asked for it (see `audience.predictions`)."""

    __tablename__ = "predictions"

    customer_id: int = Field(sa_column=Column(Id, ForeignKey("customers.id"), primary_key=True, autoincrement=False))
    p_alive: float  # 0 to 1
    expected_orders: float
    updated_at: datetime = Field(sa_type=UtcDateTime)
