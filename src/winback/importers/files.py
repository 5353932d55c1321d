"""Read rows from files: CSV, columns set off by white space, and JSON lines, plain or gzipped, in any encoding."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO, cast

from winback.errors import InputError
from winback.importers.encodings import detect_encoding, known_encoding

Format = Literal["csv", "table", "jsonl"]

#: What separates columns, the likeliest first.
_DELIMITERS = (",", ";", "\t", "|")

#: How much of a file is looked at to find its format and delimiter.
_HEAD_LINES = 200

#: The longest single cell; a cell past it is a quotation mark that was never closed.
_LONGEST_CELL = 1 << 20


@dataclass(frozen=True)
class Unreadable:
    """A row that is no row: wrong number of cells, no JSON object."""

    reason: str
    raw: str


@dataclass(frozen=True)
class Source:
    """An open file: what it is, and its rows as (line number from 1, cells | object | Unreadable)."""

    format: Format
    encoding: str
    delimiter: str | None
    header: tuple[str, ...] | None  # None for JSON objects
    rows: Iterator[tuple[int, Any]]
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
            columns, rows = _rows(text, kind, sign, header, tuple(names))
            yield Source(kind, name, sign, columns, rows, path.stat().st_size, raw.tell)
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


def _rows(
    text: TextIO, kind: Format, delimiter: str | None, header: bool, names: tuple[str, ...]
) -> tuple[tuple[str, ...] | None, Iterator[tuple[int, Any]]]:
    if kind == "jsonl":
        return None, _json_rows(text)
    cells = _csv_cells(text, delimiter or ",") if kind == "csv" else _table_cells(text)
    first = next(cells, None)
    if first is not None and kind == "csv" and len(first[1]) <= 2 and first[1][0].casefold().startswith("sep="):
        first = next(cells, None)  # what Excel writes for itself
    if first is None:
        return names, iter(())
    if header:
        columns = tuple(cell.strip() for cell in first[1])
        return columns, _even(cells, len(columns), delimiter)
    columns = names or tuple(str(number) for number in range(1, len(first[1]) + 1))

    def with_first() -> Iterator[tuple[int, list[str]]]:
        yield first
        yield from cells

    return columns, _even(with_first(), len(columns), delimiter)


def _csv_cells(text: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # The limit is the csv module's only global; a larger one harms nobody.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    lines: list[str] = []  # of the row at hand
    reader = csv.reader(_noted(text, lines), delimiter=delimiter)
    line = 1
    try:
        for cells in reader:
            if len(lines) > 1 and sum(each.count('"') for each in lines) % 2:
                # The rest of the file is in one cell; the module takes the end of the file for its end.
                raise csv.Error("its last cell has no end")
            lines.clear()
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"the row that begins in line {line} cannot be read: {error}", "perhaps a quotation mark is never closed"
        ) from error


def _noted(text: TextIO, lines: list[str]) -> Iterator[str]:
    for line in text:
        lines.append(line)
        yield line


def _table_cells(text: TextIO) -> Iterator[tuple[int, list[str]]]:
    for line, row in enumerate(text, 1):
        cells = row.split()
        if cells:
            yield line, cells


def _even(cells: Iterator[tuple[int, list[str]]], width: int, delimiter: str | None) -> Iterator[tuple[int, Any]]:
    for line, row in cells:
        if len(row) == width:
            yield line, row
        elif len(row) > width and not any(row[width:]):
            yield line, row[:width]  # a spreadsheet's empty columns
        elif any(cell.strip() for cell in row):
            yield line, Unreadable(f"{len(row)} cells where the header has {width}", raw_text(row, delimiter))


def _json_rows(text: TextIO) -> Iterator[tuple[int, Any]]:
    for line, row in enumerate(text, 1):
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
