"""Is all well? Each thing that can be wrong is looked at by one function, and says what it is and what to do."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, exists, func, or_, select

from winback.errors import InputError
from winback.installation import look as look_at_fence
from winback.installation import places_of
from winback.policy import BY_A_PERSON
from winback.project import Project
from winback.scheduler import leases, standing
from winback.scheduler.storage import Hindrance, hindrance, nearest
from winback.store import (
    Channel,
    MessageState,
    Purpose,
    campaign_states,
    customers,
    gateway_states,
    import_runs,
    messages,
    passes,
    receipts,
)

#: A daemon makes a pass every hour at least; where none runs, somebody calls `winback run`. Less often than this is never.
_RARE = timedelta(hours=2)

#: A pass that goes on for so long is worth a look.
_LONG = timedelta(minutes=30)

#: Messages go within a minute; those that are late by this have a reason.
_OVERDUE = timedelta(minutes=15)

#: What went wrong is reported this long; after that people have seen it.
_RECENT = timedelta(days=7)

#: From so many failures in a day, and such a share, something is wrong that is not one bad address.
_FAILURES, _FAILURE_SHARE = 5, 0.05

#: Letters come back within some days; so many of the newest are looked at.
_BLOCKED_WITHIN, _NEWEST_RECEIPTS = timedelta(days=3), 1_000

#: Such a share of rejected rows is no slip in a few of them.
_REJECT_SHARE = 0.01

#: When more people than this are born on 1 January, the day is what a form or a program filled in. One in 365 really is.
_NEW_YEAR, _NEW_YEAR_SHARE = 20, 0.03

#: Free space, in bytes, below which a database may soon not be written any more.
_LITTLE_SPACE = 500_000_000

#: Kinds of gateways that let nothing out of the house.
_KEPT_INSIDE = frozenset({"outbox", "console"})

_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class HealthItem:
    """One thing that was looked at: what there is to say, and where it is not well what to do."""

    name: str
    ok: bool
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class _Look:
    """What every check works with."""

    connection: Connection
    project: Project
    now: datetime

    @cached_property
    def hindrance(self) -> Hindrance | None:
        """Return why nothing can be written at present, if so."""
        return hindrance(self.connection, self.project)

    def clock(self, at: datetime | None) -> str:
        """Return a moment as people say it, in the shop's zone."""
        if at is None:
            return "never"
        zone = ZoneInfo(self.project.settings.shop.zone)
        there, here = at.astimezone(zone), self.now.astimezone(zone)
        return f"{there:%H:%M}" if there.date() == here.date() else f"{there:%a %Y-%m-%d %H:%M}"


def health(connection: Connection, project: Project, now: datetime) -> list[HealthItem]:
    """Look at everything that can be wrong with a running shop, and say of each whether it is."""
    look = _Look(connection, project, now)
    return [item for check in CHECKS for item in check(look)]


def _installation(look: _Look) -> Iterator[HealthItem]:
    # In a transaction of its own: what this one sees may be of before a pass that has just sent.
    engine = look.connection.engine
    refusal = look_at_fence(engine, look.project)
    if refusal is not None:
        yield HealthItem("installation", False, refusal.message, refusal.remedy)
        return
    places = places_of(engine)
    if len(places) > 1:
        yield HealthItem("installation", True, f"{len(places)} folders send from this database; winback adopt lists them")
    elif places:
        yield HealthItem("installation", True, "this folder sends, and copies of it do not")


def _database(look: _Look) -> Iterator[HealthItem]:
    found = look.hindrance
    if found is not None and not found.busy:
        yield HealthItem("database", False, found.message, found.remedy)


def _staging(look: _Look) -> Iterator[HealthItem]:
    if look.project.unclear:
        remedy = "correct [deliver] in config.toml: winback check"
        yield HealthItem("staging", False, f"{look.project.unclear}; nothing is sent until then", remedy)
    elif look.project.staging is not None:
        yield HealthItem("staging", True, f"the shop is tried out: {look.project.staging}")


