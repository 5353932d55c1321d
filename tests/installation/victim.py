"""A process to be killed: it gives a folder one new token after the other, as passes that send do.

python -m tests.installation.victim SHOP DATABASE_URL
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from winback.installation import advance
from winback.project import load_project
from winback.store import open_engine


def main(shop: str, url: str) -> None:
    """Go on until somebody ends it; say when it has begun, and what went wrong."""
    engine = open_engine(url)
    project = load_project(Path(shop), environ={})
    while True:
        refusal = advance(engine, project, datetime.now(UTC))
        print("here" if refusal is None else refusal, flush=True)  # noqa: T201 - what the test waits for


if __name__ == "__main__":
    main(*sys.argv[1:])
