"""The tables that a planning transaction makes for itself: temporary ones, with what its statements hand on to each other."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import Boolean, Column, Connection, Date, Integer, MetaData, String, Table

from winback.store import Id, UtcDateTime, temporary

_metadata = MetaData()

#: The audience is asked once; the funnel, the enrollments and the preview all read the answer here.
candidates = Table(
    "plan_candidates",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("customer_id", Id, nullable=False),
    Column("occasion", String(200), nullable=False),
    Column("anchor_at", UtcDateTime),
    Column("anchor_on", Date),
    Column("order_id", Id),
    Column("late", Boolean, nullable=False),  # the first step would be skipped: its time has passed
    Column("zone", String(64), nullable=False),
    Column("country", String(2), nullable=False),  # where it has a rule about the time of marketing, else nothing
    Column("variant", String(50), nullable=False),
    Column("held_out", Boolean, nullable=False),
    Column("failure", String(20)),
    prefixes=["TEMPORARY"],
)

#: When a step is due, for each zone, country and moment (or date) that it is counted from: Python knows of clocks and holidays
#: what SQL does not.
slots = Table(
    "plan_slots",
    _metadata,
    Column("zone", String(64), nullable=False),
    Column("country", String(2), nullable=False),
    Column("anchor_at", UtcDateTime),
    Column("anchor_on", Date),
    Column("due_at", UtcDateTime, nullable=False),
    Column("due_on", Date, nullable=False),
    prefixes=["TEMPORARY"],
)

#: The enrollments whose step is planned, with the first rule that each fails and the channel to use.
ripe = Table(
    "plan_ripe",
    _metadata,
    Column("enrollment_id", Id, primary_key=True, autoincrement=False),
    Column("zone", String(64), nullable=False),
    Column("country", String(2), nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("waits_since", UtcDateTime, nullable=False),  # when it was due at first
    Column("failure", String(20)),
    Column("channel", String(10), nullable=False),
    prefixes=["TEMPORARY"],
)

#: The ids of their messages, which SQL cannot make.
names = Table(
    "plan_names",
    _metadata,
    Column("enrollment_id", Id, primary_key=True, autoincrement=False),
    Column("message_id", String(36), nullable=False),
    prefixes=["TEMPORARY"],
)


def own_tables(connection: Connection) -> AbstractContextManager[None]:
    """Give a planning transaction these tables, empty."""
    return temporary(connection, _metadata)