def _scheduler(look: _Look) -> Iterator[HealthItem]:
    last = look.connection.execute(select(passes).order_by(passes.c.id.desc()).limit(1)).one_or_none()
    lease = leases.look_up(look.connection, leases.PLANNING)
    start = "start it: winback daemon; as a service: systemctl status winback says why it ended"
    if lease is not None and not lease.is_alive(look.now):
        heard = f"it was last heard of at {look.clock(lease.renewed_at)}"
        if look.hindrance is not None:
            message = f"the daemon {lease.holder} cannot say that it runs; {heard}: {look.hindrance.message}"
            yield HealthItem("scheduler", False, message, f"{look.hindrance.remedy}; the daemon goes on by itself")
        else:
            yield HealthItem("scheduler", False, f"the daemon {lease.holder} stopped or hangs; {heard}", start)
    elif last is None:
        yield HealthItem("scheduler", False, "nothing has run yet", "winback daemon runs the campaigns from now on")
    elif not -_RARE < look.now - last.started_at < _RARE:
        ahead = " (still to come: a wrong clock, or winback run --now)" if last.started_at > look.now else ""
        remedy = "start the daemon: winback daemon; or call winback run often"
        yield HealthItem("scheduler", False, f"the last pass was at {look.clock(last.started_at)}{ahead}", remedy)
    elif last.finished_at is None and look.now - last.started_at > _LONG:
        remedy = "see the log of the daemon; if it hangs, stop and start it: what was in hand is settled then"
        yield HealthItem("scheduler", False, f"the pass that began at {look.clock(last.started_at)} has not ended", remedy)
    else:
        leader = f"the daemon {lease.holder} plans" if lease is not None else "no daemon runs"
        yield HealthItem("scheduler", True, f"the last pass was at {look.clock(last.started_at)}; {leader}")


def _last_errors(look: _Look) -> Iterator[HealthItem]:
    last = look.connection.execute(
        select(passes.c.started_at, passes.c.error).where(passes.c.finished_at.is_not(None)).order_by(passes.c.id.desc()).limit(1)
    ).one_or_none()
    for error in (last.error or "").splitlines() if last else ():
        if error.startswith("mailbox: "):
            continue  # told with the mailbox, also while it is not its turn
        campaign = error.removeprefix("campaign ").partition(":")[0] if error.startswith("campaign ") else ""
        remedy = f"winback preview {campaign} shows it; the others go on" if campaign else "winback doctor looks closer"
        yield HealthItem("pass", False, error, remedy)


def _campaigns(look: _Look) -> Iterator[HealthItem]:
    rows = look.connection.execute(
        select(campaign_states.c.name, campaign_states.c.paused_at, campaign_states.c.pause_reason)
        .where(campaign_states.c.paused_at.is_not(None))
        .order_by(campaign_states.c.name)
    )
    for row in rows:
        if row.name in look.project.campaigns:
            reason = row.pause_reason or BY_A_PERSON
            message = f"the campaign {row.name} is paused since {look.clock(row.paused_at)}, {reason}, until somebody resumes it"
            remedy = f"winback resume {row.name}; or on its page: {look.project.settings.web.public_url}/campaigns/{row.name}"
            yield HealthItem("campaign", reason.startswith(BY_A_PERSON), message, remedy)


def _gateways(look: _Look) -> Iterator[HealthItem]:
    for row in look.connection.execute(select(gateway_states).order_by(gateway_states.c.name)):
        if row.paused_until is None:
            message = f"the gateway {row.name} cannot be used: {row.reason}"
            yield HealthItem("gateway", False, message, "repair it in config.toml: winback check, winback doctor")
        elif row.paused_until <= look.now:
            yield HealthItem("gateway", True, f"the gateway {row.name} had trouble, and the next message tries it: {row.reason}")
        elif row.probed_at is not None:
            message = f"the gateway {row.name} is tried with one message since {look.clock(row.probed_at)}: {row.reason}"
            yield HealthItem("gateway", False, message, "the others wait, and follow when it gets through")
        else:
            message = f"the gateway {row.name} is left alone until {look.clock(row.paused_until)}: {row.reason}"
            remedy = "then one message tries it, and the others follow; winback doctor tries it now, without sending"
            yield HealthItem("gateway", False, message, remedy)


def _limits(look: _Look) -> Iterator[HealthItem]:
    from winback.dispatch import limits

    for limit in limits(look.connection, look.project, look.now):
        if limit.warmup or not limit.left:
            more = f"; more from {look.clock(limit.until)}" if limit.until else ""
            message = f"the gateway {limit.gateway} sends at most {limit}: {limit.used} used, {limit.left} left{more}"
            yield HealthItem("limit", True, message)


