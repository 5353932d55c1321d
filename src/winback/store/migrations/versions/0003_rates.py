"""What gateways took lately, for their rates; how far their warm-up is; who tries one; when a campaign was resumed."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Date, Integer, String

from winback.store.types import Id, UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add tables and columns; nothing that is there changes."""
    op.create_table(
        "gateway_uses",
        Column("gateway", String(100), primary_key=True),
        Column("domain", String(255), primary_key=True),
        Column("seconds", Id, primary_key=True, autoincrement=False),
        Column("at", UtcDateTime(), primary_key=True),
        Column("used", Integer(), nullable=False),
    )
    op.create_table(
        "gateway_warmups",
        Column("gateway", String(100), primary_key=True),
        Column("tier", Integer(), nullable=False),
        Column("day", Date(), nullable=False),
        Column("used", Integer(), nullable=False),
    )
    op.add_column("gateway_states", Column("probed_at", UtcDateTime()))
    op.add_column("campaigns", Column("resumed_at", UtcDateTime()))
