"""Which files campaigns ran by: the versions that were applied, and the one that each message was made from."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, ForeignKey, LargeBinary, String

from winback.store.types import Id, UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables; messages written before know no version."""
    op.create_table(
        "applied_versions",
        Column("id", Id, primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("applied_at", UtcDateTime(), nullable=False),
        Column("applied_by", String(200), nullable=False),
        Column("automatic", Boolean(), nullable=False),
        Column("auto_apply", Boolean(), nullable=False),
        Column("revision", String(60)),
    )
    op.create_table(
        "file_contents",
        Column("digest", String(64), primary_key=True),
        Column("content", LargeBinary(), nullable=False),
    )
    op.create_table(
        "applied_files",
        Column("version_id", Id, ForeignKey("applied_versions.id"), primary_key=True),
        Column("path", String(500), primary_key=True),
        Column("digest", String(64), ForeignKey("file_contents.digest"), nullable=False),
    )
    op.add_column("messages", Column("version_id", Id))