def _overdue(look: _Look) -> Iterator[HealthItem]:
    late = messages.c.next_attempt_at < look.now - _OVERDUE
    if look.connection.scalar(select(messages.c.id).where(messages.c.state == MessageState.PLANNED, late).limit(1)) is None:
        return
    grouped: dict[tuple[str, datetime | None], list[standing.Waiting]] = defaultdict(list)
    for each in standing.waiting(look.connection, look.project, look.now):
        if each.due and each.since < look.now - _OVERDUE:
            grouped[each.why, each.until].append(each)
    for (why, until), group in grouped.items():
        count = sum(each.count for each in group)
        cause = look.hindrance.message if why == standing.NEXT_PASS and look.hindrance is not None else why
        then = f"; looked at again at {look.clock(until)}" if until else ""
        since = look.clock(min(each.since for each in group))
        message = f"{_count(count, 'message')} due since {since} did not go: {cause}{then}"
        remedy = "start the daemon: winback daemon; or make a pass: winback run" if why == standing.NEXT_PASS else ""
        meant = why.startswith("the campaign is paused by a person") or f" {standing.AT_MOST} " in why
        yield HealthItem("overdue", meant, message, remedy)


def _claims(look: _Look) -> Iterator[HealthItem]:
    rows = look.connection.execute(
        select(messages.c.claimed_by, func.count(), func.min(messages.c.claimed_at, type_=messages.c.claimed_at.type))
        .where(messages.c.state == MessageState.SENDING, messages.c.claimed_at < look.now - _OVERDUE)
        .group_by(messages.c.claimed_by)
    )
    for worker, count, since in rows:
        message = f"{_count(count, 'message')} held by {worker} since {look.clock(since)} did not get on"
        remedy = "if it runs no more, the next pass on its machine settles them: winback run"
        yield HealthItem("sending", False, message, remedy)


def _uncertain(look: _Look) -> Iterator[HealthItem]:
    recent: dict[str, int] = defaultdict(int)
    for each in standing.uncertain(look.connection):
        if look.now - each.since < _RECENT:
            recent[each.campaign] += 1
    for campaign, count in sorted(recent.items()):
        message = f"{_count(count, 'message')} of {campaign} may have arrived or not: the answer never came"
        remedy = f"winback status lists them; to send them again: winback retry {campaign} --only uncertain"
        yield HealthItem("uncertain", False, message, remedy)


def _failures(look: _Look) -> Iterator[HealthItem]:
    since = look.now - timedelta(days=1)
    sent, failed = look.connection.execute(
        select(func.coalesce(func.sum(passes.c.sent), 0), func.coalesce(func.sum(passes.c.failed), 0)).where(
            passes.c.started_at >= since, passes.c.started_at <= look.now
        )
    ).one()
    if failed < _FAILURES or failed < _FAILURE_SHARE * (sent + failed):
        return
    names = look.connection.scalars(
        select(messages.c.campaign)
        .where(messages.c.state == MessageState.FAILED, messages.c.next_attempt_at >= since)
        .distinct()
        .order_by(messages.c.campaign)
    )
    campaign = next(iter(names), "CAMPAIGN")
    remedy = f"winback report shows why; when it is mended, send them again: winback retry {campaign} --only failed"
    yield HealthItem("failed", False, f"{failed} of {sent + failed} messages failed in the last 24 hours", remedy)


def _mailboxes(look: _Look) -> Iterator[HealthItem]:
    settings = look.project.settings.bounces
    if settings.maildir is None and settings.imap is None:
        return
    from winback.track.bounces import mailboxes, standing

    for mailbox in mailboxes(look.project):
        found = standing(look.connection, mailbox)
        if found is not None and found.error:
            message = f"letters that come back are not noticed since {look.clock(found.since)}: {found.error}"
            yield HealthItem("mailbox", False, message, found.remedy)
        elif found is not None:
            yield HealthItem("mailbox", True, f"{mailbox.place} was read at {look.clock(found.tried)}")


def _blocked(look: _Look) -> Iterator[HealthItem]:
    """Say when other servers turn us away: no address is to blame, and it does not pass by itself."""
    newest = look.connection.scalar(select(func.max(receipts.c.id))) or 0
    of_late = (receipts.c.id > newest - _NEWEST_RECEIPTS, receipts.c.at >= look.now - _BLOCKED_WITHIN)
    bounces = look.connection.scalars(select(receipts.c.raw).where(*of_late, receipts.c.kind == "bounced"))
    count = sum(raw.get("cause") == "us" for raw in bounces)
    if count >= _FAILURES:
        message = f"{count} letters of the last days came back because of us: our server, our domain or the letter itself"
        remedy = "docs/bounces.md says what to do; winback customer export CUSTOMER has what a server said"
        yield HealthItem("blocked", False, message, remedy)


