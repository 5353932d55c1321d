"""Let the index of what gateways call messages hold only those that have such a name.

A message gets it when it is sent, so planning wrote an entry for each message that said nothing.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the index again, smaller."""
    op.drop_index("ix_messages_provider", table_name="messages")
    op.create_index(
        "ix_messages_provider",
        "messages",
        ["gateway", "provider_id"],
        sqlite_where=text("provider_id IS NOT NULL"),
        postgresql_where=text("provider_id IS NOT NULL"),
    )
