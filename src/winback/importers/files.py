"""Read rows from files: CSV, columns set off by white space, and JSON lines, plain or gzipped, in any encoding."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TextIO, cast

from winback.errors import InputError
from winback.importers.encodings import detect_encoding, known_encoding

Format = Literal["csv", "table", "jsonl"]

#: What separates columns, the likeliest first.
_DELIMITERS = (",", ";", "\t", "|")

#: How much of a file is looked at to find its format and delimiter.
_HEAD_LINES = 200

#: Characters that are read at once, to the end of the line.
_BLOCK = 1 << 16

#: The longest single cell; a cell past it is a quotation mark that was never closed.
_LONGEST_CELL = 1 << 20


@dataclass(frozen=True)
class Unreadable:
    """A row that is no row: wrong number of cells, no JSON object."""

    reason: str
    raw: str


class Block(NamedTuple):
    """Some rows that follow each other: cells, objects, or Unreadable."""

    lines: Sequence[int]  # where each row begins, from 1
    rows: Sequence[Any]
    is_even: bool = False  # all rows are cells, as many as there are columns


@dataclass(frozen=True)
class Source:
    """An open file: what it is, and its rows in blocks."""

    format: Format
    encoding: str
    delimiter: str | None
    header: tuple[str, ...] | None  # None for JSON objects
    blocks: Iterator[Block]
    size: int  # bytes
    position: Callable[[], int]  # bytes read so far


@contextmanager
def open_source(
    path: Path,
    *,
    region: str,
    format: Format | None = None,  # noqa: A002 - the word of the contract
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    names: Sequence[str] = (),
) -> Iterator[Source]:
    """Open a file and find out what was not said: encoding, format, delimiter. Raise InputError for one that cannot be read."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    with raw:
        if not path.is_file():
            raise InputError(f"{path} is not a file")
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        plain = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
        try:
            name = known_encoding(encoding) if encoding else detect_encoding(plain, region)
            plain.seek(0)
            head = _head(plain, name)
            plain.seek(0)
            text = io.TextIOWrapper(plain, encoding="utf-8-sig" if name == "utf-8" else name, newline="")
            kind = format or _guess_format(path, head)
            sign = (delimiter or _guess_delimiter(head)) if kind == "csv" else None
            columns, blocks = _blocks(text, kind, sign, header, tuple(names))
            yield Source(kind, name, sign, columns, blocks, path.stat().st_size, raw.tell)
        except UnicodeError as error:
            raise InputError(f"{path.name} is not written in {name}: {error}", "say its encoding: --encoding") from error
        except (gzip.BadGzipFile, EOFError) as error:
            raise InputError(f"{path.name} is a damaged gzip file") from error


def _head(stream: BinaryIO, encoding: str) -> list[str]:
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    try:
        lines = [line for line, _ in zip(text, range(_HEAD_LINES), strict=False)]
    finally:
        text.detach()
    if lines:
        lines[0] = lines[0].removeprefix("\ufeff")
    return [line for line in lines if line.strip()]


def _guess_format(path: Path, head: Sequence[str]) -> Format:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if {".jsonl", ".ndjson"} & set(suffixes) or (head and head[0].lstrip().startswith("{")):
        return "jsonl"
    if head and head[0].lstrip().startswith("["):
        raise InputError(
            f"{path.name} is one JSON array", "write one object a line instead (JSON lines), for example with: jq -c '.[]'"
        )
    if ".csv" in suffixes or ".tsv" in suffixes or any(sign in line for line in head[:1] for sign in _DELIMITERS):
        return "csv"
    widths = {len(line.split()) for line in head}
    return "table" if len(widths) == 1 and widths != {1} else "csv"


def _guess_delimiter(head: Sequence[str]) -> str:
    if head and head[0].strip().casefold() in {f"sep={sign}" for sign in _DELIMITERS}:
        return head[0].strip()[4:]
    best, most = ",", (0.0, 0)
    for sign in _DELIMITERS:
        widths = [len(cells) for cells in csv.reader(head, delimiter=sign) if cells]
        if not widths or widths[0] < 2:
            continue
        even = sum(width == widths[0] for width in widths) / len(widths)
        if (round(even, 1), widths[0]) > most:
            best, most = sign, (round(even, 1), widths[0])
    return best


def _blocks(
    text: TextIO, kind: Format, delimiter: str | None, header: bool, names: tuple[str, ...]
) -> tuple[tuple[str, ...] | None, Iterator[Block]]:
    if kind == "jsonl":
        return None, _json_blocks(text)
    blocks = _csv_blocks(text, delimiter or ",") if kind == "csv" else _table_blocks(text)
    first = next(blocks, None)
    if first is not None and kind == "csv" and len(first.rows[0]) <= 2 and first.rows[0][0].casefold().startswith("sep="):
        first = _without_first(first, blocks)  # what Excel writes for itself
    if first is None:
        return names, iter(())
    if header:
        columns = tuple(cell.strip() for cell in first.rows[0])
        first = _without_first(first, blocks)
    else:
        columns = names or tuple(str(number) for number in range(1, len(first.rows[0]) + 1))
    return columns, _even(chain([first] if first is not None else [], blocks), len(columns), delimiter)


