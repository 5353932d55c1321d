"""Lines of the table: how long winback takes, and how long SQL written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Line:
    """One question: seconds of each round, and how many rows came of it on both sides."""

    name: str
    ours: list[float] = field(default_factory=list)
    by_hand: list[float] = field(default_factory=list)
    rows: int = 0
    rows_by_hand: int | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Return how many times as long winback takes, in the middle one of the rounds."""
        both = list(zip(self.ours, self.by_hand, strict=False))
        return median(own / other for own, other in both) if both else None


def show(lines: Iterable[Line]) -> None:
    """Print the table."""
    lines = list(lines)
    width = max(len(line.name) for line in lines)
    print(f"{'':{width}}        rows   winback s   by hand s   ratio")
    for line in lines:
        by_hand = f"{median(line.by_hand):9.3f}" if line.by_hand else ""
        ratio = f"{line.ratio:6.2f}" if line.ratio is not None else ""
        differs = line.rows_by_hand is not None and line.rows_by_hand != line.rows
        note = f"by hand {line.rows_by_hand:,} rows  {line.note}" if differs else line.note
        text = f"{line.name:{width}}  {line.rows:10,}   {median(line.ours):9.3f}   {by_hand:9}  {ratio:6}  {note}"
        print(text.rstrip())
