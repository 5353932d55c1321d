"""Count what became of messages: one grouped query for each question, over all campaigns at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, case, distinct, func, select, true

from winback.report.model import Funnel, LinkClicks, Rate, Revenue
from winback.store import (
    Channel,
    InteractionClass,
    InteractionKind,
    MessageState,
    conversions,
    interactions,
    links,
    messages,
)

#: Sent and not reported to have bounced: what people can have seen.
ARRIVED = (MessageState.SENT.value, MessageState.DELIVERED.value)

#: What separates a step's name from "fallback" where a message goes again on the other channel, after the first one bounced.
_SECOND_WAY = ":"

_STATE_COUNTS = {
    MessageState.FAILED: "failed",
    MessageState.UNCERTAIN: "uncertain",
    MessageState.CANCELLED: "cancelled",
    MessageState.PLANNED: "waiting",
    MessageState.SENDING: "waiting",
    MessageState.HELD_OUT: "held_out",
}


@dataclass
class _Tally:
    """The counts of one step while they are gathered."""

    channels: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    revenue: Counter[str] = field(default_factory=Counter)

    def funnel(self, step: str) -> Funnel:
        return Funnel(
            step=step,
            channel=next(iter(self.channels)) if len(self.channels) == 1 else "",
            skipped=dict(sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))),
            revenue=tuple(Revenue(currency, minor) for currency, minor in sorted(self.revenue.items())),
            **self.counts,
        )


@dataclass
class CampaignFunnel:
    """All steps of one campaign that the ledger knows, and their sum."""

    steps: dict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))

    def in_order(self, names: Sequence[str]) -> tuple[Funnel, ...]:
        """Return the steps in the file's order, each before its second way, and last those that the file no longer has."""
        places = {name: place for place, name in enumerate(names)}

        def place(step: str) -> tuple[int, str]:
            return places.get(step.partition(_SECOND_WAY)[0], len(places)), step

        order = sorted({*names, *self.steps}, key=place)
        return tuple(self.steps[name].funnel(name) if name in self.steps else Funnel(name, "") for name in order)

    def total(self) -> Funnel:
        """Return the sum of the steps."""
        whole = _Tally()
        for tally in self.steps.values():
            whole.channels |= tally.channels
            whole.counts += tally.counts
            whole.skipped += tally.skipped
            whole.revenue += tally.revenue
        return whole.funnel("")


def count_funnels(connection: Connection, now: datetime, campaign: str | None) -> dict[str, CampaignFunnel]:
    """Return the counts up to `now` of all campaigns in the ledger, or of one."""
    result: dict[str, CampaignFunnel] = defaultdict(CampaignFunnel)
    _count_states(connection, now, campaign, result)
    _count_interactions(connection, now, campaign, result)
    _count_conversions(connection, now, campaign, result)
    return dict(result)


def _count_states(connection: Connection, now: datetime, campaign: str | None, result: dict[str, CampaignFunnel]) -> None:
    skipped = messages.c.state == MessageState.SKIPPED.value
    reason = case((skipped, func.coalesce(messages.c.reason, "unknown")))
    groups = [messages.c.campaign, messages.c.step, messages.c.channel, messages.c.state]
    query = (
        select(*groups, reason.label("reason"), func.count().label("number"))
        .where(messages.c.planned_at <= now, is_of(messages, campaign))
        .group_by(*groups, reason)
    )
    for row in connection.execute(query):
        tally = result[row.campaign].steps[row.step]
        tally.channels.add(row.channel)
        state = MessageState(row.state)
        if state is MessageState.SKIPPED:
            tally.skipped[row.reason] += row.number
        elif state in _STATE_COUNTS:
            tally.counts[_STATE_COUNTS[state]] += row.number
        else:
            tally.counts["sent"] += row.number
            if state is not MessageState.SENT:
                tally.counts[state.value] += row.number
            if row.channel == Channel.EMAIL and state is not MessageState.BOUNCED:
                tally.counts["arrived_email"] += row.number


