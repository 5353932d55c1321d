"""One pass of planning: every live campaign in order of priority, its audience enrolled, its due steps written into the ledger.

The daemon, `winback run`, the preview and the simulation all call `plan`; only what becomes of the transaction differs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, insert, text
from sqlalchemy.exc import SQLAlchemyError

from winback.audience import (
    PREDICTED_FIELDS,
    STANDING_FIELDS,
    Segment,
    fields_in,
    update_predictions,
    update_rhythm,
    update_scores,
    update_segments,
    update_standings,
)
from winback.errors import WinbackError
from winback.plan import candidates, progress
from winback.plan.candidates import ALREADY
from winback.plan.enroll import enroll
from winback.plan.steps import StepPlan, leave_removed_steps, plan_steps
from winback.plan.tables import own_tables
from winback.policy import audience_context
from winback.project import Campaign, Project
from winback.store import customers, enrollments, events, exclusive, look_over, messages, order_lines, orders, plan_funnels

#: Everybody is asked so often; the passes in between ask those who have just done something, for whom a minute counts.
THOROUGH_EVERY = timedelta(hours=1)

#: What PostgreSQL sorts in memory in a pass, as on SQLite: with the 4 MB that it comes with, each larger campaign's people and
#: messages went through files. Only one statement runs at a time, and only one planner.
_SORTED_IN = "32MB"

_ENROLL = "enroll"
_AUDIENCE = "audience"

_FORGET_FUNNEL = plan_funnels.delete().where(plan_funnels.c.campaign == bindparam("of"))
_KEEP_FUNNEL = insert(plan_funnels)


@dataclass
class CampaignPlan:
    """What one pass did with one campaign: the funnel from its audience to enrollments, then step by step."""

    campaign: str
    audience: int = 0
    already: int = 0  # of the audience, in the campaign for this occasion before
    turned_away: dict[str, int] = field(default_factory=dict)  # by rule
    enrolled: int = 0
    steps: list[StepPlan] = field(default_factory=list)
    removed: int = 0  # left because their next step is gone from the file
    thorough: bool = True  # everybody was asked; else `audience` and what follows count those who have just done something
    paused: bool = False
    pause_reason: str | None = None
    error: str | None = None

    @property
    def changed(self) -> bool:
        """Say whether the pass wrote anything for this campaign."""
        return bool(self.enrolled or self.removed or any(step.due for step in self.steps))


@dataclass
class PlanResult:
    """What one pass did."""

    at: datetime
    campaigns: list[CampaignPlan] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # of segments and scores; a campaign's own is with it

    @property
    def enrolled(self) -> int:
        """Count the people who came into a campaign."""
        return sum(campaign.enrolled for campaign in self.campaigns)

    @property
    def planned(self) -> int:
        """Count the messages that will be sent."""
        return sum(step.planned for step in self._steps())

    @property
    def skipped(self) -> int:
        """Count the messages that a rule stopped."""
        return sum(step.skipped.total() for step in self._steps())

    @property
    def held_out(self) -> int:
        """Count the virtual messages of the holdouts."""
        return sum(step.held_out for step in self._steps())

    def _steps(self) -> Iterator[StepPlan]:
        return (step for campaign in self.campaigns for step in campaign.steps)


def plan(
    connection: Connection,
    project: Project,
    now: datetime,
    *,
    campaigns: Collection[str] | None = None,
    worker: str = "plan",
    thorough: bool = True,
) -> PlanResult:
    """Enroll and plan for all live campaigns, or only those named, within the connection's transaction.

    A campaign that fails changes nothing and carries its error; the others go on. A pass that is not `thorough`, made between two
    that are, plans the steps that are due, and enrolls those whom something lets in that they have just done. Who sleeps, has a
    birthday or entered a segment is left to the next thorough one, and so is what arrives late. A campaign that is new, or whose
    file has changed, is always asked thoroughly.
    """
    exclusive(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL work_mem = '{_SORTED_IN}'"))
    look_over(connection, (customers, orders, order_lines, events, enrollments, messages))
    names = [name for name in project.campaigns if campaigns is None or name in campaigns]
    errors = keep_up(connection, project, now, segments=thorough)
    progress.forget(connection, [name for name, campaign in project.campaigns.items() if campaign.enabled])
    with own_tables(connection):
        return PlanResult(now, plan_in_order(connection, project, now, names, worker=worker, thorough=thorough), errors)


def plan_in_order(
    connection: Connection, project: Project, now: datetime, names: Sequence[str], *, worker: str, thorough: bool = True
) -> list[CampaignPlan]:
    """Plan campaigns one after the other; `candidates` holds the last one's audience afterwards."""
    outcomes = []
    for campaign in (project.campaigns[name] for name in names):
        if not campaign.enabled:
            continue
        try:
            with connection.begin_nested():
                outcomes.append(_plan_campaign(connection, project, campaign, now, worker, thorough=thorough))
        except Exception as error:  # whatever one campaign provokes, the others go on
            outcomes.append(CampaignPlan(campaign.name, error=_first_line(error)))
    return outcomes


