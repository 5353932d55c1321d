"""The ledger's tables: who is in which campaign, every intended message, and all that came of it."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from winback.store.types import Id, Json, UtcDateTime, Word


class EnrollmentState(StrEnum):
    """Where an enrollment stands."""

    ACTIVE = "active"  # has a step ahead
    FINISHED = "finished"  # all steps were planned
    EXITED = "exited"  # the exit condition was met, or the campaign was withdrawn


class MessageState(StrEnum):
    """Where a message stands; the edges between states are in `winback.ledger.states`."""

    PLANNED = "planned"  # open: waits for its time, or for its next attempt
    SENDING = "sending"  # open: claimed by a dispatcher
    SENT = "sent"  # the gateway accepted it
    DELIVERED = "delivered"  # the other side reported arrival
    BOUNCED = "bounced"  # the other side reported that it did not arrive
    FAILED = "failed"  # refused for good, or attempts used up
    UNCERTAIN = "uncertain"  # handed over, the answer never came
    SKIPPED = "skipped"  # a rule said no, at planning or at dispatch; see `reason`
    HELD_OUT = "held_out"  # the holdout's virtual send
    CANCELLED = "cancelled"  # exit reached, or campaign withdrawn, before it was sent


class BounceReason(StrEnum):
    """Why a message bounced: its `reason` in that state."""

    HARD = "hard_bounce"  # the mailbox or number does not exist
    SOFT = "soft_bounce"  # the mailbox cannot take it at present: full, away, unreachable
    BLOCKED = "blocked"  # because of us: our server is on a blocklist, the letter was taken for spam; no address counts for it
    UNCLEAR = "unclear_bounce"  # it came back, but nothing proves that it is about the address that the message went to


class InteractionKind(StrEnum):
    """What came back."""

    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"


class InteractionClass(StrEnum):
    """Who did it; decided by rules that can be run again over the raw rows."""

    HUMAN = "human"
    PROXY = "proxy"  # an image proxy on behalf of a person or of nobody (Apple, Gmail prefetch)
    MACHINE = "machine"  # a scanner or a bot


def _quoted(words: type[StrEnum]) -> str:
    return ", ".join(f"'{word}'" for word in words)


class CampaignState(SQLModel, table=True):
    """What the database knows of a campaign file: since when it is live, and up to when it has been planned."""

    __tablename__ = "campaigns"

    name: str = Field(max_length=100, primary_key=True)
    live_since: datetime = Field(sa_type=UtcDateTime)  # nothing that happened before counts as a moment to write
    planned_until: datetime | None = Field(default=None, sa_type=UtcDateTime)  # `now` of the last finished pass
    paused_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    pause_reason: str | None = Field(default=None, max_length=200)
    definition_hash: str = Field(max_length=64)  # of the campaign file as last planned
    resumed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # bounces of before count no more


class Enrollment(SQLModel, table=True):
    """One customer in one campaign for one occasion."""

    __tablename__ = "enrollments"
    __table_args__ = (
        UniqueConstraint("campaign", "customer_id", "occasion"),
        CheckConstraint(f"state IN ({_quoted(EnrollmentState)})", name="ck_enrollments_state"),
        CheckConstraint("(anchor_at IS NULL) <> (anchor_on IS NULL)", name="ck_enrollments_anchor"),
        Index(
            "ix_enrollments_due",
            "campaign",
            "due_at",
            sqlite_where=text("state = 'active'"),
            postgresql_where=text("state = 'active'"),
        ),
        Index("ix_enrollments_customer", "customer_id", "campaign", "enrolled_at"),
    )

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    campaign: str = Field(max_length=100)
    customer_id: int = Field(sa_type=Id, foreign_key="customers.id")
    occasion: str = Field(max_length=200)
    anchor_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # a moment (order, event, crossing) …
    anchor_on: date | None = None  # … or a local date (birthday, holiday); exactly one of both
    order_id: int | None = Field(default=None, sa_type=Id)  # the order this is about, if any
    zone: str = Field(max_length=64)  # the customer's local zone when enrolled
    variant: str = Field(max_length=50)  # A/B arm, '' without a test
    held_out: bool
    state: str = Field(sa_type=Word(10), default=EnrollmentState.ACTIVE)
    step: str | None = Field(default=None, max_length=100)  # next step's name; empty when none is left
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # of the next step; empty = not computed yet
    due_on: date | None = None  # the scheduled local date of the next step
    waiting: str | None = Field(default=None, max_length=50)  # why the next step was put off, if it was
    deferred_from: datetime | None = Field(default=None, sa_type=UtcDateTime)  # when it was due before it was put off
    exit_reason: str | None = Field(default=None, max_length=50)
    enrolled_at: datetime = Field(sa_type=UtcDateTime)


class Message(SQLModel, table=True):
    """One step of one enrollment on one channel. `id` is uuid5 of the key and never changes."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("enrollment_id", "step"),
        CheckConstraint(f"state IN ({_quoted(MessageState)})", name="ck_messages_state"),
        Index(
            "ix_messages_ready",
            "next_attempt_at",
            "id",
            "channel",
            sqlite_where=text("state = 'planned'"),
            postgresql_where=text("state = 'planned'"),
        ),
        Index(
            "ix_messages_claimed",
            "claimed_by",
            sqlite_where=text("state = 'sending'"),
            postgresql_where=text("state = 'sending'"),
        ),
        Index(
            "ix_messages_uncertain",
            "campaign",
            sqlite_where=text("state = 'uncertain'"),
            postgresql_where=text("state = 'uncertain'"),
        ),
        Index("ix_messages_customer", "customer_id", "channel", "due_at"),
        Index("ix_messages_campaign", "campaign", "step", "state"),
        Index(
            "ix_messages_provider",
            "gateway",
            "provider_id",
            sqlite_where=text("provider_id IS NOT NULL"),
            postgresql_where=text("provider_id IS NOT NULL"),
        ),
    )

    id: str = Field(max_length=36, primary_key=True)
    enrollment_id: int = Field(sa_type=Id, foreign_key="enrollments.id")
    campaign: str = Field(max_length=100)
    step: str = Field(max_length=100)
    customer_id: int = Field(sa_type=Id, foreign_key="customers.id")
    channel: str = Field(max_length=10)
    purpose: str = Field(max_length=10)
    variant: str = Field(max_length=50)
    state: str = Field(sa_type=Word(10))
    reason: str | None = Field(default=None, max_length=200)  # why skipped, failed, cancelled, uncertain, or put off
    planned_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime = Field(sa_type=UtcDateTime)
    due_on: date  # scheduled local date
    next_attempt_at: datetime = Field(sa_type=UtcDateTime)  # due_at at first, later after a retry or a deferral
    valid_until: datetime = Field(sa_type=UtcDateTime)  # after that it is skipped as late
    attempts: int = Field(default=0)
    gateway: str | None = Field(default=None, max_length=100)
    claimed_by: str | None = Field(default=None, max_length=100)  # the dispatcher's name
    claimed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    provider_id: str | None = Field(default=None, max_length=200)
    subject: str | None = Field(default=None, max_length=500)  # as sent
    segments: int | None = None  # SMS parts
    redirected: bool = Field(default=False)  # went to the staging address instead: what comes of it tells nothing of the customer
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    definition_hash: str = Field(max_length=64)  # of the campaign file it was planned by
    version_id: int | None = Field(default=None, sa_type=Id)  # of the files it was planned by, then of those it was made from