def _count_interactions(connection: Connection, now: datetime, campaign: str | None, result: dict[str, CampaignFunnel]) -> None:
    # Per message first: who opens ten times is one opening, and a message that a person and a machine opened was opened.
    human = func.max(case((interactions.c.klass == InteractionClass.HUMAN.value, 1), else_=0))
    each = (
        select(messages.c.campaign, messages.c.step, messages.c.channel, interactions.c.kind, human.label("human"))
        .join_from(interactions, messages, messages.c.id == interactions.c.message_id)
        .where(
            messages.c.state.in_(ARRIVED), messages.c.planned_at <= now, interactions.c.at <= now, is_of(interactions, campaign)
        )
        .group_by(messages.c.id, messages.c.campaign, messages.c.step, messages.c.channel, interactions.c.kind)
        .subquery()
    )
    groups = [each.c.campaign, each.c.step, each.c.channel, each.c.kind, each.c.human]
    for row in connection.execute(select(*groups, func.count().label("number")).group_by(*groups)):
        counts = result[row.campaign].steps[row.step].counts
        if row.kind == InteractionKind.OPEN:
            if row.channel == Channel.EMAIL:
                counts["opened" if row.human else "opened_by_machines"] += row.number
        elif row.kind == InteractionKind.UNSUBSCRIBE:
            counts["unsubscribed"] += row.number
        elif row.human:
            counts["clicked"] += row.number


def _count_conversions(connection: Connection, now: datetime, campaign: str | None, result: dict[str, CampaignFunnel]) -> None:
    groups = [messages.c.campaign, messages.c.step]
    query = (
        select(*groups, func.count(distinct(conversions.c.message_id)).label("messages"), func.count().label("orders"))
        .join_from(conversions, messages, messages.c.id == conversions.c.message_id)
        .where(
            messages.c.state.in_(ARRIVED),
            messages.c.planned_at <= now,
            conversions.c.at <= now,
            is_of(conversions, campaign),
        )
        .group_by(*groups)
    )
    for row in connection.execute(query):
        counts = result[row.campaign].steps[row.step].counts
        counts["converted"] += row.messages
        counts["orders"] += row.orders
    worth = query.with_only_columns(*groups, conversions.c.currency, func.sum(conversions.c.value_minor).label("minor")).group_by(
        conversions.c.currency
    )
    for row in connection.execute(worth.where(conversions.c.currency.is_not(None))):
        result[row.campaign].steps[row.step].revenue[row.currency] += int(row.minor)


def count_links(
    connection: Connection, now: datetime, funnels: dict[str, CampaignFunnel], campaign: str | None
) -> dict[str, tuple[LinkClicks, ...]]:
    """Return for each campaign the links that people followed, the most followed first.

    Links of one step with the same label are one: their targets may differ from person to person, by a code or a product.
    """
    groups = [messages.c.campaign, messages.c.step, links.c.label, case((links.c.label.is_(None), links.c.url)).label("alone")]
    followed = (
        select(*groups, messages.c.id, links.c.url)
        .join_from(interactions, messages, messages.c.id == interactions.c.message_id)
        .join(links, links.c.id == interactions.c.link_id)
        .where(
            interactions.c.kind == InteractionKind.CLICK.value,
            interactions.c.klass == InteractionClass.HUMAN.value,
            interactions.c.at <= now,
            messages.c.state.in_(ARRIVED),
            messages.c.planned_at <= now,
            is_of(interactions, campaign),
        )
        .subquery()
    )
    urls = func.min(followed.c.url).label("first_url"), func.max(followed.c.url).label("last_url")
    keys = [followed.c[column.name] for column in groups]
    found: dict[str, list[LinkClicks]] = defaultdict(list)
    for row in connection.execute(select(*keys, *urls, func.count(distinct(followed.c.id)).label("number")).group_by(*keys)):
        arrived = funnels[row.campaign].steps[row.step].funnel(row.step).arrived
        clicked = Rate(row.number, arrived, "sent and not bounced")
        found[row.campaign].append(
            LinkClicks(row.step, row.label or row.alone, _common_url(row.first_url, row.last_url), clicked)
        )
    return {
        name: tuple(sorted(clicks, key=lambda link: (-link.clicked.count, link.step, link.label, link.url)))
        for name, clicks in found.items()
    }


def _common_url(one: str, other: str) -> str:
    """Return what all targets have in common: the whole address, the address without its parameters, or nothing."""
    if one == other:
        return one
    page = one.partition("?")[0]
    return page if page == other.partition("?")[0] else ""


def is_of(table: Table, campaign: str | None) -> ColumnElement[bool]:
    """Return the condition for rows of one campaign, or of all."""
    return true() if campaign is None else table.c.campaign == campaign
