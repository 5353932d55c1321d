"""The outbox: messages as files instead of real ones, to look at before anything is sent."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from winback import clock
from winback.gateways.base import Accepted, Channel, Gateway, Options, Outcome, Outgoing, Retry, Sender


class OutboxOptions(Options):
    """Where the files go."""

    folder: Path = Field(
        Path("var/outbox"), description="Where the files go, relative to the shop's folder.", examples=["var/outbox"]
    )


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message in the outbox: its JSON, and the file with the e-mail itself where it is one."""

    message_id: str
    channel: Channel
    recipient: str
    sender: str
    subject: str
    text: str
    at: datetime
    eml: Path | None


class _OutboxSender(Sender):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        for message in messages:
            on_handover(message.message_id)
            try:
                yield message.message_id, self._write(message)
            except OSError as error:
                yield message.message_id, Retry(f"the outbox cannot be written: {error.strerror}", whole_gateway=True)

    def _write(self, message: Outgoing) -> Accepted:
        at = message.at or clock.now()
        month = self._folder / f"{at:%Y-%m}"
        month.mkdir(parents=True, exist_ok=True)
        if message.channel == "email":
            _write_whole(month / f"{message.message_id}.eml", message.content)
        about = {
            "message_id": message.message_id,
            "channel": message.channel,
            "recipient": message.recipient,
            "sender": message.sender,
            "subject": message.subject,
            "text": message.text,
            "at": at.isoformat(),
        }
        # Written last: where the JSON is, the message is whole.
        _write_whole(month / f"{message.message_id}.json", json.dumps(about, ensure_ascii=False, indent=2).encode())
        return Accepted(provider_id=message.message_id, reply=f"written to {month.name}/{message.message_id}")


class OutboxGateway(Gateway):
    """Write each message into a folder: an `.eml` that mail programs open, and a `.json` about it."""

    type: ClassVar[str] = "outbox"
    channels: ClassVar[frozenset[Channel]] = frozenset({"email", "sms"})
    Options = OutboxOptions
    options: OutboxOptions

    @property
    def folder(self) -> Path:
        """Return the folder, one subfolder a month."""
        return self.root / self.options.folder

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        yield _OutboxSender(self.folder)

    def settle(self, message_ids: Sequence[str]) -> dict[str, Outcome | None]:
        """Look for the files: what is not there was never written. A folder that cannot be read tells nothing."""
        try:
            months = [entry.path for entry in os.scandir(self.folder)]
        except FileNotFoundError:
            months = []
        except OSError:
            return dict.fromkeys(message_ids)
        return {message_id: _settle(months, message_id) for message_id in message_ids}

    def check(self) -> list[str]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                return []
        except OSError as error:
            return [f"the folder {self.folder} cannot be written: {error.strerror}; make it writable or set another folder"]


def _settle(months: Sequence[str], message_id: str) -> Outcome:
    # Through UUID, so that an id from elsewhere names no other file.
    if any(Path(month, f"{UUID(message_id)}.json").exists() for month in months):
        return Accepted(provider_id=message_id, reply="found in the outbox")
    return Retry("not in the outbox")


def read_outbox(folder: Path, limit: int = 100) -> list[OutboxMessage]:
    """Return the newest messages of an outbox folder."""
    files = sorted(folder.glob("*/*.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    return [_read(file) for file in files[:limit]]


def remove_from_outbox(folder: Path, message_ids: Iterable[str]) -> int:
    """Remove what an outbox folder has of these messages; return of how many. Raise OSError for files that cannot be removed."""
    removed = 0
    for message_id in message_ids:
        # Through UUID, so that an id from elsewhere names no other file.
        files = [file for end in ("eml", "json") for file in folder.glob(f"*/{UUID(message_id)}.{end}")]
        for file in files:
            file.unlink(missing_ok=True)
        removed += bool(files)
    return removed


def _read(file: Path) -> OutboxMessage:
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    eml = file.with_suffix(".eml")
    at = datetime.fromisoformat(about.pop("at")).astimezone(UTC)
    return OutboxMessage(**about, at=at, eml=eml if eml.exists() else None)


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
