"""Where a process spends its time: what it is at, looked at once for each millisecond of CPU, counted by part of the program."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import winback

#: The parts of winback, each the beginning of a module's path; the first that fits an innermost frame counts.
PARTS: tuple[tuple[str, str], ...] = (
    ("gateways/smtp", "SMTP: bytes out, replies in (asyncio and the kernel with it)"),
    ("dispatch/journal", "journal: a line before and after each message"),
    ("dispatch/recipients", "recipients: customers, orders and lines read for templates"),
    ("dispatch/linking", "links: their ids"),
    ("compose/outline", "outlines: values and signed links put into prepared pieces"),
    ("compose/tokens", "links: signed addresses"),
    ("compose/links", "links: signed addresses"),
    ("compose/mime", "MIME: headers, quoted-printable, the parts joined"),
    ("compose/rec", "templates rendered"),
    ("compose/render", "templates rendered"),
    ("compose", "composing: all else"),
    ("ledger/claims", "ledger: claims"),
    ("ledger", "ledger: answers and history"),
    ("policy", "rules asked again"),
    ("dispatch", "dispatching: all else"),
    ("store", "transactions: begin and commit, with the disk's flush"),
)

_HOME = str(Path(winback.__file__).parent)


@contextmanager
def counting(counts: Counter[str]) -> Iterator[None]:
    """Count what the main thread is at while the block runs; only time on the CPU counts, not what it waits."""

    def look(_signal: int, frame: FrameType | None) -> None:
        counts[_part(frame)] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _part(frame: FrameType | None) -> str:
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_HOME):
            place = name[len(_HOME) + 1 :]
            return next((part for start, part in PARTS if place.startswith(start)), place)
        if name == "<template>" or name.endswith((".email.html", ".email.txt", ".toml")):
            return "templates rendered"
        frame = frame.f_back
    return "all else"
