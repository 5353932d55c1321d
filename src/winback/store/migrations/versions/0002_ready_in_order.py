"""Let the index of what is due name the messages in the order in which dispatchers take them.

A campaign's messages are mostly due at one moment: with the moment alone, each batch sorts all that wait to take its few of them.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the index again, with the id behind the moment, and the channel so that the others' rows need not be read."""
    op.drop_index("ix_messages_ready", table_name="messages")
    op.create_index(
        "ix_messages_ready",
        "messages",
        ["next_attempt_at", "id", "channel"],
        sqlite_where=text("state = 'planned'"),
        postgresql_where=text("state = 'planned'"),
    )
