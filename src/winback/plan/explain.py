"""Why somebody gets a campaign's messages, or why not: every rule, asked for one person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal, select

from winback.audience import compile_condition, compile_fields, select_audience
from winback.audience.presets import AfterEvent, AfterOrder, EnteredSegment, Milestone, ReachedScore, Replenish
from winback.durations import format_duration
from winback.errors import InputError
from winback.plan import progress
from winback.plan.preview import find_campaign
from winback.plan.variants import WHOLE, Lottery, arm, held_out
from winback.policy import Ask, RuleName, Stage, audience_context, cooldown_of, predicates
from winback.project import Campaign, Project
from winback.store import AnyRow, Channel, UtcDateTime, customers, enrollments, messages, suppressions

#: Audiences of people to whom something happened; what happened before the campaign was live does not count.
_HAPPENED = (AfterOrder, AfterEvent, ReachedScore, EnteredSegment, Milestone, Replenish)


@dataclass(frozen=True)
class Check:
    """One question asked about a person: the rule's name, the answer, what a no means, and the values looked at."""

    rule: str
    passed: bool
    reason: str
    values: dict[str, Any]


@dataclass(frozen=True)
class StepNote:
    """What became of one step of an enrollment."""

    step: str
    state: str
    reason: str | None
    channel: str
    due_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True)
class EnrollmentNote:
    """One time the person was in the campaign."""

    occasion: str
    state: str
    exit_reason: str | None
    held_out: bool
    variant: str
    enrolled_at: datetime
    next_step: str | None
    due_at: datetime | None
    waiting: str | None
    steps: tuple[StepNote, ...]


@dataclass(frozen=True)
class Explanation:
    """Whether a campaign would take a customer in now, rule by rule, and what it has sent them before."""

    campaign: str
    customer: str
    at: datetime
    chosen: bool
    held_out: bool
    variant: str
    checks: tuple[Check, ...]
    enrollments: tuple[EnrollmentNote, ...]

    @property
    def first_failure(self) -> Check | None:
        """Return the first rule that says no."""
        return next((check for check in self.checks if not check.passed), None)


def explain(connection: Connection, project: Project, campaign_name: str, customer: str, now: datetime) -> Explanation:
    """Ask every rule of a campaign about one customer. Raise InputError when either is unknown."""
    campaign = find_campaign(project, campaign_name)
    person = connection.execute(select(customers).where(customers.c.external_id == customer)).one_or_none()
    if person is None:
        raise InputError(f"there is no customer {customer!r}", "customers are named by the id of your own system, as imported")
    key = project.key("holdout")
    drawn = connection.execute(
        select(held_out(campaign, key, customers.c.id), arm(campaign, key, customers.c.id)).where(customers.c.id == person.id)
    ).one()
    found, checks = _audience_checks(connection, project, campaign, person, now)
    checks += _rule_checks(connection, project, campaign, person, now, found)
    share = campaign.measure.holdout
    if share:
        number = Lottery.of(key, "holdout", campaign.name).draw(person.id)
        checks.append(
            Check(
                "holdout",
                not drawn[0],
                "left alone, to measure what the campaign causes",
                {"draw": number, "held out below": share, "of": WHOLE},
            )
        )
    return Explanation(
        campaign=campaign.name,
        customer=customer,
        at=now,
        chosen=all(check.passed for check in checks),
        held_out=drawn[0],
        variant=drawn[1],
        checks=tuple(checks),
        enrollments=_enrollments(connection, campaign, person.id),
    )


def _audience_checks(
    connection: Connection, project: Project, campaign: Campaign, person: AnyRow, now: datetime
) -> tuple[AnyRow | None, list[Check]]:
    """Ask the preset and the `where` apart, so that the answer says which of the two it was.

    Return the occasion too that the rules are to be asked about: the newest for which the person is not in the campaign already.
    """
    since = progress.looks_back_to(connection, campaign, now)
    context = audience_context(project, now, since=since)
    preset = select_audience(campaign.audience.model_copy(update={"where": None}), context).subquery("preset")
    own = preset.c.customer_id == person.id
    rows = connection.execute(select(preset).where(own).order_by(preset.c.ripe_at.desc(), preset.c.occasion)).all()
    facts = {
        "orders": person.order_count,
        "last order": person.last_order_at,
        "days between orders": person.median_gap_days,
        "birthday": _birthday(person),
        "looked back to": since if isinstance(campaign.audience, _HAPPENED) else None,
    }
    values = {name: value for name, value in facts.items() if value is not None}
    values["occasion"] = ", ".join(row.occasion for row in rows) or None
    checks = [
        Check("audience", bool(rows), f"is not in the {campaign.audience.preset} audience at this moment", values),
    ]
    if campaign.audience.where is not None:
        holds = compile_condition(campaign.audience.where, context, scope="customer", customer=customers)
        named = compile_fields(campaign.audience.where, context, customer=customers)
        passed, *found = connection.execute(select(holds, *named.values()).where(customers.c.id == person.id)).one()
        looked_at = dict(zip(named, ("unknown" if value is None else value for value in found), strict=True))
        checks.append(
            Check("where", bool(passed), "does not meet the campaign's where", {"where": campaign.audience.where, **looked_at})
        )
    if not rows:
        return None, checks
    again = set(
        connection.scalars(
            select(enrollments.c.occasion).where(
                enrollments.c.campaign == campaign.name,
                enrollments.c.customer_id == person.id,
                enrollments.c.occasion.in_([row.occasion for row in rows]),
            )
        )
    )
    fresh = [row for row in rows if row.occasion not in again]
    checks.append(Check("already", bool(fresh), "is in the campaign for this occasion already", {}))
    return (fresh or rows)[0], checks


