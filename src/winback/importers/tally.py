"""Count what becomes of rows, and write down those that were refused."""

from __future__ import annotations

import csv
import os
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from winback.importers.result import RowProblem

#: How many problems a result carries by itself; all of them are in the rejects file.
_SHOWN = 100


class Rejects:
    """The rejects file: a CSV of line, severity, reason and the row as it stood. Made with the first row that goes into it."""

    def __init__(self, folder: Path, name: str, now: datetime) -> None:
        self._wanted = folder / f"{name}-{now:%Y%m%d-%H%M%S}.csv"
        self._stream: TextIO | None = None
        self._writer: Any = None
        self.path: Path | None = None

    def write(self, line: int, severity: str, reason: str, raw: str) -> None:
        """Add one row."""
        if self._stream is None:
            self._open()
        self._writer.writerow([line, severity, reason, raw])

    def _open(self) -> None:
        self._wanted.parent.mkdir(parents=True, exist_ok=True)
        number, path = 1, self._wanted
        while path.exists():
            number += 1
            path = self._wanted.with_stem(f"{self._wanted.stem}-{number}")
        # Rows hold personal data: nobody else on this machine needs to read them.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.writer(self._stream)
        self._writer.writerow(["line", "severity", "reason", "row"])
        self.path = path

    def close(self) -> None:
        """Finish the file."""
        if self._stream is not None:
            self._stream.close()


class Tally:
    """What became of the rows so far."""

    def __init__(self, rejects: Rejects | None, shown: int | None = _SHOWN) -> None:
        self.rows = 0
        self.rejected = 0
        self.warnings = 0
        self.unchanged = 0  # rows that were read and left alone: superseded within the file, or of an erased person
        self.reasons: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()  # each told after its number
        self.problems: list[RowProblem] = []
        self._rejects = rejects
        self._shown = shown

    def reject(self, line: int, reason: str, detail: str, raw: str) -> None:
        """Refuse a row."""
        self.rejected += 1
        self._keep(line, "rejected", reason, detail, raw)

    def warn(self, line: int, reason: str, detail: str, raw: str) -> None:
        """Note a value that was left out of a row that is kept."""
        self.warnings += 1
        self._keep(line, "warning", reason, detail, raw)

    def _keep(self, line: int, severity: str, reason: str, detail: str, raw: str) -> None:
        self.reasons[reason] += 1
        text = f"{reason}: {detail}" if detail else reason
        if self._shown is None or len(self.problems) < self._shown:
            self.problems.append(RowProblem(line, text, severity == "rejected"))
        if self._rejects is not None:
            self._rejects.write(line, severity, text, raw)
