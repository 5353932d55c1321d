"""Tables that fit the terminal: words stay whole, and a table too wide for it goes on underneath."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: A pipe has no width; what another program reads is not folded.
_PIPE = 160

#: Letters between two columns.
_GAP = 2


class Strip:
    """One column: its title, its cells, and how wide it may be without breaking words, and at most."""

    def __init__(self, title: str, cells: Sequence[str], *, right: bool = False) -> None:
        self.title = title
        self.cells = cells
        self.right = right
        texts = [title, *cells]
        self.least = max((cell_len(word) for text in texts for word in text.split()), default=0)
        self.most = max((cell_len(line) for text in texts for line in text.splitlines()), default=0)


def print_table(strips: Sequence[Strip], *, title: str | None = None) -> None:
    """Print columns to standard output; those without any cell are left out."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE)
    shown = [strip for strip in strips if any(strip.cells) or not strip.cells]
    for number, block in enumerate(_blocks(shown, console.width)):
        console.print(_grid(block, console.width, title if number == 0 else None))
        console.print()


def _blocks(strips: Sequence[Strip], width: int) -> Iterator[list[Strip]]:
    """Put columns together as far as they fit, the first one before each group; one without a title follows its neighbour."""
    groups: list[list[Strip]] = []
    for strip in strips[1:]:
        if strip.title or not groups:
            groups.append([strip])
        else:
            groups[-1].append(strip)
    block = list(strips[:1])
    for group in groups:
        if len(block) > 1 and _least([*block, *group]) > width:
            yield block
            block = list(strips[:1])
        block += group
    yield block


def _least(strips: Sequence[Strip]) -> int:
    return sum(strip.least for strip in strips) + _GAP * (len(strips) - 1)


def _grid(strips: Sequence[Strip], width: int, title: str | None) -> Table:
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for strip, room in zip(strips, _widths(strips, width), strict=True):
        grid.add_column(strip.title, justify="right" if strip.right else "left", overflow="fold", width=room)
    for cells in zip(*(strip.cells for strip in strips), strict=True):
        grid.add_row(*map(Text, cells))
    return grid


def _widths(strips: Sequence[Strip], width: int) -> list[int]:
    """Give each column room for its longest word, and what is left to the narrowest that want more."""
    widths = [strip.least for strip in strips]
    spare = width - _least(strips)
    while spare > 0:
        wanting = [number for number, strip in enumerate(strips) if widths[number] < strip.most]
        if not wanting:
            break
        widths[min(wanting, key=lambda number: widths[number])] += 1
        spare -= 1
    return widths
