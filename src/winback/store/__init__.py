"""Tables, engine and migrations. Everything that is kept has its one home here."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Table
from sqlmodel import SQLModel

from winback.store.commerce import VOID_STATUSES, Event, Order, OrderLine, OrderStatus
from winback.store.engine import exclusive, open_engine, reading, writing
from winback.store.ledger_tables import (
    BounceReason,
    CampaignState,
    Conversion,
    Coupon,
    Enrollment,
    EnrollmentState,
    GatewayState,
    GatewayUse,
    GatewayWarmup,
    ImportRun,
    Installation,
    Interaction,
    InteractionClass,
    InteractionKind,
    Lease,
    Link,
    Message,
    MessageHistory,
    MessageState,
    Pass,
    Place,
    PlanFunnel,
    Receipt,
)
from winback.store.people import (
    Channel,
    Consent,
    Customer,
    Prediction,
    Purpose,
    ScoreCrossing,
    ScoreState,
    SegmentMember,
    Standing,
    Suppression,
    SuppressionReason,
)
from winback.store.prepared import late, prepared
from winback.store.statistics import COUNTED, filled, look_over
from winback.store.temporary import temporary
from winback.store.types import AnyRow, Id, Json, UtcDateTime, among, plus_seconds, seconds_between
from winback.store.version_tables import AppliedFile, AppliedVersion, FileContent


def table(model: type[SQLModel]) -> Table:
    """Return the SQLAlchemy table behind a SQLModel class, for set-based statements."""
    return cast(Table, model.__table__)  # type: ignore[attr-defined]


metadata = SQLModel.metadata

customers = table(Customer)
consents = table(Consent)
suppressions = table(Suppression)
segment_members = table(SegmentMember)
score_states = table(ScoreState)
score_crossings = table(ScoreCrossing)
standings = table(Standing)
predictions = table(Prediction)
orders = table(Order)
order_lines = table(OrderLine)
events = table(Event)
campaign_states = table(CampaignState)
enrollments = table(Enrollment)
messages = table(Message)
message_history = table(MessageHistory)
links = table(Link)
interactions = table(Interaction)
receipts = table(Receipt)
conversions = table(Conversion)
coupons = table(Coupon)
plan_funnels = table(PlanFunnel)
passes = table(Pass)
gateway_states = table(GatewayState)
gateway_uses = table(GatewayUse)
gateway_warmups = table(GatewayWarmup)
import_runs = table(ImportRun)
installation = table(Installation)
places = table(Place)
leases = table(Lease)
applied_versions = table(AppliedVersion)
applied_files = table(AppliedFile)
file_contents = table(FileContent)

__all__ = [
    "COUNTED",
    "VOID_STATUSES",
    "AnyRow",
    "AppliedFile",
    "AppliedVersion",
    "BounceReason",
    "CampaignState",
    "Channel",
    "Consent",
    "Conversion",
    "Coupon",
    "Customer",
    "Enrollment",
    "EnrollmentState",
    "Event",
    "FileContent",
    "GatewayState",
    "GatewayUse",
    "GatewayWarmup",
    "Id",
    "ImportRun",
    "Installation",
    "Interaction",
    "InteractionClass",
    "InteractionKind",
    "Json",
    "Lease",
    "Link",
    "Message",
    "MessageHistory",
    "MessageState",
    "Order",
    "OrderLine",
    "OrderStatus",
    "Pass",
    "Place",
    "PlanFunnel",
    "Prediction",
    "Purpose",
    "Receipt",
    "ScoreCrossing",
    "ScoreState",
    "SegmentMember",
    "Standing",
    "Suppression",
    "SuppressionReason",
    "UtcDateTime",
    "among",
    "applied_files",
    "applied_versions",
    "campaign_states",
    "consents",
    "conversions",
    "coupons",
    "customers",
    "enrollments",
    "events",
    "exclusive",
    "file_contents",
    "filled",
    "gateway_states",
    "gateway_uses",
    "gateway_warmups",
    "import_runs",
    "installation",
    "interactions",
    "late",
    "leases",
    "links",
    "look_over",
    "message_history",
    "messages",
    "metadata",
    "open_engine",
    "order_lines",
    "orders",
    "passes",
    "places",
    "plan_funnels",
    "plus_seconds",
    "predictions",
    "prepared",
    "reading",
    "receipts",
    "score_crossings",
    "score_states",
    "seconds_between",
    "segment_members",
    "standings",
    "suppressions",
    "table",
    "temporary",
    "writing",
]
