"""Keep when somebody left a segment, where each buyer stands among all, and what is to be expected of them."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, ForeignKey, Integer, String

from winback.store.types import Id, UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column and make the tables."""
    op.add_column("segment_members", Column("left_at", UtcDateTime()))
    op.create_table(
        "standings",
        Column("customer_id", Id, ForeignKey("customers.id"), primary_key=True, autoincrement=False),
        Column("recency", Integer(), nullable=False),
        Column("frequency", Integer(), nullable=False),
        Column("monetary", Integer(), nullable=False),
        Column("rfm_group", String(20), nullable=False),
        Column("group_before", String(20)),
        Column("abc", String(1), nullable=False),
        Column("since", UtcDateTime(), nullable=False),
        Column("updated_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "predictions",
        Column("customer_id", Id, ForeignKey("customers.id"), primary_key=True, autoincrement=False),
        Column("p_alive", Float(), nullable=False),
        Column("expected_orders", Float(), nullable=False),
        Column("updated_at", UtcDateTime(), nullable=False),
    )
