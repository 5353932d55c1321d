"""Who may be written to: one ordered tuple of rules, each a name, a reason and one SQL predicate.

Planning counts the funnel with them, `explain` prints them for one person, dispatch asks them again for what it has claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, String, and_, case, exists, false, literal, null, or_, true
from sqlalchemy.sql.expression import FromClause

from winback.audience import AudienceContext, Clock, compile_condition, is_detractor, unanswered_for
from winback.policy.caps import within_caps
from winback.policy.countries import open_country
from winback.policy.quiet_hours import awake
from winback.project import Campaign, Project, Step
from winback.project.staging import AllowList
from winback.store import (
    Channel,
    EnrollmentState,
    MessageState,
    Purpose,
    enrollments,
    messages,
    plus_seconds,
    suppressions,
)

#: Yearly dates come at least this far apart, whatever 29 February does.
YEARLY_COOLDOWN = timedelta(days=300)


class Stage(StrEnum):
    """When a rule is asked."""

    ENROLL = "enroll"  # a person comes into a campaign
    PLAN = "plan"  # a step's message is written into the ledger
    DISPATCH = "dispatch"  # a message was claimed and is about to go


class RuleName(StrEnum):
    """Why somebody gets nothing: the words of funnels, reasons and reports."""

    LIVE = "live"  # the campaign is off, withdrawn or paused
    ERASED = "erased"  # the person asked to be forgotten
    SUPPRESSED = "suppressed"  # the address bounced, complained or was put on the list
    NO_CONSENT = "no_consent"  # no consent for this channel and purpose
    NO_ADDRESS = "no_address"  # no address on this channel
    NOT_ALLOWED = "not_allowed"  # the shop is tried out, and this address is not among those it may write to
    EXIT = "exit"  # the campaign's exit condition is met
    COOLDOWN = "cooldown"  # was in this campaign too recently
    MUTED = "muted"  # came into a campaign that mutes this one, too recently
    SUNSET = "sunset"  # has not answered anything for so long that marketing stops
    DETRACTOR = "detractor"  # was dissatisfied when asked, too recently
    ONLY_IF = "only_if"  # the step's own condition is not met
    CAPPED = "capped"  # too many messages in a short time
    REPLACED = "replaced"  # the same, and meanwhile there is a newer message of the campaign
    QUIET_HOURS = "quiet_hours"  # it is night where the person lives
    COUNTRY = "country"  # the person's country keeps this time free of marketing
    LATE = "late"  # the time for it has passed


@dataclass(frozen=True)
class Ask:
    """What the rules are asked about: rows of a query that joins the customer and, once enrolled, the enrollment."""

    project: Project
    campaign: Campaign
    stage: Stage
    context: AudienceContext  # what expressions are compiled with
    step: Step
    channel: Channel
    customer: FromClause
    enrollment: FromClause | None = None
    ripe_at: ColumnElement[datetime] | None = None  # while enrolling: by when the occasion lets the person in
    at: ColumnElement[datetime] | None = None  # when the message is to go
    valid_until: ColumnElement[datetime] | None = None
    message_id: ColumnElement[str] | None = None
    paused: bool = False


@dataclass(frozen=True)
class Rule:
    """One reason to write to nobody who fails `passes`; it is not asked where `passes` answers None."""

    name: RuleName
    reason: str
    stages: frozenset[Stage]
    passes: Callable[[Ask], ColumnElement[bool] | None]


def audience_context(project: Project, now: datetime, *, since: datetime | None = None) -> AudienceContext:
    """Return the context in which a shop's expressions and audiences are compiled; enrolling looks one day ahead."""
    return AudienceContext(
        Clock(now, now if since is None else since, until=now + timedelta(days=1)),
        shop_zone=project.settings.shop.zone,
        shop_region=project.settings.shop.region,
        standing=project.settings.rfm.standing,
        segments=project.segments,
        scores=project.scores,
    )


def _live(ask: Ask) -> ColumnElement[bool]:
    return true() if ask.campaign.enabled and not ask.paused else false()


def _not_erased(ask: Ask) -> ColumnElement[bool]:
    return ask.customer.c.erased_at.is_(None)


def _not_suppressed(ask: Ask) -> ColumnElement[bool]:
    address_hash = ask.customer.c.email_hash if ask.channel is Channel.EMAIL else ask.customer.c.phone_hash
    return ~exists().where(suppressions.c.channel == ask.channel.value, suppressions.c.address_hash == address_hash)


