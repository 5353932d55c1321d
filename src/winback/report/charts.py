"""Charts as small inline SVG, made by hand: no script, no request, readable on a phone, in dark mode and by a screen reader.

A chart has no view box: what runs across is in per cent, what runs down is in pixels. So it fills any width and its letters
keep their size. Colours come from classes, which the page around it defines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import floor, log10

from markupsafe import Markup

from winback.report.model import Comparison, Day, Rate, Reference
from winback.report.printing import Printer

#: The plot takes this much of the width, in per cent; the numbers of its axis stand in the rest.
_PLOT = 91.5

#: One panel of the chart over time, in pixels: the line of its name, then the plot.
_NAME, _PANEL, _BELOW = 30, 64, 18

#: Up to so many days each is a point; then weeks, then four weeks are.
_MOST_DAYS, _MOST_WEEKS = 42, 60


@dataclass(frozen=True)
class Row:
    """One bar: what it is, its number as text, its length as a share of the longest possible, and lines of explanation."""

    name: str
    value: str
    share: float
    notes: tuple[str, ...] = ()
    kind: str = "part"
    mark: float | None = None  # where a reference stands, a share like `share`


def bars(name: str, title: str, rows: Sequence[Row]) -> Markup:
    """Return horizontal bars, each with its name, number and explanation; `name` is unique in the page."""
    parts: list[Markup] = []
    top = 0
    for row in rows:
        parts.append(Markup('<text class="name" x="0" y="{}">{}</text>').format(top + 14, row.name))
        parts.append(Markup('<text class="value" x="100%" y="{}" text-anchor="end">{}</text>').format(top + 14, row.value))
        parts.append(Markup('<rect class="rest" x="0" y="{}" width="100%" height="8" rx="4"/>').format(top + 22))
        if row.share > 0:
            width = _percent(max(row.share, 0.006))
            parts.append(Markup('<rect class="{}" x="0" y="{}" width="{}" height="8" rx="4"/>').format(row.kind, top + 22, width))
        if row.mark is not None:
            x = _percent(row.mark)
            parts.append(Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(x, top + 18, top + 34))
        for number, note in enumerate(row.notes):
            parts.append(Markup('<text class="note" x="0" y="{}">{}</text>').format(top + 47 + 17 * number, note))
        top += 44 + 18 * len(row.notes)
    told = "; ".join(f"{row.name}: {', '.join((row.value, *row.notes))}" for row in rows)
    return _svg(name, title, told, top - 12, parts)


def rate_rows(rates: Sequence[tuple[str, str, Rate]], references: Sequence[Reference], printer: Printer) -> list[Row]:
    """Return bars for rates (key, words, rate) on one scale, each with its denominator, and its reference where there is one."""
    known = {reference.rate: reference.value for reference in references}
    longest = max([*(rate.value or 0 for _, _, rate in rates), *known.values(), 0.01])
    if known:
        longest *= 1.06  # so that the longest line does not stand at the very end
    rows = []
    for key, words, rate in rates:
        share = f"{printer.count(rate.count)} of {printer.count(rate.of)} {rate.base}"
        others = known.get(key)
        notes = (share,) if others is None else (share, f"line: {printer.percent(others)} elsewhere")
        mark = None if others is None else others / longest
        rows.append(Row(words, printer.rate(rate), (rate.value or 0) / longest, notes, mark=mark))
    return rows


def point_is(days: Sequence[Day], until: date) -> str:
    """Return how much time a point of the chart over time is."""
    length = _length(days[0].on, max(until, days[-1].on)) if days else _ONE
    return {1: "a day", 7: "a week"}.get(length.days, "four weeks")


def over_time(name: str, days: Sequence[Day], until: date, converted: str, printer: Printer) -> Markup:
    """Return lines over time, one below the other with a scale each: sent, clicked, and what counts as success.

    `days` are those with something on them; the gaps are days of nothing. With nothing at all the chart is empty.
    """
    if not days:
        return Markup()
    spans = _spans(days[0].on, max(until, days[-1].on))
    series = [(words, _sums(days, spans, read)) for words, read in _SERIES] + [
        (converted, _sums(days, spans, lambda day: day.converted))
    ]
    parts: list[Markup] = []
    height = len(series) * (_NAME + _PANEL + 12) + _BELOW
    for number, (words, values) in enumerate(series):
        parts += _panel(words, values, number * (_NAME + _PANEL + 12), printer)
    parts += _dates(spans, height - 5, printer)
    told = f"From {printer.day(days[0].on)} to {printer.day(spans[-1][1] - _ONE)}, each point {point_is(days, until)}. "
    told += " ".join(_told(words, values, spans, printer) for words, values in series)
    return _svg(name, "Over time", told, height, parts)


def interval(name: str, comparison: Comparison, printer: Printer) -> Markup:
    """Return the range of what may be true of a difference beside the line of no difference; empty where there is none."""
    if comparison.difference is None or comparison.low is None or comparison.high is None:
        return Markup()
    low, high, difference = comparison.low, comparison.high, comparison.difference
    # All of it and zero take the middle; the two numbers at the ends of the range stand outside of it and need room.
    left, right = min(low, 0.0), max(high, 0.0)
    room = 0.3 * max(right - left, 1e-6)
    first, last = left - room, right + room

    def x(value: float) -> str:
        return _percent((value - first) / (last - first))

    zero = (0 - first) / (last - first)
    anchor = "start" if zero < 0.25 else "end" if zero > 0.75 else "middle"
    kind = {"more": "good", "fewer": "bad"}.get(comparison.verdict, "open")
    number = Markup('<text class="value" x="{}" y="72" dx="{}" text-anchor="{}">{}</text>')
    parts = [
        Markup('<text class="note" x="{}" y="12" text-anchor="{}">no difference</text>').format(x(0), anchor),
        Markup('<line class="axis" x1="0" x2="100%" y1="40" y2="40"/>'),
        Markup('<line class="range {}" x1="{}" x2="{}" y1="40" y2="40"/>').format(kind, x(low), x(high)),
        Markup('<line class="zero" x1="{0}" x2="{0}" y1="20" y2="56"/>').format(x(0)),
        Markup('<circle class="dot {}" cx="{}" cy="40" r="6"/>').format(kind, x(difference)),
        number.format(x(low), 4, "end", printer.points(low)),
        number.format(x(high), -4, "start", printer.points(high)),
        Markup('<text class="note" x="0" y="98">← {} ahead</text>').format(comparison.against.name),
        Markup('<text class="note" x="100%" y="98" text-anchor="end">{} ahead →</text>').format(comparison.group.name),
    ]
    about, least, most = (printer.points(value) for value in (difference, low, high))
    told = f"{about} points; the truth may lie between {least} and {most}."
    return _svg(name, f"{comparison.group.name} against {comparison.against.name}", told, 104, parts)


_ONE = timedelta(days=1)

_SERIES: tuple[tuple[str, Callable[[Day], int]], ...] = (("Sent", lambda day: day.sent), ("Clicked", lambda day: day.clicked))


def _svg(name: str, title: str, told: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" width="100%" height="{height}" role="img" aria-labelledby="{name}-title {name}-desc">'
        '<title id="{name}-title">{title}</title><desc id="{name}-desc">{told}</desc>{parts}</svg>'
    ).format(name=name, title=title, told=told, height=height, parts=Markup().join(parts))


def _percent(share: float) -> str:
    return f"{round(share * 100, 2):g}%"


def _length(first: date, last: date) -> timedelta:
    days = (last - first).days + 1
    return (1 if days <= _MOST_DAYS else 7 if days <= _MOST_WEEKS * 7 else 28) * _ONE


def _spans(first: date, last: date) -> list[tuple[date, date]]:
    """Return the stretches of time that are a point each, every one from its first day to the day after its last.

    They are counted back from the end, so that the last one is whole: half a week there would look like a fall.
    """
    length = _length(first, last)
    number = -(-((last - first).days + 1) // length.days)
    end = last + _ONE
    return [(end - (each + 1) * length, end - each * length) for each in reversed(range(number))]


def _sums(days: Sequence[Day], spans: Sequence[tuple[date, date]], read: Callable[[Day], int]) -> list[int]:
    values = [0] * len(spans)
    place = 0
    for day in days:
        while day.on >= spans[place][1]:
            place += 1
        values[place] += read(day)
    return values


def _panel(words: str, values: Sequence[int], top: int, printer: Printer) -> Iterator[Markup]:
    highest = _nice(max(values))
    yield Markup('<text class="name" x="0" y="{}">{}</text>').format(top + 14, words)
    yield Markup('<text class="value" x="{}" y="{}" text-anchor="end">{}</text>').format(
        _percent(_PLOT / 100), top + 14, f"{printer.count(sum(values))} in all"
    )
    for share, value in ((0.0, 0), (1.0, highest)):
        y = top + _NAME + round((1 - share) * _PANEL)
        yield Markup('<line class="{}" x1="0" x2="{}" y1="{y}" y2="{y}"/>').format(
            "grid" if share else "axis", _percent(_PLOT / 100), y=y
        )
        yield Markup('<text class="tick" x="{}" y="{}" dx="7">{}</text>').format(
            _percent(_PLOT / 100), y + 4, printer.count(value)
        )
    points = [(_place(each, len(values)) * 1000, 100 - 100 * value / highest) for each, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.2f}" for x, y in points)
    yield Markup(
        '<svg aria-hidden="true" x="0" y="{}" width="{}" height="{}" viewBox="0 0 1000 100" '
        'preserveAspectRatio="none" overflow="visible">'
        '<polygon class="area" points="{},100 {} {},100"/>'
        '<polyline class="line" points="{}" vector-effect="non-scaling-stroke"/></svg>'
    ).format(top + _NAME, _percent(_PLOT / 100), _PANEL, f"{points[0][0]:.1f}", line, f"{points[-1][0]:.1f}", line)
    if len(values) == 1:
        yield Markup('<circle class="point" cx="{}" cy="{}" r="4"/>').format(
            _percent(_PLOT / 200), top + _NAME + round((1 - values[0] / highest) * _PANEL)
        )


def _dates(spans: Sequence[tuple[date, date]], y: int, printer: Printer) -> Iterator[Markup]:
    last = len(spans) - 1
    places = {0: "start", last // 2: "middle", last: "end"} if last >= 4 else {0: "start", last: "end"} if last else {0: "middle"}
    far = (spans[-1][1] - spans[0][0]).days > 300
    for place, anchor in places.items():
        text = printer.month(spans[place][0]) if far else printer.short_day(spans[place][0])
        x = _percent(_place(place, len(spans)) * _PLOT / 100)
        yield Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _place(number: int, of: int) -> float:
    return number / (of - 1) if of > 1 else 0.5


def _told(words: str, values: Sequence[int], spans: Sequence[tuple[date, date]], printer: Printer) -> str:
    if not any(values):
        return f"{words}: none."
    most = max(values)
    on = printer.day(spans[values.index(most)][0])
    return f"{words}: {printer.count(sum(values))} in all, the most ({printer.count(most)}) from {on}."


def _nice(highest: int) -> int:
    """Return a round number not below the highest value, for the top of an axis."""
    if highest <= 1:
        return 1
    size = 10 ** floor(log10(highest))
    return next(
        int(size * step) for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if size * step >= highest and size * step == int(size * step)
    )


__all__ = ["Row", "bars", "interval", "over_time", "point_is", "rate_rows"]
