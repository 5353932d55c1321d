"""Merge staged events."""

from __future__ import annotations

from sqlalchemy import String, func, insert, select, update

from winback.importers.merging import (
    Merge,
    Merged,
    filling,
    find_customers,
    find_targets,
    fold_repeats,
    note_changed,
    number_ids,
    with_customers,
)
from winback.importers.staging import changed, index, staged_events
from winback.store import customers, events


def merge_events(merge: Merge) -> Merged:
    """Insert and update events, and create absent customers."""
    connection, done, s = merge.connection, Merged(row_by_row=merge.row_by_row), staged_events
    if merge.numbered:
        number_ids(connection, s)
    index(connection, s, "external_id")
    fold_repeats(merge, s)
    find_targets(connection, s, events)
    done.customers_created = find_customers(merge, s)
    merged = {name: s.c[name] for name in ("customer_id", "name", "at")}
    # Properties are replaced as a whole; both sides are compared in SQLite's own spelling of JSON.
    properties = func.json(s.c.properties, type_=String) if connection.dialect.name == "sqlite" else s.c.properties
    note_changed(connection, s, events, {**merged, "properties": properties}, objects=("properties",))
    done.count(connection, s)
    connection.execute(
        update(events)
        .where(events.c.id == s.c.target_id, events.c.id.in_(select(changed.c.id)))
        .values(**merged, properties=s.c.properties)
    )
    rows = (
        select(s.c.external_id, customers.c.id, s.c.name, s.c.at, s.c.properties)
        .select_from(with_customers(s))
        .where(s.c.target_id.is_(None))
        .order_by(s.c.line)
    )
    with filling(connection, events):
        connection.execute(insert(events).from_select(["external_id", "customer_id", "name", "at", "properties"], rows))
    return done
