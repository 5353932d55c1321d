"""Compare what was expected with what happened, and say in one line each what differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from winback.project.casefile import Case, Expected
from winback.project.toml import KeyPath, TomlFile
from winback.rehearsal.outcome import Failure, Gone, Played

#: Letters of a text that are quoted.
_QUOTED = 300


def compare(file: TomlFile, path: KeyPath, case: Case, campaigns: Sequence[str], played: Played) -> Iterator[Failure]:
    """Yield every difference; `path` is where the test stands in its file."""
    here = file.line(path)
    yield from (Failure(here, error) for error in played.errors)
    left = list(played.gone)
    for number, expected in enumerate(case.expect):
        line = file.line((*path, "expect", number))
        if expected.skipped is not None:
            yield from _skipped(line, expected, campaigns, played)
            continue
        found = _pick(expected, left)
        if found is None:
            yield Failure(line, f"{_wanted(expected)} did not go{_why(expected, played)}")
            continue
        left.remove(found)
        yield from (Failure(line, f"{_named(found)}: {wrong}") for wrong in _differences(expected, found))
    for gone in left:
        yield Failure(here, f"{_named(gone)} went at {_at(gone.at)}, and is not expected")


def _pick(expected: Expected, left: Sequence[Gone]) -> Gone | None:
    """Return the message that is meant: of several of a step the one at that time, else the first."""
    same = [gone for gone in left if (gone.customer, gone.step) == (expected.customer, expected.step)]
    same = [gone for gone in same if expected.campaign in (None, gone.campaign)]
    return next((gone for gone in same if gone.at == expected.at), next(iter(same), None))


def _differences(expected: Expected, gone: Gone) -> Iterator[str]:
    if expected.at is not None and gone.at != expected.at:
        yield f"went at {_at(gone.at)}, expected at {_at(expected.at)}"
    if expected.channel is not None and gone.channel != expected.channel:
        yield f"went by {gone.channel}, expected by {expected.channel}"
    if expected.subject is not None and gone.subject != expected.subject:
        yield f"its subject is {gone.subject!r}, expected {expected.subject!r}"
    for words in expected.contains:
        if words not in gone.words:
            yield f"does not say {words!r}; it says: {_cut(gone.words)}"
    for words in expected.lacks:
        if words in gone.words:
            yield f"says {words!r}"


def _skipped(line: int, expected: Expected, campaigns: Sequence[str], played: Played) -> Iterator[Failure]:
    campaign = expected.campaign or campaigns[0]
    reasons = sorted(
        stopped.reason
        for stopped in played.stopped
        if (stopped.customer, stopped.campaign, stopped.step) == (expected.customer, campaign, expected.step)
    )
    if expected.skipped not in reasons:
        what = f"{expected.customer}'s {expected.step}" if expected.step else expected.customer
        found = f"because of {', '.join(reasons)}" if reasons else "for no reason at all"
        yield Failure(line, f"{what} was to be left out because of {expected.skipped}, and was {found}")


def _why(expected: Expected, played: Played) -> str:
    """Return why somebody did not get a message, as far as it is known."""
    reasons = {
        stopped.reason
        for stopped in played.stopped
        if stopped.customer == expected.customer
        and stopped.reason != "already"
        and stopped.step in (None, expected.step)
        and expected.campaign in (None, stopped.campaign)
    }
    return f" ({', '.join(sorted(reasons))})" if reasons else ""


def _wanted(expected: Expected) -> str:
    return f"{expected.customer}'s {expected.step}" + (f" at {_at(expected.at)}" if expected.at else "")


def _named(gone: Gone) -> str:
    return f"{gone.customer}'s {gone.step}"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _cut(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _QUOTED else folded[: _QUOTED - 1] + "…"