class MessageHistory(SQLModel, table=True):
    """One row per edge a message took, written in the edge's own transaction."""

    __tablename__ = "message_history"
    __table_args__ = (Index("ix_message_history_message", "message_id"),)

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    message_id: str = Field(max_length=36, foreign_key="messages.id")
    from_state: str | None = Field(default=None, sa_type=Word(10))  # empty for the first row
    to_state: str = Field(sa_type=Word(10))
    reason: str | None = Field(default=None, max_length=200)
    detail: str | None = Field(default=None, max_length=2000)  # the gateway's raw reply
    worker: str | None = Field(default=None, max_length=100)
    at: datetime = Field(sa_type=UtcDateTime)


class Link(SQLModel, table=True):
    """A link target that a message carried; a click is redirected only to one of these."""

    __tablename__ = "links"
    __table_args__ = (UniqueConstraint("campaign", "step", "url_hash"),)

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    campaign: str = Field(max_length=100)
    step: str = Field(max_length=100)
    url: str = Field(max_length=8000)  # with UTM parameters
    url_hash: str = Field(max_length=32)
    label: str | None = Field(default=None, max_length=100)  # data-link="…" in the template, else the link's text


class Interaction(SQLModel, table=True):
    """What a person or a machine did with a message; raw, classed by rules that can run again."""

    __tablename__ = "interactions"
    __table_args__ = (
        Index("ix_interactions_message", "message_id", "kind"),
        Index("ix_interactions_customer", "customer_id", "kind", "at"),
    )

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    message_id: str = Field(max_length=36, foreign_key="messages.id")
    customer_id: int = Field(sa_type=Id)
    campaign: str = Field(max_length=100)
    step: str = Field(max_length=100)
    kind: str = Field(sa_type=Word(20))
    klass: str = Field(sa_type=Word(10))
    link_id: int | None = Field(default=None, sa_type=Id, foreign_key="links.id")
    at: datetime = Field(sa_type=UtcDateTime)
    user_agent: str | None = Field(default=None, max_length=500)
    address: str | None = Field(default=None, max_length=64)  # keyed hash of the caller's IP address


