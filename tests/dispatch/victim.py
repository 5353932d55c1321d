"""A dispatcher to be killed: it sends what is due, and hangs at a point of a message until somebody does.

python -m tests.dispatch.victim SHOP DATABASE_URL NOW WORLD POINT NUMBER
"""

from __future__ import annotations

import signal
import sys
from datetime import datetime
from pathlib import Path

from tests.dispatch.gateways import Filed
from winback.dispatch import dispatch
from winback.project import load_project
from winback.store import open_engine


def main(shop: str, url: str, now: str, world: str, point: str, number: str) -> None:
    """Send until the point is reached, say so, and wait for the end."""
    seen = 0

    def hang_at(where: str, _: int) -> None:
        nonlocal seen
        if where != point:
            return
        seen += 1
        if seen == int(number):
            print("here", flush=True)  # noqa: T201 - what the test waits for
            signal.pause()

    at = datetime.fromisoformat(now)
    project = load_project(Path(shop), environ={})
    result = dispatch(
        open_engine(url), project, worker="victim", clock=lambda: at, gateways={"outbox": Filed(Path(world), hang_at)}
    )
    print("done", result, flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    main(*sys.argv[1:])
