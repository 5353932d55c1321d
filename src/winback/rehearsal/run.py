"""Run tests of campaigns: the real planner, rules and composer, on a database in memory that is emptied after each test."""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, and_, false, func, or_, select

from winback import ledger
from winback.clock import local_instant
from winback.compose import Composer
from winback.dispatch.recipients import Addressee, load_recipients
from winback.dispatch.result import DispatchResult
from winback.dispatch.taking import take
from winback.errors import RenderError, WinbackError
from winback.ledger import Claimed, Move
from winback.plan import explain
from winback.plan.planner import keep_up, plan_in_order
from winback.plan.tables import candidates, own_tables
from winback.policy import step_of
from winback.project import Campaign, Project
from winback.project.casefile import Case
from winback.rehearsal.cases import CaseBook
from winback.rehearsal.compare import compare
from winback.rehearsal.outcome import Failure, Gone, Outcome, Played, Stopped
from winback.rehearsal.world import World
from winback.secrets import Secret
from winback.store import Channel, EnrollmentState, MessageState, customers, enrollments, messages, metadata, open_engine

#: The campaigns are looked at so often, and whenever something happens or a condition can be answered.
EVERY = timedelta(days=1)

#: How long a test lasts that does not say so.
_DAY = timedelta(days=1)

_WHO = "test"

_PLANNED = messages.c.state == MessageState.PLANNED

_CHANNELS = [channel.value for channel in Channel]

#: No link of a test leads anywhere, so its secret need be none; the shop's own is not touched.
_SECRET = "tests of campaigns send nothing"  # noqa: S105


def rehearse(project: Project, files: Sequence[CaseBook], matching: str = "") -> Iterator[Outcome]:
    """Run the tests whose name, or file's name, has `matching` in it, and yield what each came to."""
    wanted = matching.lower()
    engine = open_engine("sqlite:///:memory:")
    try:
        metadata.create_all(engine)
        composer = Composer(_rehearsing(project), signed=False)
        shops: dict[Hashable, Project] = {}
        for each in files:
            for place, case in enumerate(each.content.tests):
                if wanted in case.name.lower() or wanted in each.file.path.name.lower():
                    names = each.campaigns(case)
                    # What is built for one test serves the others with the same campaigns and rules.
                    alike = (*names, case.arm, repr(case.limits), repr(case.quiet_hours))
                    if alike not in shops:
                        shops[alike] = _as_tested(project, case, names)
                    yield _run(engine, shops[alike], composer, each, place)
    finally:
        engine.dispose()


def _run(engine: Engine, project: Project, composer: Composer, each: CaseBook, place: int) -> Outcome:
    began = time.perf_counter()
    case = each.content.tests[place]
    names = each.campaigns(case)
    path = ("tests", place)
    with _emptied(engine) as connection:
        try:
            played = _Play(connection, project, composer, each, case).played()
            failures = tuple(compare(each.file, path, case, names, played))
        except WinbackError as error:
            failures = (Failure(each.file.line(path), str(error)),)
    return Outcome(str(each.file.path), each.file.line(path), case.name, time.perf_counter() - began, failures)


@contextmanager
def _emptied(engine: Engine) -> Iterator[Connection]:
    """Give a connection to an empty database, and empty it again."""
    with engine.connect() as connection, connection.begin() as transaction:
        try:
            yield connection
        finally:
            transaction.rollback()


def _rehearsing(project: Project) -> Project:
    """Return the shop as nobody has made a trial of it, with a secret that is none."""
    deliver = project.settings.deliver.model_copy(update={"allow": None, "redirect_email": None, "redirect_sms": None})
    settings = project.settings.model_copy(update={"deliver": deliver})
    return replace(project, settings=settings, trial=None, unclear="", own_secret=Secret(_SECRET))


def _as_tested(project: Project, case: Case, names: Sequence[str]) -> Project:
    """Return the shop with the test's campaigns only: switched on, nobody held out, everybody in one arm."""
    project = _rehearsing(project)
    changed = {"limits": case.limits, "quiet_hours": case.quiet_hours}
    settings = project.settings.model_copy(update={key: value for key, value in changed.items() if value is not None})
    campaigns = {name: _tested(campaign, case.arm) for name, campaign in project.campaigns.items() if name in names}
    # To keep up scores that nobody asks for would be most of the work.
    asked = f"{campaigns} {project.segments}"
    scores = {name: score for name, score in project.scores.items() if name in asked}
    return replace(project, settings=settings, campaigns=campaigns, scores=scores)


def _tested(campaign: Campaign, arm: str | None) -> Campaign:
    everybody = {arm: 10_000} if arm in campaign.variants else {}
    measure = campaign.measure.model_copy(update={"holdout": 0})
    return campaign.model_copy(update={"enabled": True, "measure": measure, "variants": everybody})


