"""Put a report together: a fixed number of statements for all campaigns, and a few for each comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, case, distinct, func, select, text, union

from winback.errors import InputError
from winback.project import Campaign, Project
from winback.report.days import count_days
from winback.report.funnel import ARRIVED, CampaignFunnel, count_funnels, count_links, is_of
from winback.report.model import CampaignReport, Day, Funnel, LinkClicks, Report, Revenue
from winback.report.printing import Printer
from winback.report.references import references_for
from winback.report.uplift import compare_arms, compare_holdout
from winback.store import EnrollmentState, campaign_states, conversions, enrollments, messages

_WHOLE = 10_000  # shares in campaign files are basis points


def build_report(connection: Connection, project: Project, now: datetime, *, campaign: str | None = None) -> Report:
    """Return what all campaigns, or one, did up to `now`, those too that the ledger knows and the files no longer have.

    Give a connection that has not been asked anything yet: on PostgreSQL all numbers are then of one moment, as on SQLite always.
    Raise InputError for a campaign that neither the files nor the ledger know.
    """
    _freeze(connection)
    names = _names(connection, project, campaign)
    shop = project.settings.shop
    counted = _Counted.up_to(connection, now, ZoneInfo(shop.zone), campaign)
    printer = Printer.of(shop.zone, shop.locale, shop.currency)
    orders, revenue = _last_touch(connection, now, campaign)
    return Report(
        at=now,
        shop=shop.name,
        zone=shop.zone,
        locale=shop.locale,
        currency=shop.currency,
        campaigns=tuple(_campaign(connection, project.campaigns.get(name), name, now, counted, printer) for name in names),
        all_conversions=orders,
        all_revenue=revenue,
    )


@dataclass(frozen=True)
class _Counted:
    """What was counted for all campaigns at once, by campaign."""

    funnels: dict[str, CampaignFunnel]
    links: dict[str, tuple[LinkClicks, ...]]
    days: dict[str, tuple[Day, ...]]
    people: dict[str, tuple[int, int]]

    @classmethod
    def up_to(cls, connection: Connection, now: datetime, zone: ZoneInfo, campaign: str | None) -> _Counted:
        funnels = count_funnels(connection, now, campaign)
        return cls(
            funnels,
            count_links(connection, now, funnels, campaign),
            count_days(connection, now, zone, campaign),
            _people(connection, now, campaign),
        )


def _freeze(connection: Connection) -> None:
    # Else a message that is opened between two statements was opened but not yet sent. SQLite's transactions see one moment.
    if connection.dialect.name == "postgresql" and not connection.in_transaction():
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def _names(connection: Connection, project: Project, campaign: str | None) -> Sequence[str]:
    """Return the campaigns to report: the files' in their order, then what only the ledger knows."""
    known = union(*(select(column) for column in (enrollments.c.campaign, messages.c.campaign, campaign_states.c.name)))
    names = [*project.campaigns, *sorted(set(connection.scalars(known)) - set(project.campaigns))]
    if campaign is None:
        return names
    if campaign not in names:
        remedy = f"there are {', '.join(names)}" if names else "there are none yet; winback init makes a shop with four"
        raise InputError(f"there is no campaign {campaign!r}", remedy)
    return [campaign]


def _people(connection: Connection, now: datetime, campaign: str | None) -> dict[str, tuple[int, int]]:
    """Return for each campaign how many people ever came in, and how many of them have a step ahead."""
    going_on = (enrollments.c.state == EnrollmentState.ACTIVE.value) & enrollments.c.held_out.is_(False)
    active = func.count(distinct(case((going_on, enrollments.c.customer_id))))
    query = (
        select(enrollments.c.campaign, func.count(distinct(enrollments.c.customer_id)).label("enrolled"), active.label("active"))
        .where(enrollments.c.enrolled_at <= now, is_of(enrollments, campaign))
        .group_by(enrollments.c.campaign)
    )
    return {row.campaign: (row.enrolled, row.active) for row in connection.execute(query)}


def _last_touch(connection: Connection, now: datetime, campaign: str | None) -> tuple[int, tuple[Revenue, ...]]:
    """Return the orders whose last message of any campaign was one of ours, each once, and their worth."""
    query = (
        select(conversions.c.currency, func.count().label("orders"), func.sum(conversions.c.value_minor).label("minor"))
        .join_from(conversions, messages, messages.c.id == conversions.c.message_id)
        .where(
            conversions.c.kind == "order",
            conversions.c.last_touch.is_(True),
            messages.c.state.in_(ARRIVED),
            messages.c.planned_at <= now,
            conversions.c.at <= now,
            is_of(conversions, campaign),
        )
        .group_by(conversions.c.currency)
        .order_by(conversions.c.currency)
    )
    rows = connection.execute(query).all()
    worth = tuple(Revenue(row.currency, int(row.minor)) for row in rows if row.currency is not None)
    return sum(row.orders for row in rows), worth


def _campaign(
    connection: Connection, campaign: Campaign | None, name: str, now: datetime, counted: _Counted, printer: Printer
) -> CampaignReport:
    funnel = counted.funnels.get(name, CampaignFunnel())
    total: Funnel = funnel.total()
    enrolled, active = counted.people.get(name, (0, 0))
    links, days = counted.links.get(name, ()), counted.days.get(name, ())
    if campaign is None:
        # Without its file nobody knows what counted as a success, or for how long: there is nothing to judge it by.
        return CampaignReport(
            name=name,
            title=name,
            goal="",
            conversion="order",
            window_days=0,
            holdout=0,
            enrolled=enrolled,
            active=active,
            total=total,
            steps=funnel.in_order(()),
            links=links,
            days=days,
            in_files=False,
        )
    return CampaignReport(
        name=name,
        title=campaign.title,
        goal=campaign.goal,
        conversion=campaign.measure.conversion,
        window_days=campaign.measure.window.total_seconds() / 86_400,
        holdout=campaign.measure.holdout / _WHOLE,
        enrolled=enrolled,
        active=active,
        total=total,
        steps=funnel.in_order([step.name for step in campaign.steps]),
        uplift=compare_holdout(connection, campaign, now, printer),
        variants=compare_arms(connection, campaign, now, printer),
        links=links,
        days=days,
        references=references_for(campaign),
    )
