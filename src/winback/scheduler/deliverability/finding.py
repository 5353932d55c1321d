"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found: `ok` is None where it cannot be told from here. The remedy is what to do, or where to look."""

    name: str
    ok: bool | None
    message: str
    remedy: str = ""