def keep_up(connection: Connection, project: Project, now: datetime, *, segments: bool = True) -> list[str]:
    """Bring what is computed of all customers, and (unless told otherwise) segments that campaigns begin with, up to now.

    Return what failed.
    What failed stays as it was at the pass before. Conditions that name a segment ask its definition, so who has entered the
    others need not be known, and to look at every customer for each of them would be most of a pass.
    """
    context = audience_context(project, now)
    errors = []
    parts: dict[str, Callable[[], None]] = {"rhythm": lambda: update_rhythm(connection, now, context.shop_zone)}
    # To look at all buyers takes a while; most shops do not ask for it.
    asked = set().union(*(fields_in(expression) for expression in project.expressions()))
    if PREDICTED_FIELDS & asked:
        within = project.settings.predictions.within
        parts["predictions"] = lambda: update_predictions(connection, within, now, context.shop_zone)
    if STANDING_FIELDS & asked:
        parts["standings"] = lambda: update_standings(connection, context.standing, now, context.shop_zone)
    parts["scores"] = lambda: update_scores(connection, project.scores, context)
    if segments:
        parts["segments"] = lambda: update_segments(connection, _watched(project), context)
    for what, update_all in parts.items():
        try:
            with connection.begin_nested():
                update_all()
        except Exception as error:  # likewise
            errors.append(f"{what} could not be kept up: {_first_line(error)}")
    return errors


def _watched(project: Project) -> dict[str, Segment]:
    """Return the segments that people come into a campaign by entering or leaving."""
    found: dict[str, Segment] = {}
    for campaign in project.campaigns.values():
        if campaign.enabled:
            found |= campaign.audience.watched(project.segments)
    return found


def _plan_campaign(
    connection: Connection, project: Project, campaign: Campaign, now: datetime, worker: str, *, thorough: bool
) -> CampaignPlan:
    state = progress.begin(connection, campaign, now)
    done = CampaignPlan(campaign.name, thorough=thorough or not progress.is_planned(state, campaign))
    if state.paused_at is not None:
        done.paused, done.pause_reason = True, state.pause_reason
        return done
    if done.thorough or campaign.audience.at_once:
        _let_in(connection, project, campaign, now, progress.back_from(state, now, thorough=done.thorough), done)
    if not progress.is_planned(state, campaign):
        done.removed = leave_removed_steps(connection, campaign)
    done.steps = plan_steps(connection, project, campaign, now, worker)
    progress.finish(connection, campaign, now)
    if done.thorough and (done.changed or (campaign.audience.at_once and done.audience)):
        # Whom something lets in at once came in on a pass in between; that one asked but a few, and its funnel says little.
        _keep_funnel(connection, done, now)
    return done


def _let_in(
    connection: Connection, project: Project, campaign: Campaign, now: datetime, since: datetime, done: CampaignPlan
) -> None:
    done.audience = candidates.gather(connection, project, campaign, now, since, few=not done.thorough)
    if not done.audience:
        return
    counts = candidates.funnel(connection)
    coming = counts.pop("", 0)
    done.already = counts.pop(ALREADY, 0)
    done.turned_away = counts
    if coming:
        done.enrolled = enroll(connection, project, campaign, now)


def _keep_funnel(connection: Connection, done: CampaignPlan, now: datetime) -> None:
    rows = [(_ENROLL, _AUDIENCE, done.audience), (_ENROLL, ALREADY, done.already), (_ENROLL, "enrolled", done.enrolled)]
    rows += [(_ENROLL, rule, count) for rule, count in done.turned_away.items()]
    for step in done.steps:
        if step.due:
            rows += [(step.step, "due", step.due), (step.step, "planned", step.planned), (step.step, "held_out", step.held_out)]
            rows += [(step.step, "deferred", step.deferred), (step.step, "exited", step.exited)]
            rows += [(step.step, reason, count) for reason, count in step.skipped.items()]
    # Only the last one is ever asked for; a pass a minute would fill the table.
    connection.execute(_FORGET_FUNNEL, {"of": done.campaign})
    connection.execute(
        _KEEP_FUNNEL,
        [
            {"campaign": done.campaign, "at": now, "stage": stage, "rule": rule, "count": count}
            for stage, rule, count in rows
            if count
        ],
    )


def _first_line(error: Exception) -> str:
    """Return an error's first line; the rest of a database's error quotes rows, which may hold personal data."""
    if isinstance(error, SQLAlchemyError):
        return f"{type(error).__name__}: {str(getattr(error, 'orig', error)).splitlines()[0][:300]}"
    return str(error) if isinstance(error, WinbackError) else type(error).__name__