def _consented(ask: Ask) -> ColumnElement[bool]:
    column: ColumnElement[bool | None] = ask.customer.c[f"{ask.channel.value}_{ask.campaign.purpose.value}"]
    # Marketing needs a yes; a service message only an absent no.
    return column.is_(True) if ask.campaign.purpose is Purpose.MARKETING else column.is_distinct_from(False)


def _reachable(ask: Ask) -> ColumnElement[bool]:
    return (ask.customer.c.email if ask.channel is Channel.EMAIL else ask.customer.c.phone).is_not(None)


def _allowed(ask: Ask) -> ColumnElement[bool] | None:
    staging = ask.project.staging
    if staging is None or staging.redirect(ask.channel) is not None:
        return None
    address = ask.customer.c.email if ask.channel is Channel.EMAIL else ask.customer.c.phone
    return and_(*(_on(each, ask.channel, address) for each in staging.lists)) if staging.lists else false()


def _on(allowed: AllowList, channel: Channel, address: ColumnElement[str | None]) -> ColumnElement[bool]:
    if channel is Channel.SMS:
        return address.in_(sorted(allowed.phones))
    at_domain = (address.endswith(f"@{domain}", autoescape=True) for domain in sorted(allowed.domains))
    return or_(address.in_(sorted(allowed.emails)), *at_domain)


def _not_exited(ask: Ask) -> ColumnElement[bool] | None:
    if ask.campaign.exit.when is None or ask.enrollment is None:
        return None
    return ~compile_condition(
        ask.campaign.exit.when, ask.context, scope="enrollment", customer=ask.customer, enrollment=ask.enrollment
    )


def cooldown_of(campaign: Campaign) -> timedelta | None:
    """Return how long nobody comes in again; a yearly date that is corrected after the greeting starts nothing in that year."""
    if campaign.limits.cooldown is None and campaign.audience.preset == "birthday":
        return YEARLY_COOLDOWN
    return campaign.limits.cooldown


#: The enrollments before. Made once: it takes as long as all the rest of the rule.
_EARLIER = enrollments.alias("earlier")


def _cooled_down(ask: Ask) -> ColumnElement[bool] | None:
    """Ask whether the person was in the campaign within the cooldown before the occasion, or before now if that is sooner.

    Passes look back some days, for what arrives late. Counted from now, the cooldown would be over one day for an order that it
    turned away on the days before, and the person come in for that order after all.
    """
    cooldown = cooldown_of(ask.campaign)
    if cooldown is None:
        return None
    earlier = _EARLIER
    now = ask.context.now
    comes = now if ask.ripe_at is None else case((ask.ripe_at < now, ask.ripe_at), else_=now)
    return ~exists().where(
        earlier.c.campaign == ask.campaign.name,
        earlier.c.customer_id == ask.customer.c.id,
        earlier.c.enrolled_at > plus_seconds(comes, literal(-cooldown.total_seconds())),
        ~_came_to_nothing(earlier),
    )


def _came_to_nothing(enrollment: FromClause) -> ColumnElement[bool]:
    """Ask whether an enrollment is over and all its messages were skipped as late: who got nothing has nothing to rest from."""
    of_it = messages.c.enrollment_id == enrollment.c.id
    other = or_(messages.c.state != MessageState.SKIPPED, messages.c.reason.is_distinct_from(RuleName.LATE.value))
    return and_(enrollment.c.state != EnrollmentState.ACTIVE, exists().where(of_it), ~exists().where(of_it, other))


def _not_muted(ask: Ask) -> ColumnElement[bool] | None:
    """Ask whether the person came into a campaign that mutes this one, its holdout included: both halves stay comparable."""
    if not ask.campaign.limits.muted_by:
        return None
    other = enrollments.alias()
    recent = (
        and_(other.c.campaign == name, other.c.enrolled_at > ask.context.ago(time))
        for name, time in sorted(ask.campaign.limits.muted_by.items())
    )
    return ~exists().where(other.c.customer_id == ask.customer.c.id, or_(*recent))


def _answers(ask: Ask) -> ColumnElement[bool] | None:
    """Ask whether the person has given a sign of life since the shop's marketing began to go unanswered."""
    sunset = ask.project.settings.limits.sunset
    if sunset is None or ask.campaign.purpose is not Purpose.MARKETING:
        return None
    return ~unanswered_for(ask.context, ask.customer, count=sunset.count, days=sunset.window.days)


def _is_satisfied(ask: Ask) -> ColumnElement[bool] | None:
    """Ask whether the person would not advise others against the shop, or has not said so lately."""
    rest = ask.project.settings.limits.mute_detractors
    if rest is None or ask.campaign.purpose is not Purpose.MARKETING:
        return None
    return ~is_detractor(ask.context, ask.customer, rest)