def _without_first(block: Block, following: Iterator[Block]) -> Block | None:
    """Return a block without its first row, or the next one where it has no other."""
    return Block(block.lines[1:], block.rows[1:]) if len(block.rows) > 1 else next(following, None)


def _csv_blocks(text: TextIO, delimiter: str) -> Iterator[Block]:
    # The limit is the csv module's only global; a larger one harms nobody.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    line = 1
    while lines := text.readlines(_BLOCK):
        rows = _single_lines(lines, delimiter)
        if rows is None:
            taken, block = _longer_rows(chain(lines, text), len(lines), delimiter, line)
        else:
            taken, block = len(lines), Block(range(line, line + len(lines)), rows)
            if not all(rows):
                block = _block((number, row) for number, row in zip(*block[:2], strict=True) if row)
        line += taken
        if block.rows:
            yield block


def _single_lines(lines: list[str], delimiter: str) -> list[list[str]] | None:
    """Return the cells of lines that are a row each; None where a row goes over several of them, or past the last one."""
    try:
        rows = list(csv.reader(chain(lines, ("end",)), delimiter=delimiter))
    except csv.Error:
        return None
    # A cell that is still open at the end takes the added line in.
    return rows[:-1] if len(rows) == len(lines) + 1 else None


def _longer_rows(lines: Iterable[str], least: int, delimiter: str, first: int) -> tuple[int, Block]:
    """Read rows one by one until so many lines are read; return how many lines were, and the rows."""
    found: list[tuple[int, list[str]]] = []
    noted: list[str] = []  # lines of the row at hand
    reader = csv.reader(_noted(lines, noted), delimiter=delimiter)
    begin = 0
    try:
        while reader.line_num < least and (cells := next(reader, None)) is not None:
            if len(noted) > 1 and sum(each.count('"') for each in noted) % 2:
                # The rest of the file is in one cell; the module takes the end of the file for its end.
                raise csv.Error("its last cell has no end")
            noted.clear()
            found.append((first + begin, cells))
            begin = reader.line_num
    except csv.Error as error:
        raise InputError(
            f"the row that begins in line {first + begin} cannot be read: {error}", "perhaps a quotation mark is never closed"
        ) from error
    return reader.line_num, _block((line, cells) for line, cells in found if cells)


def _noted(lines: Iterable[str], noted: list[str]) -> Iterator[str]:
    for line in lines:
        noted.append(line)
        yield line


def _table_blocks(text: TextIO) -> Iterator[Block]:
    line = 1
    while lines := text.readlines(_BLOCK):
        cells = [row.split() for row in lines]
        block = _block((number, row) for number, row in enumerate(cells, line) if row)
        line += len(lines)
        if block.rows:
            yield block


def _block(rows: Iterable[tuple[int, Any]]) -> Block:
    found = list(rows)
    return Block([line for line, _ in found], [row for _, row in found])


def _even(blocks: Iterable[Block], width: int, delimiter: str | None) -> Iterator[Block]:
    for block in blocks:
        if set(map(len, block.rows)) == {width}:
            yield block._replace(is_even=True)
        else:
            yield _block(_evened(block, width, delimiter))


def _evened(block: Block, width: int, delimiter: str | None) -> Iterator[tuple[int, Any]]:
    for line, row in zip(block.lines, block.rows, strict=True):
        if len(row) == width:
            yield line, row
        elif len(row) > width and not any(row[width:]):
            yield line, row[:width]  # a spreadsheet's empty columns
        elif any(cell.strip() for cell in row):
            yield line, Unreadable(f"{len(row)} cells where the header has {width}", raw_text(row, delimiter))


def _json_blocks(text: TextIO) -> Iterator[Block]:
    line = 1
    while lines := text.readlines(_BLOCK):
        yield _block(_json_rows(lines, line))
        line += len(lines)


def _json_rows(lines: Sequence[str], first: int) -> Iterator[tuple[int, Any]]:
    for line, row in enumerate(lines, first):
        if not row.strip():
            continue
        try:
            # Decimal keeps amounts as they were written.
            found = json.loads(row, parse_float=Decimal)
        except (ValueError, RecursionError):
            yield line, Unreadable("not JSON", row.strip())
            continue
        yield line, found if isinstance(found, dict) else Unreadable("not a JSON object", row.strip())


def raw_text(row: Any, delimiter: str | None) -> str:
    """Return a row as it stood in the file, for the rejects file."""
    if isinstance(row, dict):
        return json.dumps(row, ensure_ascii=False, default=str)
    if delimiter is None:
        return " ".join(row)
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="").writerow(row)
    return line.getvalue()
