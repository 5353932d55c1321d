"""Merge staged orders and their lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union,
    update,
)

from winback.importers.merging import (
    Merge,
    Merged,
    filling,
    find_customers,
    find_targets,
    fold_repeats,
    joined_objects,
    kept,
    note_changed,
    number_ids,
    with_customers,
)
from winback.importers.staging import changed, index, staged_lines, staged_orders, touched
from winback.store import VOID_STATUSES, Json, OrderStatus, customers, order_lines, orders
from winback.store.aggregates import refresh_selected

_LINE = ("product_id", "name", "category", "quantity", "price_minor", "url")
_NEEDED = {"placed_at": "placed_at", "customer": "customer_id", "total_minor": "total"}


def merge_orders(merge: Merge) -> Merged:
    """Insert and update orders with their lines, create absent customers, and refresh the touched customers' aggregates."""
    connection, done = merge.connection, Merged(row_by_row=merge.row_by_row)
    if merge.numbered:
        number_ids(connection, staged_orders)
    index(connection, staged_orders, "external_id")
    index(connection, staged_lines, "line", "position")
    fold_repeats(merge, staged_orders, _move_lines(merge))
    with_lines = bool(connection.scalar(select(exists().where(staged_orders.c.has_lines))))
    if with_lines:
        _sum_lines(merge)
    find_targets(connection, staged_orders, orders)
    _refuse_incomplete(merge)
    done.customers_created = find_customers(merge, staged_orders)
    merged = _merged(merge)
    note_changed(connection, staged_orders, orders, merged, objects=("attributes",))
    if with_lines:
        _note_changed_lines(connection)
    done.count(connection, staged_orders)
    if done.updated:
        _note_touched(connection)
        connection.execute(
            update(orders)
            .where(orders.c.id == staged_orders.c.target_id, orders.c.id.in_(select(changed.c.id)))
            .values(**merged, updated_at=merge.moment)
        )
    known = connection.scalar(select(func.max(orders.c.id))) or 0
    _insert(merge)
    new = select(orders.c.customer_id).distinct().where(orders.c.id > known, orders.c.customer_id.not_in(select(touched.c.id)))
    connection.execute(insert(touched).from_select(["id"], new))
    if with_lines:
        find_targets(connection, staged_orders, orders)
        _write_lines(connection)
    refresh_selected(connection, "SELECT id FROM import_touched")
    return done


def _move_lines(merge: Merge) -> Any:
    """Return what hands the lines of repeated rows to the last one: in line mode all, else those of the last that has any."""

    def move(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        numbers = [row["line"] for row in rows]
        found = connection.execute(
            select(staged_lines).where(staged_lines.c.line.in_(numbers)).order_by(staged_lines.c.line, staged_lines.c.position)
        ).mappings()
        lines = [dict(line) for line in found]
        if not merge.line_mode:
            last = max((row["line"] for row in rows if row["has_lines"]), default=None)
            lines = [line for line in lines if line["line"] == last]
        connection.execute(delete(staged_lines).where(staged_lines.c.line.in_(numbers)))
        for position, line in enumerate(lines, 1):
            line.update(line=numbers[-1], position=position)
        if lines:
            connection.execute(insert(staged_lines), lines)

    return move


def _sum_lines(merge: Merge) -> None:
    """Give orders without a total the sum of their lines."""
    total = (
        select(func.sum(staged_lines.c.quantity * staged_lines.c.price_minor))
        .where(staged_lines.c.line == staged_orders.c.line)
        .scalar_subquery()
    )
    merge.connection.execute(
        update(staged_orders)
        .where(staged_orders.c.has_lines, staged_orders.c.total_minor.is_(None))
        .values(
            total_minor=func.coalesce(total, 0),
            currency=func.coalesce(staged_orders.c.currency, literal(merge.settings.currency)),
        )
    )


def _refuse_incomplete(merge: Merge) -> None:
    """Refuse rows that say too little for a new order, and are about none that is known."""
    s = staged_orders
    nobody = and_(s.c.customer.is_(None), s.c.email.is_(None))
    incomplete = and_(s.c.target_id.is_(None), or_(s.c.placed_at.is_(None), s.c.total_minor.is_(None), nobody))
    rows = merge.connection.execute(select(s).where(incomplete).order_by(s.c.line)).mappings()
    row = None
    for row in rows:
        lacking = [
            name for column, name in _NEEDED.items() if row[column] is None and not (column == "customer" and row["email"])
        ]
        empty = f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} empty"
        merge.tally.reject(row["line"], f"{empty}, and the order is not known yet", "", row["raw"] or "")
        merge.tally.rejected += row["weight"] - 1
    if row is not None:
        merge.connection.execute(delete(s).where(incomplete))


