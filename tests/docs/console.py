"""Read the commands out of a page: the `$ …` lines of its ```console blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One command of a page, at a line; `script` includes the lines of a here-document."""

    page: Path
    line: int
    script: str


def pages() -> list[Path]:
    """Return the README and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[Command]:
    """Return a page's commands in order; lines without `$ ` are output, or belong to the here-document begun above."""
    text = page.read_text(encoding="utf-8")
    found: list[Command] = []
    for block in _BLOCK.finditer(text):
        first_line = text.count("\n", 0, block.start(1)) + 1
        found += _of_block(page, first_line, block.group(1).splitlines())
    return found


def _of_block(page: Path, first_line: int, lines: list[str]) -> list[Command]:
    found: list[Command] = []
    until: str | None = None
    for number, line in enumerate(lines, first_line):
        if until is not None or (found and found[-1].script.endswith("\\")):
            last = found.pop()
            found.append(Command(page, last.line, f"{last.script}\n{line}"))
            if line.strip() == until:
                until = None
            continue
        if not line.startswith("$ "):
            continue
        found.append(Command(page, number, line[2:]))
        here = re.search(r"<<-?\s*'?(\w+)'?", line)
        until = here.group(1) if here else None
    return found
