"""What a running winback says: one line for each event, its name and fields, never anything personal."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, TextIO

_logger = logging.getLogger("winback")


def say(event: str, **fields: Any) -> None:
    """Write a line: the event's name and its fields; those that are None are left out."""
    shown = (f"{name}={_shown(value)}" for name, value in fields.items() if value is not None)
    _logger.info(" ".join((event, *shown)))


def to(stream: TextIO) -> None:
    """Send the lines to a stream, each with its time; what parts of others say is left to warnings."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _logger.setLevel(logging.INFO)
    # A tick that comes while a long pass is running is left out on purpose; that is no warning.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - the base class's name
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return text if text and all(letter.isprintable() and letter not in ' "=' for letter in text) else json.dumps(text)