def _merged(merge: Merge) -> dict[str, ColumnElement[Any]]:
    """Return SQL for each column of a known order after the merge."""
    s, o = staged_orders, orders
    void = list(VOID_STATUSES)
    # An order that became delivered or void since the last import did so just now, unless the file says when.
    delivered_now = and_(s.c.status == OrderStatus.DELIVERED.value, o.c.status != OrderStatus.DELIVERED.value)
    return {
        "customer_id": func.coalesce(s.c.customer_id, o.c.customer_id),
        "placed_at": func.coalesce(s.c.placed_at, o.c.placed_at),
        "status": func.coalesce(s.c.status, o.c.status),
        "total_minor": func.coalesce(s.c.total_minor, o.c.total_minor),
        "currency": func.coalesce(s.c.currency, o.c.currency),
        "delivered_at": case(
            (and_(delivered_now, s.c.delivered_at.is_(None), o.c.delivered_at.is_(None)), merge.moment),
            else_=kept(merge, s, "delivered_at", o.c.delivered_at),
        ),
        "voided_at": case(
            (and_(s.c.status.in_(void), s.c.voided_at.is_(None), o.c.status.not_in(void)), merge.moment),
            (and_(s.c.status.not_in(void), s.c.voided_at.is_(None)), null()),
            else_=kept(merge, s, "voided_at", o.c.voided_at),
        ),
        "attributes": joined_objects(merge.connection, o.c.attributes, s.c.attributes),
    }


def _insert(merge: Merge) -> None:
    s = staged_orders
    columns = [
        *("external_id", "customer_id", "placed_at", "status", "total_minor", "currency"),
        *("delivered_at", "voided_at", "attributes", "updated_at"),
    ]
    rows = (
        select(
            s.c.external_id,
            customers.c.id,
            s.c.placed_at,
            func.coalesce(s.c.status, literal(OrderStatus.PLACED.value)),
            s.c.total_minor,
            func.coalesce(s.c.currency, literal(merge.settings.currency)),
            s.c.delivered_at,
            s.c.voided_at,
            joined_objects(merge.connection, literal({}, Json), s.c.attributes),
            merge.moment,
        )
        .select_from(with_customers(s))
        .where(s.c.target_id.is_(None))
        .order_by(s.c.line)
    )
    with filling(merge.connection, orders):
        merge.connection.execute(insert(orders).from_select(columns, rows))


def _note_changed_lines(connection: Connection) -> None:
    """Add to the changed orders those whose lines differ from the file's, are missing, or are too many."""
    s, staged, current = staged_orders, staged_lines, order_lines
    known = and_(current.c.order_id == s.c.target_id, current.c.position == staged.c.position)
    differs = or_(current.c.id.is_(None), *(staged.c[name].is_distinct_from(current.c[name]) for name in _LINE))
    other = (
        select(s.c.target_id)
        .select_from(staged.join(s, s.c.line == staged.c.line).outerjoin(current, known))
        .where(s.c.target_id.is_not(None), differs)
    )
    same_place = and_(staged.c.line == s.c.line, staged.c.position == current.c.position)
    surplus = (
        select(current.c.order_id).join(s, s.c.target_id == current.c.order_id).where(s.c.has_lines, ~exists().where(same_place))
    )
    found = union(other, surplus).subquery()
    rows = select(found.c[0]).where(found.c[0].not_in(select(changed.c.id)))
    connection.execute(insert(changed).from_select(["id"], rows))


def _write_lines(connection: Connection) -> None:
    """Replace the lines of changed orders, write those of new ones: after the first, both are orders without lines."""
    s = staged_orders
    with_lines = select(s.c.target_id).where(s.c.has_lines)
    connection.execute(
        delete(order_lines).where(order_lines.c.order_id.in_(select(changed.c.id)), order_lines.c.order_id.in_(with_lines))
    )
    bare = ~exists().where(order_lines.c.order_id == s.c.target_id)
    rows = (
        select(s.c.target_id, staged_lines.c.position, *(staged_lines.c[name] for name in _LINE))
        .join(s, s.c.line == staged_lines.c.line)
        .where(bare)
        .order_by(s.c.line, staged_lines.c.position)
    )
    with filling(connection, order_lines):
        connection.execute(insert(order_lines).from_select(["order_id", "position", *_LINE], rows))


def _note_touched(connection: Connection) -> None:
    """Write down the customers whose known orders change: those who had the order, and those who have it now."""
    s = staged_orders
    had = select(orders.c.customer_id).where(orders.c.id.in_(select(changed.c.id)))
    have = select(s.c.customer_id).where(s.c.customer_id.is_not(None), s.c.target_id.in_(select(changed.c.id)))
    connection.execute(insert(touched).from_select(["id"], union(had, have)))