def _imports(look: _Look) -> Iterator[HealthItem]:
    newest = select(func.max(import_runs.c.id)).group_by(import_runs.c.kind)
    for row in look.connection.execute(select(import_runs).where(import_runs.c.id.in_(newest)).order_by(import_runs.c.kind)):
        rows = row.inserted + row.updated + row.unchanged + row.rejected
        if row.rejected:
            bad = row.rejected >= _REJECT_SHARE * rows and look.now - row.started_at < _RECENT
            message = f"the last import of {row.kind} rejected {row.rejected} of {_count(rows, 'row')}"
            yield HealthItem(
                "import", not bad, message, "var/rejects/ has each with its line and reason; mend them and import again"
            )


def _birthdays(look: _Look) -> Iterator[HealthItem]:
    asked = (campaign.audience for campaign in look.project.campaigns.values() if campaign.enabled)
    if not any(audience.preset == "birthday" and audience.field == "birthday" for audience in asked):
        return
    month, day = customers.c.birth_month, customers.c.birth_day
    new_year = look.connection.scalar(select(func.count()).select_from(customers).where(month == 1, day == 1)) or 0
    if new_year < _NEW_YEAR:
        return
    known = look.connection.scalar(select(func.count()).select_from(customers).where(month.is_not(None))) or 0
    if new_year >= _NEW_YEAR_SHARE * known:
        message = f"{new_year} of {known} birthdays are on 1 January: most of them are probably what a form filled in"
        yield HealthItem("birthdays", False, message, "look at one of them; import these people again with an empty birthday")


def _consent(look: _Look) -> Iterator[HealthItem]:
    wanted = {
        step.channel
        for campaign in look.project.campaigns.values()
        if campaign.enabled and campaign.purpose is Purpose.MARKETING
        for step in campaign.steps
    }
    if not wanted or look.connection.scalar(select(customers.c.id).limit(1)) is None:
        return
    agreed = or_(*(customers.c[f"{channel}_{Purpose.MARKETING}"].is_(True) for channel in wanted))
    if not look.connection.scalar(select(exists().where(agreed))):
        message = "nobody has consented to marketing, so marketing campaigns write to nobody"
        remedy = "import who consented: winback import customers, with the column email_marketing or sms_marketing"
        yield HealthItem("consent", False, message, remedy)


def _public_url(look: _Look) -> Iterator[HealthItem]:
    settings = look.project.settings
    host = (urlsplit(settings.web.public_url).hostname or "").lower()
    out = {name for channel in Channel if _leaves_the_house(look.project, name := settings.deliver.for_channel(channel))}
    if out and host in _THIS_MACHINE:
        message = f"web.public_url is {settings.web.public_url}, but {' and '.join(sorted(out))} writes to real people"
        remedy = (
            "set web.public_url in config.toml to the address under which they reach this server: links in letters begin with it"
        )
        yield HealthItem("public_url", False, message, remedy)


def _leaves_the_house(project: Project, gateway: str) -> bool:
    found = project.settings.gateways.get(gateway)
    return found is not None and found.type not in _KEPT_INSIDE


def _api(look: _Look) -> Iterator[HealthItem]:
    """Say whether shop systems can reach the JSON API; the daemon's environment may know the key where this one does not."""
    key = look.project.settings.web.api_key
    try:
        closed = "web.api_key is not set in config.toml" if key is None or not key.reveal() else ""
    except InputError as error:
        closed = error.message
    yield HealthItem(
        "api", True, f"the JSON API is closed here: {closed}" if closed else "the JSON API is open to who has its key"
    )


def _disk(look: _Look) -> Iterator[HealthItem]:
    folder = look.project.var
    free = shutil.disk_usage(nearest(folder)).free
    remedy = f"make room: the database, the outbox and the rejects are in {folder}"
    yield HealthItem("disk", free >= _LITTLE_SPACE, f"{free / 1e9:,.1f} GB free", "" if free >= _LITTLE_SPACE else remedy)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


#: What is looked at, in the order in which it is told.
CHECKS: tuple[Callable[[_Look], Iterator[HealthItem]], ...] = (
    _installation,
    _database,
    _staging,
    _scheduler,
    _last_errors,
    _campaigns,
    _gateways,
    _limits,
    _overdue,
    _claims,
    _uncertain,
    _failures,
    _mailboxes,
    _blocked,
    _imports,
    _birthdays,
    _consent,
    _public_url,
    _api,
    _disk,
)
