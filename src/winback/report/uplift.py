"""What a campaign caused: people who got it against people left alone, and one arm of a test against another.

Both sides are people whom the planner would have written to at the same moment; a keyed lottery alone decided which side they are
on. What happened to a message afterwards (a bounce, an opt-out) moves nobody to the other side: that is what makes the comparison
honest. The clock of both sides starts when the first message that no rule stopped was due. A person has one clock in a campaign,
however often they come in: who buys more comes in more often, and would get more clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from winback.project import Campaign
from winback.report.intervals import ALPHA, Interval, difference_of_means, difference_of_shares
from winback.report.model import Comparison, Gain, Verdict
from winback.report.printing import Printer
from winback.report.sides import (
    HELD_OUT,
    TREATED,
    Period,
    Side,
    arms_with_people,
    bounds,
    by_arm,
    by_holdout,
    gather,
    period,
    starts,
)
from winback.report.verdicts import Outlook, Question, in_words, too_few

#: The arm that gets the steps as they stand.
BASE_ARM = "a"

#: A pace is taken from no less than this.
_SHORTEST_PACE = timedelta(days=3)

#: A forecast further ahead than this says "not at this pace".
_LONGEST_WEEKS = 260

_WHOLE = 10_000  # shares in campaign files are basis points


def compare_holdout(connection: Connection, campaign: Campaign, now: datetime, printer: Printer) -> Comparison | None:
    """Compare the people written to with those left alone; None when nobody is held out and none ever was."""
    started = starts(campaign, now)
    side = by_holdout(started)
    found = bounds(connection, started, side)
    share = campaign.measure.holdout
    if not share and HELD_OUT not in found:
        return None
    within = period(found, (TREATED, HELD_OUT), {TREATED: share < _WHOLE, HELD_OUT: share > 0}, now)
    sides = gather(connection, campaign, now, started, side, within)
    pair = _Pair(sides.get(TREATED, Side()), sides.get(HELD_OUT, Side()), within, ALPHA)
    comparison = pair.compare("written to", "left alone", now, "people {}")
    return replace(comparison, sentence=in_words(comparison, Question.of(campaign, printer), pair.outlook(now)))


def compare_arms(connection: Connection, campaign: Campaign, now: datetime, printer: Printer) -> tuple[Comparison, ...]:
    """Compare each arm of the campaign's test with the base arm, those that are no longer in the file too."""
    arms = [*campaign.variants, *sorted(arms_with_people(connection, campaign) - {*campaign.variants, BASE_ARM})]
    if not arms:
        return ()
    started = starts(campaign, now)
    side = by_arm(started)
    found = bounds(connection, started, side)
    running = {name: share > 0 for name, share in campaign.variants.items()}
    running[BASE_ARM] = sum(campaign.variants.values()) < _WHOLE
    comparisons = []
    for arm in arms:
        within = period(found, (arm, BASE_ARM), running, now)
        sides = gather(connection, campaign, now, started, side, within)
        # Several arms have several chances to win by luck; each gets its part of the one in twenty (Bonferroni).
        pair = _Pair(sides.get(arm, Side()), sides.get(BASE_ARM, Side()), within, ALPHA / len(arms))
        comparison = pair.compare(f"arm {arm}", f"arm {BASE_ARM}", now, "people in {}")
        question = Question.of(campaign, printer, arms=True)
        comparisons.append(replace(comparison, sentence=in_words(comparison, question, pair.outlook(now))))
    return tuple(comparisons)


@dataclass(frozen=True)
class _Pair:
    """Two sides, the period in which both were there, and how often the answer may be wrong."""

    one: Side
    other: Side
    within: Period
    alpha: float

    def compare(self, name: str, against: str, now: datetime, base: str) -> Comparison:
        """Return everything that can be said but the sentence; `base` names each side's denominator."""
        one = self.one.group(name, base.format(name))
        other = self.other.group(against, base.format(against))
        since = None if self.within.complete else self.within.both_since
        if not one.people or not other.people:
            return Comparison(one, other, Verdict.NONE, None, None, None, since=since)
        verdict, interval = judge(one.converted, one.people, other.converted, other.people, self.alpha)
        comparison = Comparison(
            one,
            other,
            verdict,
            interval.difference,
            interval.low,
            interval.high,
            still_open=self.one.still_open + self.other.still_open,
            since=since,
        )
        if verdict is Verdict.TOO_SMALL:
            return replace(comparison, weeks_left=self._weeks_left(now))
        return replace(
            comparison,
            caused=round(interval.difference * one.people),
            caused_low=round(interval.low * one.people),
            caused_high=round(interval.high * one.people),
            gain=self._gains(interval.difference),
        )

    def outlook(self, now: datetime) -> Outlook:
        """Say what can be said of how long it will take."""
        if self.within.ended:
            return Outlook.ENDED
        if self.within.pace(now)[1] < _SHORTEST_PACE:
            return Outlook.EARLY
        return Outlook.PACE if self.one.recent or self.other.recent else Outlook.STANDSTILL

    def _weeks_left(self, now: datetime) -> int | None:
        """Return after how many weeks the interval would leave out zero, if people come in and convert as up to now."""
        if self.outlook(now) is not Outlook.PACE:
            return None
        pace_weeks = self.within.pace(now)[1] / timedelta(weeks=1)
        for weeks in range(1, _LONGEST_WEEKS + 1):
            verdict, _ = judge(*self.one.later(weeks, pace_weeks), *self.other.later(weeks, pace_weeks), self.alpha)
            if verdict is not Verdict.TOO_SMALL:
                return weeks
        return None

    def _gains(self, difference: float) -> tuple[Gain, ...]:
        """Return the money of those currencies in which the difference is as sure as in people, and of the same sign."""
        found = []
        for currency in sorted({*self.one.spent, *self.other.spent}):
            mean = difference_of_means(self.one.moments(currency), self.other.moments(currency), self.alpha)
            if mean.tells and mean.difference * difference > 0:
                amounts = (round(value * self.one.people) for value in (mean.difference, mean.low, mean.high))
                found.append(Gain(currency, *amounts))
        return tuple(found)


def judge(converted: int, people: int, other_converted: int, other_people: int, alpha: float = ALPHA) -> tuple[Verdict, Interval]:
    """Return what two counts let us say, at any time and however often it is asked; both sides must have people on them."""
    interval = difference_of_shares(converted, people, other_converted, other_people, alpha)
    if too_few(people, other_people, converted + other_converted) or not interval.tells:
        return Verdict.TOO_SMALL, interval
    return (Verdict.MORE if interval.difference > 0 else Verdict.FEWER), interval
