"""`winback predict`: when somebody is likely to order again, and what that rests on."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import typer

from winback.cli.base import AtOption, Column, Output, OutputOption, ShopOption, moment, open_shop, show, show_json
from winback.cli.customers import CustomerArgument, find
from winback.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from winback.project import Project


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", short_help="Tell when somebody is likely to order again.")(predict)


def predict(
    customer: CustomerArgument, at: AtOption = None, shop: ShopOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Tell when somebody is likely to order again, by their rhythm and by the BG/NBD model, and what both rest on.

    Where there is too little to tell, that is said, and no number.

    \b
    Example: winback predict C00021
    """
    from winback.store import reading

    opened = open_shop(shop)
    project = opened.project
    now = moment(at, project)
    with reading(opened.engine) as connection:
        person = find(connection, project, customer)
        found = {**_by_rhythm(connection, project, person, now), **_by_model(connection, project, person, now)}
    if output is Output.JSON:
        show_json(found)
    else:
        rows = [{"what": what, "value": value} for what, value in found.items() if value is not None]
        show(rows, [Column("what", "what"), Column("value", "value")], output)


def _by_rhythm(connection: Connection, project: Project, person: Row[Any], now: datetime) -> dict[str, Any]:
    from winback.audience import rhythm_of

    found = rhythm_of(connection, person.id, now, project.settings.shop.zone)
    if found is None:
        return {"orders": person.order_count, "by rhythm": "too little data: no order, or nobody's rhythm is known yet"}
    zone = ZoneInfo(project.settings.shop.zone)
    return {
        "orders": person.order_count,
        "last order": person.last_order_at.astimezone(zone).date().isoformat(),
        "days between orders": round(found.days, 1),
        "which is": found.whose,
        "next order expected": (person.last_order_at + timedelta(days=found.days)).astimezone(zone).date().isoformat(),
        "overdue": round(found.overdue, 2),
        "churn": found.churn,
    }


def _by_model(connection: Connection, project: Project, person: Row[Any], now: datetime) -> dict[str, Any]:
    from winback.audience import predicted, prognosis

    within = project.settings.predictions.within
    try:
        found = prognosis(connection, within, now)
    except InputError as error:
        return {"by BG/NBD": f"{error.message}; {error.remedy}"}
    if found.model is None:
        return {"by BG/NBD": f"too little data: {found.lacking}"}
    own = predicted(connection, found.model, person.id, within, now)
    if own is None:
        return {"by BG/NBD": "too little data: no order"}
    model = found.model
    return {
        "days with an order after the first": own.repeats,
        "weeks from the first to the last": round(own.last, 1),
        "weeks since the first": round(own.known, 1),
        "still a customer": f"{own.p_alive:.0%}" if own.repeats else "cannot be told before a second order",
        f"orders expected in {found.days} days": round(own.expected_orders, 2),
        "by BG/NBD of": f"{found.buyers} buyers: r {model.r:.3f}, alpha {model.alpha:.3f}, a {model.a:.3f}, b {model.b:.3f}",
    }