def _only_if(ask: Ask) -> ColumnElement[bool] | None:
    if ask.step.only_if is None or ask.enrollment is None:
        return None
    return compile_condition(ask.step.only_if, ask.context, scope="enrollment", customer=ask.customer, enrollment=ask.enrollment)


def _in_time(ask: Ask) -> ColumnElement[bool] | None:
    if ask.valid_until is None:
        return None
    return ask.valid_until >= ask.context.now


_ALWAYS = frozenset(Stage)
_ENROLLED = frozenset({Stage.PLAN, Stage.DISPATCH})

#: The rules, in the order in which they are asked; the first that fails is the reason that is stored and counted.
RULES: tuple[Rule, ...] = (
    Rule(RuleName.LIVE, "the campaign is switched off or paused", _ALWAYS, _live),
    Rule(RuleName.ERASED, "asked to be forgotten", _ALWAYS, _not_erased),
    Rule(RuleName.SUPPRESSED, "the address bounced, complained or is blocked", _ALWAYS, _not_suppressed),
    Rule(RuleName.NO_CONSENT, "did not consent to this channel and purpose", _ALWAYS, _consented),
    Rule(RuleName.NO_ADDRESS, "has no address on this channel", _ALWAYS, _reachable),
    Rule(RuleName.NOT_ALLOWED, "is not among those whom this shop may write to while it is tried out", _ALWAYS, _allowed),
    Rule(RuleName.EXIT, "the campaign's exit condition is met", _ENROLLED, _not_exited),
    Rule(RuleName.COOLDOWN, "was in this campaign too recently", frozenset({Stage.ENROLL}), _cooled_down),
    Rule(RuleName.MUTED, "came into a campaign that mutes this one", _ALWAYS, _not_muted),
    Rule(RuleName.SUNSET, "has answered nothing for so long that marketing stops", _ALWAYS, _answers),
    Rule(RuleName.DETRACTOR, "was dissatisfied when asked, so marketing rests for a while", _ALWAYS, _is_satisfied),
    Rule(RuleName.ONLY_IF, "did not need this step (its only_if)", _ENROLLED, _only_if),
    Rule(RuleName.LATE, "the time for it has passed", _ENROLLED, _in_time),
    Rule(RuleName.CAPPED, "would get too many messages in a short time", _ENROLLED, within_caps),
    Rule(RuleName.QUIET_HOURS, "it is night where the person lives", frozenset({Stage.DISPATCH}), awake),
    Rule(RuleName.COUNTRY, "the person's country keeps this time free of marketing", frozenset({Stage.DISPATCH}), open_country),
)

REASONS: dict[str, str] = {
    **{rule.name.value: rule.reason for rule in RULES},
    RuleName.REPLACED.value: "had to wait, and a newer message of the campaign took its place",
}


def predicates(ask: Ask) -> list[tuple[Rule, ColumnElement[bool]]]:
    """Return the rules that apply to `ask`, each with its SQL predicate (true = may be written to)."""
    asked = ((rule, rule.passes(ask)) for rule in RULES if ask.stage in rule.stages)
    return [(rule, predicate) for rule, predicate in asked if predicate is not None]


def first_failure(ask: Ask) -> ColumnElement[str | None]:
    """Return SQL for the name of the first rule a row fails, NULL when it passes all."""
    asked = predicates(ask)
    return case(*((~predicate, literal(rule.name.value, String())) for rule, predicate in asked), else_=null())


def with_fallback(ask: Ask, failure: ColumnElement[str | None]) -> tuple[ColumnElement[str | None], ColumnElement[str]]:
    """Return SQL for the first failing rule and the channel to use, the step's fallback channel considered.

    Somebody whom the step's own channel cannot reach for one of the fallback's reasons is asked again on the fallback's channel.
    """
    fallback = ask.step.fallback
    reasons: Sequence[str] = [reason for reason in fallback.on if reason in REASONS] if fallback else ()
    if fallback is None or not reasons:
        return failure, literal(ask.channel.value, String())
    other = first_failure(replace(ask, channel=fallback.channel))
    falls_back = and_(failure.in_(reasons), or_(other.is_(None), other.not_in(reasons)))
    return case((falls_back, other), else_=failure), case(
        (falls_back, literal(fallback.channel.value, String())), else_=literal(ask.channel.value, String())
    )


__all__ = [
    "REASONS",
    "RULES",
    "Ask",
    "Rule",
    "RuleName",
    "Stage",
    "audience_context",
    "cooldown_of",
    "first_failure",
    "predicates",
    "with_fallback",
]
