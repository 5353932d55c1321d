"""Take care of messages whose dispatcher is gone: killed, or cut off by a power failure.

A dispatcher lives while it holds the lock on its journal. What a journal says of its messages decides: those never handed over
wait as before, those answered are recorded as answered, and only those whose answer was outstanding are uncertain, unless their
gateway can tell what became of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, select

from winback.dispatch import journal
from winback.dispatch.journal import Answer, Evidence, Handover
from winback.dispatch.lease import LEASE
from winback.dispatch.outcomes import NO_ANSWER, Answered, ask_again, give_back, record
from winback.dispatch.routes import find_gateway
from winback.gateways.base import Gateway
from winback.ledger import Claimed
from winback.project import Project
from winback.store import Channel, MessageState, messages, reading, writing

#: The name under which the history says who did it.
_WORKER = "recover"


@dataclass
class Recovered:
    """What became of the messages of dispatchers that were gone."""

    sent: int = 0
    retrying: int = 0
    failed: int = 0
    uncertain: int = 0
    given_back: int = 0
    dispatchers: list[str] = field(default_factory=list)  # those that held messages

    @property
    def count(self) -> int:
        """Add up the messages."""
        return self.sent + self.retrying + self.failed + self.uncertain + self.given_back


def recover(engine: Engine, project: Project, *, now: datetime, gateways: Mapping[str, Gateway] | None = None) -> Recovered:
    """Find dispatchers that are gone, and record what is known of each message they held.

    Those without a journal on this machine are believed alive for 15 minutes after they last renewed their claims; then their
    messages are uncertain.
    `gateways` replace the configured ones by name.
    """
    result = Recovered()
    folder = project.var / "dispatch"
    for name in journal.names(folder):
        with journal.taken(journal.path_of(folder, name)) as evidence:
            if evidence is not None:
                found = _settled(project, _claims(engine, name), evidence, now, gateways)
                _record(engine, project, name, found, now, result)
    for name in _expired(engine, folder, now):
        # What another machine's outbox holds is not to be seen here, so no gateway is asked.
        lost = [_Found(claim, None, Answer(NO_ANSWER, now)) for claim in _claims(engine, name)]
        _record(engine, project, name, lost, now, result)
    return result


@dataclass(frozen=True)
class _Found:
    """A message of a dispatcher that is gone, with what is known of it; without an answer it was never handed over."""

    claim: Claimed
    handover: Handover | None
    answer: Answer | None


def _settled(
    project: Project, claims: Sequence[Claimed], evidence: Evidence, now: datetime, gateways: Mapping[str, Gateway] | None
) -> list[_Found]:
    """Return what the journal, and then the gateways, know of each message."""
    found, lost = [], defaultdict(list)
    for claim in claims:
        handover, answer = evidence.handed.get(claim.id), evidence.answers.get(claim.id)
        if answer is None and (handover is not None or not evidence.whole):
            lost[handover.gateway if handover else _gateway_name(project, claim)].append(_Found(claim, handover, None))
        else:
            found.append(_Found(claim, handover, answer))
    for name, items in lost.items():
        told = ask_again(find_gateway(project, name, gateways), [item.claim.id for item in items])
        found += [_Found(item.claim, item.handover, Answer(told[item.claim.id], now)) for item in items]
    return found


def _record(engine: Engine, project: Project, holder: str, found: Sequence[_Found], now: datetime, result: Recovered) -> None:
    if not found:
        return
    answered = [
        Answered(item.claim, item.handover or _unnoted(project, item.claim), item.answer)
        for item in found
        if item.answer is not None
    ]
    left = [item.claim for item in found if item.answer is None]
    with writing(engine) as connection:
        counts = record(connection, project, answered, now=now, worker=_WORKER, holder=holder)
        give_back(connection, left, now=now, worker=_WORKER, holder=holder)
    result.dispatchers.append(holder)
    result.sent += counts.sent
    result.retrying += counts.retrying
    result.failed += counts.failed
    result.uncertain += counts.uncertain
    result.given_back += counts.given_back + len(left)


def _unnoted(project: Project, claim: Claimed) -> Handover:
    """Return how a message went of which no journal says so; in doubt not to its customer."""
    staging = project.staging
    redirected = staging is not None and staging.redirect(Channel(claim.channel)) is not None
    return Handover(_gateway_name(project, claim), redirected=redirected)


def _gateway_name(project: Project, claim: Claimed) -> str:
    return project.settings.deliver.for_channel(Channel(claim.channel))


def _claims(engine: Engine, name: str) -> list[Claimed]:
    """Return what a dispatcher holds."""
    columns = [messages.c[column] for column in Claimed.__dataclass_fields__]
    query = select(*columns).where(messages.c.state == MessageState.SENDING, messages.c.claimed_by == name)
    with reading(engine) as connection:
        return [Claimed(*row) for row in connection.execute(query.order_by(messages.c.due_at, messages.c.id))]


def _expired(engine: Engine, folder: Path, now: datetime) -> list[str]:
    """Return the names of dispatchers with old claims and no journal here."""
    old = (messages.c.state == MessageState.SENDING, messages.c.claimed_at <= now - LEASE)
    query = select(messages.c.claimed_by).where(*old).distinct()
    with reading(engine) as connection:
        holders = list(connection.scalars(query))
    return [name for name in holders if not journal.path_of(folder, name).exists()]