class Receipt(SQLModel, table=True):
    """What a gateway's other side reported later, raw; UNIQUE makes a replay harmless."""

    __tablename__ = "receipts"
    __table_args__ = (UniqueConstraint("gateway", "provider_id", "kind"),)

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    gateway: str = Field(max_length=100)
    provider_id: str = Field(max_length=200)
    kind: str = Field(max_length=20)  # delivered, bounced, complained, replied
    message_id: str | None = Field(default=None, max_length=36)
    at: datetime = Field(sa_type=UtcDateTime)
    raw: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))


class Conversion(SQLModel, table=True):
    """An order (or event) attributed to the last message within the window before it; one row per order and campaign.

    `message_id` is empty for the held-out: there the conversion counts from the virtual send, for comparison.
    """

    __tablename__ = "conversions"
    __table_args__ = (
        UniqueConstraint("campaign", "kind", "source_id"),
        Index("ix_conversions_enrollment", "enrollment_id"),
        Index("ix_conversions_message", "message_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    campaign: str = Field(max_length=100)
    kind: str = Field(max_length=10)  # order | event
    source_id: int = Field(sa_type=Id)  # orders.id or events.id
    customer_id: int = Field(sa_type=Id)
    enrollment_id: int = Field(sa_type=Id, foreign_key="enrollments.id")
    message_id: str = Field(max_length=36, foreign_key="messages.id")  # the touch; a held_out row for the holdout
    held_out: bool
    last_touch: bool  # over all campaigns: this touch was the last before the order
    value_minor: int = Field(sa_type=Id)
    currency: str | None = Field(default=None, max_length=3)
    at: datetime = Field(sa_type=UtcDateTime)


class Coupon(SQLModel, table=True):
    """A unique code given with a message."""

    __tablename__ = "coupons"

    code: str = Field(max_length=50, primary_key=True)
    pool: str = Field(max_length=50)
    customer_id: int = Field(sa_type=Id)
    message_id: str = Field(max_length=36, unique=True)
    given_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PlanFunnel(SQLModel, table=True):
    """How many people each rule turned away in a campaign's last pass that enrolled or planned anybody."""

    __tablename__ = "plan_funnels"
    __table_args__ = (UniqueConstraint("campaign", "at", "stage", "rule"),)

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    campaign: str = Field(max_length=100)
    at: datetime = Field(sa_type=UtcDateTime)
    stage: str = Field(max_length=20)  # enroll | step name
    rule: str = Field(max_length=50)
    count: int


class Pass(SQLModel, table=True):
    """One pass of the scheduler: what it did, for `winback status`."""

    __tablename__ = "passes"

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    worker: str = Field(max_length=100)
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    enrolled: int = 0
    planned: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    error: str | None = Field(default=None, max_length=2000)


class ImportRun(SQLModel, table=True):
    """One import: what file, and what became of its rows."""

    __tablename__ = "import_runs"

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    kind: str = Field(max_length=20)
    source: str = Field(max_length=500)
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0


class Installation(SQLModel, table=True):
    """Facts about this database: which installation it belongs to."""

    __tablename__ = "installation"

    key: str = Field(max_length=50, primary_key=True)
    value: str = Field(max_length=500)


class Place(SQLModel, table=True):
    """A folder that may send from this database; which one it is, and that it is no copy, is told by its `installation.json`."""

    __tablename__ = "places"

    id: str = Field(max_length=32, primary_key=True)
    token: str = Field(max_length=32)  # what the folder's file says; a new one each time something was sent
    generation: int = Field(sa_type=Id)  # grows with every new token of any place
    database: str = Field(max_length=100)  # which database this row was written in
    folder: str = Field(max_length=1000)  # the shop's, for people
    host: str = Field(max_length=200)  # likewise
    machine: str = Field(max_length=32)  # hash of the machine's id, '' where it has none
    boot: str = Field(max_length=32)  # hash of the id of the machine's present run, '' likewise
    device: str = Field(max_length=20)  # of the folder's file: holds while the machine runs
    inode: str = Field(max_length=20)
    folder_inode: str = Field(max_length=20)
    born: str = Field(max_length=30)  # when the file system made the file
    adopted_at: datetime = Field(sa_type=UtcDateTime)
    adopted_by: str | None = Field(default=None, max_length=200)  # empty: by itself, with the database's first pass
    seen_at: datetime = Field(sa_type=UtcDateTime)


class Lease(SQLModel, table=True):
    """A task that one process at a time does, and which process holds it; it is free when it was not renewed for a while."""

    __tablename__ = "leases"

    name: str = Field(max_length=50, primary_key=True)
    holder: str = Field(max_length=100)
    renewed_at: datetime = Field(sa_type=UtcDateTime)


class GatewayState(SQLModel, table=True):
    """A gateway that cannot send at present, and why; a gateway without a row has no trouble."""

    __tablename__ = "gateway_states"

    name: str = Field(max_length=100, primary_key=True)  # as in config.toml
    paused_until: datetime | None = Field(default=None, sa_type=UtcDateTime)  # empty: until its settings are repaired
    reason: str = Field(max_length=500)
    failures: int  # in a row, each pause longer than the one before
    probed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # since when somebody tries it with one message


class GatewayUse(SQLModel, table=True):
    """How many messages a gateway took in a slice of time, as far as one of its rates still counts them."""

    __tablename__ = "gateway_uses"

    gateway: str = Field(max_length=100, primary_key=True)
    domain: str = Field(max_length=255, primary_key=True)  # of the recipients; '' counts all messages
    seconds: int = Field(primary_key=True, sa_type=Id)  # of the rate's window
    at: datetime = Field(sa_type=UtcDateTime, primary_key=True)  # when the slice begins
    used: int


class GatewayWarmup(SQLModel, table=True):
    """How far a gateway has come with its warm-up, and how many messages it took on its newest day."""

    __tablename__ = "gateway_warmups"

    gateway: str = Field(max_length=100, primary_key=True)
    tier: int  # which of the limits holds, from 0
    day: date  # in the shop's zone
    used: int