def _rule_checks(
    connection: Connection, project: Project, campaign: Campaign, person: AnyRow, now: datetime, occasion: AnyRow | None
) -> list[Check]:
    """Ask the rules for coming in, on the first step's channel; where it has a fallback channel that works, say so."""
    step = campaign.steps[0]
    paused = progress.paused(connection, campaign)
    ask = Ask(
        project=project,
        campaign=campaign,
        stage=Stage.ENROLL,
        context=audience_context(project, now),
        step=step,
        channel=step.channel,
        customer=customers,
        ripe_at=None if occasion is None else literal(occasion.ripe_at, UtcDateTime()),
        paused=paused is not None,
    )
    checks = [_with_pause(check, paused) for check in _ask(connection, ask, person)]
    if step.fallback is None or _first(checks) not in step.fallback.on:
        return checks
    other = [_with_pause(check, paused) for check in _ask(connection, replace(ask, channel=step.fallback.channel), person)]
    if _first(other) in step.fallback.on:
        return checks
    # As `with_fallback` does for the planner: from here on the other channel's answers count.
    own = {check.rule: check for check in checks}
    return [_instead(own.get(check.rule), check, step.fallback.channel) for check in other]


def _first(checks: list[Check]) -> str | None:
    return next((check.rule for check in checks if not check.passed), None)


def _instead(own: Check | None, other: Check, channel: Channel) -> Check:
    """Return a rule's answer on the other channel, with what was looked at on the step's own where only that one fails."""
    if other.passed and own is not None:
        return own if own.passed else replace(own, passed=True, values={**own.values, "instead": f"by {channel}"})
    return other


def _ask(connection: Connection, ask: Ask, person: AnyRow) -> list[Check]:
    asked = predicates(ask)
    answers = connection.execute(select(*(predicate for _, predicate in asked)).where(customers.c.id == person.id)).one()
    values = _values(connection, ask, person)
    return [
        Check(rule.name.value, bool(answer), rule.reason, values.get(rule.name.value, {}))
        for (rule, _), answer in zip(asked, answers, strict=True)
    ]


def _values(connection: Connection, ask: Ask, person: AnyRow) -> dict[str, dict[str, Any]]:
    """Return what each rule looked at, in words."""
    consent = getattr(person, f"{ask.channel.value}_{ask.campaign.purpose.value}")
    said = {True: "yes", False: "no", None: "never asked"}[consent]
    address = person.email if ask.channel is Channel.EMAIL else person.phone
    values: dict[str, dict[str, Any]] = {
        "live": {"enabled": ask.campaign.enabled, "paused": ask.paused},
        "no_consent": {"channel": ask.channel.value, "purpose": ask.campaign.purpose.value, "consent": said},
        "no_address": {ask.channel.value: address},
        "erased": {"erased": person.erased_at},
    }
    blocked = connection.execute(
        select(suppressions.c.reason, suppressions.c.at).where(
            suppressions.c.channel == ask.channel.value,
            suppressions.c.address_hash == (person.email_hash if ask.channel is Channel.EMAIL else person.phone_hash),
        )
    ).one_or_none()
    if blocked is not None:
        values["suppressed"] = {"because": blocked.reason.replace("_", " "), "since": blocked.at}
    cooldown = cooldown_of(ask.campaign)
    if cooldown is not None:
        own = (enrollments.c.campaign == ask.campaign.name, enrollments.c.customer_id == person.id)
        last = connection.scalar(select(func.max(enrollments.c.enrolled_at, type_=UtcDateTime())).where(*own))
        values["cooldown"] = {"not again within": format_duration(cooldown), "was in it last": last}
    rest = ask.project.settings.limits.mute_detractors
    if rest is not None:
        nps = compile_fields("nps <= 6", ask.context, customer=customers)["nps"]
        answer = connection.scalar(select(nps).where(customers.c.id == person.id))
        values["detractor"] = {"newest answer": answer, "marketing rests for": format_duration(rest)}
    return values


def _with_pause(check: Check, paused: str | None) -> Check:
    """Say in the rule about the campaign why it is paused."""
    return replace(check, values={**check.values, "why": paused}) if check.rule == RuleName.LIVE and paused else check


def _birthday(person: AnyRow) -> str | None:
    if person.birth_month is None:
        return None
    year = f"{person.birth_year:04d}-" if person.birth_year else "--"
    return f"{year}{person.birth_month:02d}-{person.birth_day:02d}"


def _enrollments(connection: Connection, campaign: Campaign, customer_id: int) -> tuple[EnrollmentNote, ...]:
    rows = connection.execute(
        select(enrollments)
        .where(enrollments.c.campaign == campaign.name, enrollments.c.customer_id == customer_id)
        .order_by(enrollments.c.enrolled_at.desc())
    ).all()
    notes: dict[int, list[StepNote]] = {row.id: [] for row in rows}
    for row in connection.execute(
        select(messages).where(messages.c.enrollment_id.in_(notes)).order_by(messages.c.due_at, messages.c.step)
    ):
        notes[row.enrollment_id].append(StepNote(row.step, row.state, row.reason, row.channel, row.next_attempt_at, row.sent_at))
    return tuple(
        EnrollmentNote(
            occasion=row.occasion,
            state=row.state,
            exit_reason=row.exit_reason,
            held_out=row.held_out,
            variant=row.variant,
            enrolled_at=row.enrolled_at,
            next_step=row.step,
            due_at=row.due_at,
            waiting=row.waiting,
            steps=tuple(notes[row.id]),
        )
        for row in rows
    )