class _Play:
    """One test, from its first moment to its last."""

    def __init__(self, connection: Connection, project: Project, composer: Composer, file: CaseBook, case: Case) -> None:
        self._connection = connection
        self._project = project
        self._composer = composer
        zone = ZoneInfo(project.settings.shop.zone)
        self._start = local_instant(case.from_.date(), case.from_.time(), zone)
        until = case.until
        self._until = self._start + _DAY if until is None else local_instant(until.date(), until.time(), zone)
        self._world = World(connection, project, file.content, case, self._start)
        self._names = {number: name for name, number in self._world.ids.items()}
        self._asked = {(expected.customer, expected.campaign) for expected in case.expect}
        self._seen: set[tuple[str, str]] = set()  # customers in audiences
        conditional = [
            and_(enrollments.c.campaign == campaign.name, enrollments.c.step == step.name)
            for campaign in project.campaigns.values()
            for step in campaign.steps
            if step.only_if is not None
        ]
        self._waiting = and_(enrollments.c.state == EnrollmentState.ACTIVE, or_(false(), *conditional))
        self._played = Played()

    def played(self) -> Played:
        """Play the test, and return what happened."""
        at = look = self._start
        while at <= self._until:
            if self._world.live(at) or at >= look:
                self._look(at)
                look = at + EVERY
            elif names := self._conditional(at):
                self._look(at, names)
            self._dispatch(at)
            at = min(moment for moment in (look, self._world.next(), *self._due(at)) if moment is not None)
        self._note_stopped()
        return self._played

    def _look(self, at: datetime, names: Collection[str] | None = None) -> None:
        """Let people in and write their messages, as a pass does, and note who does not come in and why."""
        errors = keep_up(self._connection, self._project, at)
        with own_tables(self._connection):
            for name in self._project.campaigns if names is None else names:
                [outcome] = plan_in_order(self._connection, self._project, at, [name], worker=_WHO)
                errors += [f"campaign {name}: {outcome.error}"] if outcome.error else []
                seen = select(candidates.c.customer_id, candidates.c.failure).distinct()
                for customer, failure in self._connection.execute(seen):
                    self._seen.add((self._names[customer], name))
                    if failure is not None:
                        self._played.stopped.add(Stopped(self._names[customer], name, None, failure))
        self._played.errors += [error for error in errors if error not in self._played.errors]

    def _dispatch(self, at: datetime) -> None:
        if self._connection.scalar(select(messages.c.id).where(_PLANNED, messages.c.next_attempt_at <= at).limit(1)) is None:
            return
        result = DispatchResult()
        while (taken := take(self._connection, self._project, _WHO, _CHANNELS, now=at, worker=_WHO, result=result)).count:
            self._send(taken.claims, at)
        self._played.errors += result.errors

    def _send(self, claims: Sequence[Claimed], at: datetime) -> None:
        orders = self._orders(claims)
        for claim in claims:
            found = step_of(self._project, claim.campaign, claim.step)
            assert found is not None  # noqa: S101 - the rules have just found it
            customer = self._names[claim.customer_id]
            about = Addressee(claim.id, *found, claim.customer_id, orders.get(claim.id), Channel(claim.channel))
            recipient = load_recipients(self._connection, self._project, [about], at)[claim.id]
            try:
                composed = self._composer.compose(
                    *found, recipient, variant=claim.variant, now=at, link_ids=lambda targets: [0] * len(targets)
                )
            except RenderError as error:
                self._played.errors.append(f"{customer}'s {claim.step}: {error}")
                continue
            local = at.astimezone(self._world.zones[customer]).replace(tzinfo=None)
            words = "\n".join(part for part in (composed.text, composed.html) if part)
            self._played.gone.append(Gone(customer, claim.campaign, claim.step, claim.channel, local, composed.subject, words))
            self._world.receive(claim.id, customer, claim.campaign, claim.step, at)
        sent = {"gateway": _WHO, "sent_at": at}
        moves = [Move(claim.id, MessageState.SENDING, MessageState.SENT, values=sent) for claim in claims]
        ledger.apply(self._connection, moves, now=at, worker=_WHO, claimed_by=_WHO)

    def _orders(self, claims: Sequence[Claimed]) -> dict[str, int | None]:
        """Return the orders that messages are about, by the message's id."""
        query = select(messages.c.id, enrollments.c.order_id).join(enrollments, enrollments.c.id == messages.c.enrollment_id)
        names = [campaign.name for campaign in self._project.campaigns.values() if campaign.audience.about_an_order]
        query = query.where(messages.c.id.in_([claim.id for claim in claims]), messages.c.campaign.in_(names))
        return {row.id: row.order_id for row in self._connection.execute(query)}

    def _due(self, at: datetime) -> Iterator[datetime]:
        """Yield when the next message goes, and when the next condition can be answered."""
        for column, of in ((messages.c.next_attempt_at, _PLANNED), (enrollments.c.due_at, self._waiting)):
            moment = self._connection.scalar(select(func.min(column, type_=column.type)).where(of, column > at))
            if moment is not None:
                yield moment

    def _conditional(self, at: datetime) -> Sequence[str]:
        """Return the campaigns with a step whose condition can be answered now."""
        query = select(enrollments.c.campaign).where(self._waiting, enrollments.c.due_at == at).distinct()
        return self._connection.scalars(query).all()

    def _note_stopped(self) -> None:
        """Note the messages that did not go, who left, and why those of whom something is expected never came in."""
        for customer, campaign in self._asked:
            for name in [campaign] if campaign else self._project.campaigns:
                if (customer, name) not in self._seen:
                    failure = explain(self._connection, self._project, name, customer, self._until).first_failure
                    self._played.stopped |= {Stopped(customer, name, None, failure.rule)} if failure else set()
        query = (
            select(customers.c.external_id, messages.c.campaign, messages.c.step, messages.c.reason)
            .join(customers, customers.c.id == messages.c.customer_id)
            .where(messages.c.state.in_([MessageState.SKIPPED, MessageState.CANCELLED]))
        )
        left = (
            select(customers.c.external_id, enrollments.c.campaign, enrollments.c.exit_reason)
            .join(customers, customers.c.id == enrollments.c.customer_id)
            .where(enrollments.c.state == EnrollmentState.EXITED)
        )
        self._played.stopped |= {Stopped(*row) for row in self._connection.execute(query)}
        self._played.stopped |= {Stopped(who, name, None, why) for who, name, why in self._connection.execute(left)}
