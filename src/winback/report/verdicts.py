"""What a comparison lets us say, in sentences that the owner of a shop understands and can repeat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from winback.project import Campaign
from winback.report.model import Comparison, Gain, Group, Revenue, Verdict
from winback.report.printing import Printer, plural
from winback.report.words import did

#: Below these nothing is said, whatever the numbers: so many people on each side, so many of both together who converted.
FEWEST_PEOPLE = 30
FEWEST_CONVERTED = 10

#: Weeks up to this are said as weeks, more as months.
_MOST_WEEKS = 13
_WEEKS_IN_A_MONTH = 52 / 12


def too_few(people: int, other_people: int, converted: int) -> bool:
    """Say whether the groups are too small for any verdict; `converted` is of both together."""
    return min(people, other_people) < FEWEST_PEOPLE or converted < FEWEST_CONVERTED


class Outlook(StrEnum):
    """What can be said of how long it will take until there is an answer."""

    PACE = "pace"  # people come in at a known pace
    EARLY = "early"  # the pace is not known yet
    STANDSTILL = "standstill"  # nobody has come in for weeks
    ENDED = "ended"  # one of the sides takes nobody in any more


@dataclass(frozen=True)
class Question:
    """What is asked about two groups: what they did, as a verb; whether they are the arms of a test; and how to print it."""

    did: str
    printer: Printer
    arms: bool = False

    @classmethod
    def of(cls, campaign: Campaign, printer: Printer, *, arms: bool = False) -> Question:
        """Return the question that a campaign's conversion asks."""
        return cls(did(campaign.measure.conversion), printer, arms)


def in_words(comparison: Comparison, question: Question, outlook: Outlook) -> str:
    """Return the verdict of a comparison in plain sentences."""
    return " ".join(_sentences(comparison, question, outlook))


def _sentences(comparison: Comparison, question: Question, outlook: Outlook) -> Iterator[str]:
    if comparison.verdict is Verdict.NONE:
        yield _nothing_yet(comparison, question)
        return
    yield _headline(comparison, question)
    yield _shares(comparison, question)
    if comparison.verdict is Verdict.TOO_SMALL:
        one, other = comparison.group, comparison.against
        few = too_few(one.people, other.people, one.converted + other.converted)
        yield "These are too few to go by." if few else "Luck alone can make such a difference."
        yield _when(comparison, outlook)
        return
    if not question.arms:
        yield _caused(comparison, question)
    for gain in comparison.gain:
        yield _worth(gain, question)


def _nothing_yet(comparison: Comparison, question: Question) -> str:
    if question.arms:
        empty = " and ".join(group.name for group in (comparison.group, comparison.against) if not group.people)
        return f"Nothing to compare yet: nobody is in {empty}."
    if not comparison.group.people:
        return "Nothing to compare yet: no message was due so far."
    return "Nothing to compare yet: nobody has been left alone so far."


def _headline(comparison: Comparison, question: Question) -> str:
    one, other = comparison.group.name, comparison.against.name
    if comparison.verdict is Verdict.TOO_SMALL:
        return f"Too small to say whether {one} or {other} does better." if question.arms else "Too small to say."
    better = comparison.verdict is Verdict.MORE
    if question.arms:
        return f"{one.capitalize()} does {'better' if better else 'worse'} than {other}."
    return "It works." if better else "It does harm."


def _shares(comparison: Comparison, question: Question) -> str:
    so_far = " so far" if comparison.still_open else ""
    one, other = (_share(group, question.printer) for group in (comparison.group, comparison.against))
    return (
        f"Of the {_people(comparison.group, question.printer)}, {one} {question.did}{so_far}; "
        f"of the {_people(comparison.against, question.printer)}, {other}."
    )


def _people(group: Group, printer: Printer) -> str:
    words = group.base if group.people != 1 else group.base.replace("people", "person", 1)
    return f"{printer.count(group.people)} {words}"


def _share(group: Group, printer: Printer) -> str:
    return printer.rate(group.rate) if group.converted else "nobody"


def _caused(comparison: Comparison, question: Question) -> str:
    bounds = (comparison.caused_low, comparison.caused_high)
    number, *others = (abs(value or 0) for value in (comparison.caused, *bounds))
    low, high = sorted(others)
    count = question.printer.count
    more = "more" if comparison.verdict is Verdict.MORE else "fewer"
    return (
        f"That is about {count(number)} {plural(number, 'person', 'people')} {more} than would have without it; "
        f"it may be as few as {count(low)} or as many as {count(high)}."
    )


def _worth(gain: Gain, question: Question) -> str:
    low, high = sorted((abs(gain.low), abs(gain.high)))
    about, least, most = (question.printer.round_money(Revenue(gain.currency, minor)) for minor in (abs(gain.minor), low, high))
    more = "more" if gain.minor > 0 else "less"
    who = "They" if not question.arms else "Its people"
    return f"{who} spent about {about} {more} in all than would be expected otherwise, between {least} and {most}."


def _when(comparison: Comparison, outlook: Outlook) -> str:
    if comparison.weeks_left is not None:
        return f"If it stays like this, {_time(comparison.weeks_left)} at this pace will tell."
    return {
        Outlook.PACE: "At this pace it would take more than five years to tell, if there is a difference at all.",
        Outlook.EARLY: "It is too early to guess how long it takes to tell.",
        Outlook.STANDSTILL: "Nobody has come in for weeks, so there is no end to it at this pace.",
        Outlook.ENDED: "Nobody comes in on one of the two sides any more, so it stays like that.",
    }[outlook]


def _time(weeks: int) -> str:
    if weeks <= _MOST_WEEKS:
        return f"about {weeks} more {plural(weeks, 'week')}"
    return f"about {round(weeks / _WEEKS_IN_A_MONTH)} more months"
