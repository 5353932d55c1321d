"""Make up leads, people who have never ordered, and what they did: some become warm in these very days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from winback.starter.people import Crowd, Person

#: What people do, as campaigns/scores.toml counts it.
GUIDE, EVENING, PRICES, TALK, JOBS = (
    "guide_downloaded", "listening_evening_attended", "club_prices_seen", "talk_requested", "jobs_page_seen",
)  # fmt: skip

_GUIDES = ("first-ten", "care", "turntables", "storage")

#: Of the customers, these come to listening evenings and look at the club.
_CURIOUS = 0.09


@dataclass(frozen=True)
class Happening:
    """Something that somebody did, as the importer of events takes it."""

    at: datetime
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Lead:
    """Somebody who has not ordered yet, and what they did."""

    person: Person
    events: Sequence[Happening]


@dataclass(frozen=True)
class _Path:
    """How a kind of lead comes along: its share, what it does in order, and over how many days the last of it lies behind."""

    share: int
    steps: tuple[str, ...]
    ends: tuple[float, float]  # days ago, the latest and the earliest
    pace: float  # days between two steps, at most


_PATHS = (
    _Path(34, (GUIDE,), (0.2, 60), 1),  # took one guide and went
    _Path(10, (GUIDE, GUIDE), (0.2, 45), 9),
    _Path(6, (GUIDE, JOBS), (1, 40), 1),  # looks for work, not for records
    _Path(12, (GUIDE, EVENING, PRICES), (0.3, 24), 4),  # becomes warm in these days
    _Path(12, (GUIDE, GUIDE, PRICES, PRICES), (0.3, 24), 3),
    _Path(8, (GUIDE, PRICES, EVENING, GUIDE), (0.3, 24), 5),
    _Path(5, (GUIDE, EVENING, PRICES, TALK, PRICES), (0.3, 20), 3),  # is ready to buy
    _Path(6, (GUIDE, EVENING, PRICES), (32, 60), 4),  # was warm before
    _Path(7, (GUIDE, EVENING, EVENING, PRICES), (45, 130), 20),  # has cooled down
)


def leads(crowd: Crowd, count: int, *, seed: int, until: datetime) -> Iterator[Lead]:
    """Yield leads with what they did before `until`."""
    for number in range(1, count + 1):
        external_id = f"L-{number:04}"
        rng = Random(f"{seed}:lead:{external_id}")  # noqa: S311 - invented people, not secrets
        path = rng.choices(_PATHS, [path.share for path in _PATHS])[0]
        moments = _moments(rng, path, until)
        person = crowd.lead(external_id, moments[0])
        yield Lead(person, list(_happenings(rng, external_id, path.steps, moments)))


def visits(person: Person, *, seed: int, until: datetime) -> Iterator[Happening]:
    """Yield what a customer did besides ordering: most nothing."""
    rng = Random(f"{seed}:visits:{person.id}")  # noqa: S311 - invented visits, not secrets
    if rng.random() >= _CURIOUS:
        return
    known_for = (until - person.since) / timedelta(days=1)
    moment = until - timedelta(days=rng.uniform(0.2, min(known_for, 300)))
    steps = rng.choice(((EVENING,), (EVENING,), (GUIDE,), (GUIDE, PRICES), (PRICES,)))
    moments = [(moment + timedelta(minutes=7 * place)).replace(microsecond=0) for place in range(len(steps))]
    yield from _happenings(rng, person.id, steps, moments)


def _moments(rng: Random, path: _Path, until: datetime) -> list[datetime]:
    moment = until - timedelta(days=rng.uniform(*path.ends))
    found = [moment]
    for _ in path.steps[1:]:
        moment -= timedelta(days=rng.uniform(0.05, path.pace))
        found.append(moment)
    return [each.replace(microsecond=0) for each in reversed(found)]


def _happenings(rng: Random, who: str, steps: Sequence[str], moments: Sequence[datetime]) -> Iterator[Happening]:
    for number, (name, at) in enumerate(zip(steps, moments, strict=True), 1):
        properties = {"guide": rng.choice(_GUIDES)} if name == GUIDE else {}
        row = {
            "event_id": f"{who}-{number}",
            "customer_id": who,
            "name": name,
            "at": at.isoformat(),
            "properties": properties,
        }
        yield Happening(at, row)
