"""The first schema: people, what they did, the ledger, and what came of it."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Integer,
    String,
    UniqueConstraint,
    text,
)

from winback.store.types import Id, Json, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    _people()
    _commerce()
    _campaigns()
    _messages()
    _contents()
    _answers()
    _upkeep()


def _people() -> None:
    op.create_table(
        "customers",
        Column("id", Id, primary_key=True),
        Column("external_id", String(200), nullable=False, unique=True),
        Column("email", String(320)),
        Column("phone", String(20)),
        Column("email_hash", String(32)),
        Column("phone_hash", String(32)),
        Column("first_name", String(200)),
        Column("last_name", String(200)),
        Column("locale", String(20)),
        Column("country", String(2)),
        Column("city", String(200)),
        Column("zone", String(64)),
        Column("local_zone", String(64), nullable=False),
        Column("birth_year", Integer()),
        Column("birth_month", Integer()),
        Column("birth_day", Integer()),
        Column("attributes", Json, nullable=False),
        Column("email_marketing", Boolean()),
        Column("email_service", Boolean()),
        Column("sms_marketing", Boolean()),
        Column("sms_service", Boolean()),
        Column("order_count", Integer(), server_default=text("0"), nullable=False),
        Column("spent_minor", Id, server_default=text("0"), nullable=False),
        Column("currency", String(3)),
        Column("first_order_at", UtcDateTime()),
        Column("last_order_at", UtcDateTime()),
        Column("last_order_id", String(200)),
        Column("median_gap_days", Float()),
        Column("created_at", UtcDateTime(), nullable=False),
        Column("updated_at", UtcDateTime(), nullable=False),
        Column("erased_at", UtcDateTime()),
    )
    op.create_index("ix_customers_birth", "customers", ["birth_month", "birth_day"])
    op.create_index("ix_customers_email_hash", "customers", ["email_hash"])
    op.create_index("ix_customers_first_order", "customers", ["first_order_at"])
    op.create_index("ix_customers_last_order", "customers", ["last_order_at"])
    op.create_index("ix_customers_phone_hash", "customers", ["phone_hash"])
    op.create_table(
        "consents",
        Column("id", Id, primary_key=True),
        Column("customer_id", Id, ForeignKey("customers.id"), nullable=False),
        Column("channel", String(10), nullable=False),
        Column("purpose", String(10), nullable=False),
        Column("granted", Boolean(), nullable=False),
        Column("at", UtcDateTime(), nullable=False),
        Column("source", String(100), nullable=False),
        Column("wording", String(100)),
    )
    op.create_index("ix_consents_customer", "consents", ["customer_id", "channel", "purpose", "at"])
    op.create_table(
        "suppressions",
        Column("id", Id, primary_key=True),
        Column("channel", String(10), nullable=False),
        Column("address_hash", String(32), nullable=False),
        Column("reason", String(20), nullable=False),
        Column("at", UtcDateTime(), nullable=False),
        Column("source", String(100), nullable=False),
        UniqueConstraint("channel", "address_hash"),
    )
    op.create_table(
        "segment_members",
        Column("segment", String(100), primary_key=True),
        Column("customer_id", Id, ForeignKey("customers.id"), primary_key=True),
        Column("entered_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "score_states",
        Column("model", String(100), primary_key=True),
        Column("customer_id", Id, ForeignKey("customers.id"), primary_key=True),
        Column("value", Float(), nullable=False),
        Column("level", String(50), nullable=False),
        Column("since", UtcDateTime(), nullable=False),
        Column("updated_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "score_crossings",
        Column("id", Id, primary_key=True),
        Column("model", String(100), nullable=False),
        Column("customer_id", Id, ForeignKey("customers.id"), nullable=False),
        Column("number", Integer(), nullable=False),
        Column("level", String(50), nullable=False),
        Column("upward", Boolean(), nullable=False),
        Column("value", Float(), nullable=False),
        Column("at", UtcDateTime(), nullable=False),
        UniqueConstraint("model", "customer_id", "number"),
    )
    op.create_index("ix_score_crossings_at", "score_crossings", ["model", "at"])


def _commerce() -> None:
    op.create_table(
        "orders",
        Column("id", Id, primary_key=True),
        Column("external_id", String(200), nullable=False, unique=True),
        Column("customer_id", Id, ForeignKey("customers.id"), nullable=False),
        Column("placed_at", UtcDateTime(), nullable=False),
        Column("status", String(20), nullable=False),
        Column("total_minor", Id, nullable=False),
        Column("currency", String(3), nullable=False),
        Column("delivered_at", UtcDateTime()),
        Column("voided_at", UtcDateTime()),
        Column("attributes", Json, nullable=False),
        Column("updated_at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_orders_customer", "orders", ["customer_id", "placed_at"])
    op.create_index("ix_orders_delivered", "orders", ["delivered_at"])
    op.create_index("ix_orders_placed", "orders", ["placed_at"])
    op.create_index("ix_orders_voided", "orders", ["voided_at"])
    op.create_table(
        "order_lines",
        Column("id", Id, primary_key=True),
        Column("order_id", Id, ForeignKey("orders.id"), nullable=False),
        Column("position", Integer(), nullable=False),
        Column("product_id", String(200), nullable=False),
        Column("name", String(500), nullable=False),
        Column("category", String(200)),
        Column("quantity", Integer(), nullable=False),
        Column("price_minor", Id, nullable=False),
        Column("url", String(2000)),
        UniqueConstraint("order_id", "position"),
    )
    op.create_index("ix_order_lines_product", "order_lines", ["product_id"])
    op.create_table(
        "events",
        Column("id", Id, primary_key=True),
        Column("external_id", String(200), nullable=False, unique=True),
        Column("customer_id", Id, ForeignKey("customers.id"), nullable=False),
        Column("name", String(100), nullable=False),
        Column("at", UtcDateTime(), nullable=False),
        Column("properties", Json, nullable=False),
    )
    op.create_index("ix_events_customer", "events", ["customer_id", "name", "at"])
    op.create_index("ix_events_name", "events", ["name", "at"])


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        Column("name", String(100), primary_key=True),
        Column("live_since", UtcDateTime(), nullable=False),
        Column("planned_until", UtcDateTime()),
        Column("paused_at", UtcDateTime()),
        Column("pause_reason", String(200)),
        Column("definition_hash", String(64), nullable=False),
    )
    op.create_table(
        "enrollments",
        Column("id", Id, primary_key=True),
        Column("campaign", String(100), nullable=False),
        Column("customer_id", Id, ForeignKey("customers.id"), nullable=False),
        Column("occasion", String(200), nullable=False),
        Column("anchor_at", UtcDateTime()),
        Column("anchor_on", Date()),
        Column("order_id", Id),
        Column("zone", String(64), nullable=False),
        Column("variant", String(50), nullable=False),
        Column("held_out", Boolean(), nullable=False),
        Column("state", String(10), nullable=False),
        Column("step", String(100)),
        Column("due_at", UtcDateTime()),
        Column("due_on", Date()),
        Column("waiting", String(50)),
        Column("deferred_from", UtcDateTime()),
        Column("exit_reason", String(50)),
        Column("enrolled_at", UtcDateTime(), nullable=False),
        CheckConstraint("state IN ('active', 'finished', 'exited')", name="ck_enrollments_state"),
        CheckConstraint("(anchor_at IS NULL) <> (anchor_on IS NULL)", name="ck_enrollments_anchor"),
        UniqueConstraint("campaign", "customer_id", "occasion"),
    )
    op.create_index("ix_enrollments_customer", "enrollments", ["customer_id", "campaign", "enrolled_at"])
    op.create_index(
        "ix_enrollments_due",
        "enrollments",
        ["campaign", "due_at"],
        sqlite_where=text("state = 'active'"),
        postgresql_where=text("state = 'active'"),
    )
    op.create_table(
        "plan_funnels",
        Column("id", Id, primary_key=True),
        Column("campaign", String(100), nullable=False),
        Column("at", UtcDateTime(), nullable=False),
        Column("stage", String(20), nullable=False),
        Column("rule", String(50), nullable=False),
        Column("count", Integer(), nullable=False),
        UniqueConstraint("campaign", "at", "stage", "rule"),
    )


def _messages() -> None:
    op.create_table(
        "messages",
        Column("id", String(36), primary_key=True),
        Column("enrollment_id", Id, ForeignKey("enrollments.id"), nullable=False),
        Column("campaign", String(100), nullable=False),
        Column("step", String(100), nullable=False),
        Column("customer_id", Id, ForeignKey("customers.id"), nullable=False),
        Column("channel", String(10), nullable=False),
        Column("purpose", String(10), nullable=False),
        Column("variant", String(50), nullable=False),
        Column("state", String(10), nullable=False),
        Column("reason", String(200)),
        Column("planned_at", UtcDateTime(), nullable=False),
        Column("due_at", UtcDateTime(), nullable=False),
        Column("due_on", Date(), nullable=False),
        Column("next_attempt_at", UtcDateTime(), nullable=False),
        Column("valid_until", UtcDateTime(), nullable=False),
        Column("attempts", Integer(), nullable=False),
        Column("gateway", String(100)),
        Column("claimed_by", String(100)),
        Column("claimed_at", UtcDateTime()),
        Column("provider_id", String(200)),
        Column("subject", String(500)),
        Column("segments", Integer()),
        Column("redirected", Boolean(), nullable=False),
        Column("sent_at", UtcDateTime()),
        Column("delivered_at", UtcDateTime()),
        Column("definition_hash", String(64), nullable=False),
        CheckConstraint(
            "state IN ('planned', 'sending', 'sent', 'delivered', 'bounced', "
            "'failed', 'uncertain', 'skipped', 'held_out', 'cancelled')",
            name="ck_messages_state",
        ),
        UniqueConstraint("enrollment_id", "step"),
    )
    op.create_index("ix_messages_campaign", "messages", ["campaign", "step", "state"])
    op.create_index(
        "ix_messages_claimed",
        "messages",
        ["claimed_by"],
        sqlite_where=text("state = 'sending'"),
        postgresql_where=text("state = 'sending'"),
    )
    op.create_index("ix_messages_customer", "messages", ["customer_id", "channel", "due_at"])
    op.create_index("ix_messages_provider", "messages", ["gateway", "provider_id"])
    op.create_index(
        "ix_messages_ready",
        "messages",
        ["next_attempt_at"],
        sqlite_where=text("state = 'planned'"),
        postgresql_where=text("state = 'planned'"),
    )
    op.create_index(
        "ix_messages_uncertain",
        "messages",
        ["campaign"],
        sqlite_where=text("state = 'uncertain'"),
        postgresql_where=text("state = 'uncertain'"),
    )
    op.create_table(
        "message_history",
        Column("id", Id, primary_key=True),
        Column("message_id", String(36), ForeignKey("messages.id"), nullable=False),
        Column("from_state", String(10)),
        Column("to_state", String(10), nullable=False),
        Column("reason", String(200)),
        Column("detail", String(2000)),
        Column("worker", String(100)),
        Column("at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_message_history_message", "message_history", ["message_id"])


def _contents() -> None:
    op.create_table(
        "links",
        Column("id", Id, primary_key=True),
        Column("campaign", String(100), nullable=False),
        Column("step", String(100), nullable=False),
        Column("url", String(8000), nullable=False),
        Column("url_hash", String(32), nullable=False),
        Column("label", String(100)),
        UniqueConstraint("campaign", "step", "url_hash"),
    )
    op.create_table(
        "coupons",
        Column("code", String(50), primary_key=True),
        Column("pool", String(50), nullable=False),
        Column("customer_id", Id, nullable=False),
        Column("message_id", String(36), nullable=False, unique=True),
        Column("given_at", UtcDateTime(), nullable=False),
        Column("expires_at", UtcDateTime()),
    )


def _answers() -> None:
    op.create_table(
        "interactions",
        Column("id", Id, primary_key=True),
        Column("message_id", String(36), ForeignKey("messages.id"), nullable=False),
        Column("customer_id", Id, nullable=False),
        Column("campaign", String(100), nullable=False),
        Column("step", String(100), nullable=False),
        Column("kind", String(20), nullable=False),
        Column("klass", String(10), nullable=False),
        Column("link_id", Id, ForeignKey("links.id")),
        Column("at", UtcDateTime(), nullable=False),
        Column("user_agent", String(500)),
        Column("address", String(64)),
    )
    op.create_index("ix_interactions_customer", "interactions", ["customer_id", "kind", "at"])
    op.create_index("ix_interactions_message", "interactions", ["message_id", "kind"])
    op.create_table(
        "receipts",
        Column("id", Id, primary_key=True),
        Column("gateway", String(100), nullable=False),
        Column("provider_id", String(200), nullable=False),
        Column("kind", String(20), nullable=False),
        Column("message_id", String(36)),
        Column("at", UtcDateTime(), nullable=False),
        Column("raw", Json, nullable=False),
        UniqueConstraint("gateway", "provider_id", "kind"),
    )
    op.create_table(
        "conversions",
        Column("id", Id, primary_key=True),
        Column("campaign", String(100), nullable=False),
        Column("kind", String(10), nullable=False),
        Column("source_id", Id, nullable=False),
        Column("customer_id", Id, nullable=False),
        Column("enrollment_id", Id, ForeignKey("enrollments.id"), nullable=False),
        Column("message_id", String(36), ForeignKey("messages.id"), nullable=False),
        Column("held_out", Boolean(), nullable=False),
        Column("last_touch", Boolean(), nullable=False),
        Column("value_minor", Id, nullable=False),
        Column("currency", String(3)),
        Column("at", UtcDateTime(), nullable=False),
        UniqueConstraint("campaign", "kind", "source_id"),
    )
    op.create_index("ix_conversions_enrollment", "conversions", ["enrollment_id"])
    op.create_index("ix_conversions_message", "conversions", ["message_id"])


def _upkeep() -> None:
    op.create_table(
        "passes",
        Column("id", Id, primary_key=True),
        Column("worker", String(100), nullable=False),
        Column("started_at", UtcDateTime(), nullable=False),
        Column("finished_at", UtcDateTime()),
        Column("enrolled", Integer(), nullable=False),
        Column("planned", Integer(), nullable=False),
        Column("sent", Integer(), nullable=False),
        Column("failed", Integer(), nullable=False),
        Column("skipped", Integer(), nullable=False),
        Column("error", String(2000)),
    )
    op.create_table(
        "import_runs",
        Column("id", Id, primary_key=True),
        Column("kind", String(20), nullable=False),
        Column("source", String(500), nullable=False),
        Column("started_at", UtcDateTime(), nullable=False),
        Column("finished_at", UtcDateTime()),
        Column("inserted", Integer(), nullable=False),
        Column("updated", Integer(), nullable=False),
        Column("unchanged", Integer(), nullable=False),
        Column("rejected", Integer(), nullable=False),
    )
    op.create_table(
        "installation",
        Column("key", String(50), primary_key=True),
        Column("value", String(500), nullable=False),
    )
    op.create_table(
        "places",
        Column("id", String(32), primary_key=True),
        Column("token", String(32), nullable=False),
        Column("generation", Id, nullable=False),
        Column("database", String(100), nullable=False),
        Column("folder", String(1000), nullable=False),
        Column("host", String(200), nullable=False),
        Column("machine", String(32), nullable=False),
        Column("boot", String(32), nullable=False),
        Column("device", String(20), nullable=False),
        Column("inode", String(20), nullable=False),
        Column("folder_inode", String(20), nullable=False),
        Column("born", String(30), nullable=False),
        Column("adopted_at", UtcDateTime(), nullable=False),
        Column("adopted_by", String(200)),
        Column("seen_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "leases",
        Column("name", String(50), primary_key=True),
        Column("holder", String(100), nullable=False),
        Column("renewed_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "gateway_states",
        Column("name", String(100), primary_key=True),
        Column("paused_until", UtcDateTime()),
        Column("reason", String(500), nullable=False),
        Column("failures", Integer(), nullable=False),
    )
