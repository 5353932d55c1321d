"""The console: messages printed instead of sent, to read along while trying things out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import ClassVar, Literal, TextIO

from pydantic import Field

from winback.gateways.base import Accepted, Channel, Gateway, Options, Outcome, Outgoing, Retry, Sender
from winback.gsm import count_segments


class ConsoleOptions(Options):
    """Where messages are printed, and how much of them."""

    # Not the standard output: there stands what a command was asked for, as in `winback run -o json`.
    stream: Literal["stdout", "stderr"] = Field("stderr", description="Where messages are printed.", examples=["stdout"])
    lines: int = Field(40, ge=1, description="At most so many lines of a message are printed.", examples=[40])


class _ConsoleSender(Sender):
    def __init__(self, stream: TextIO, lines: int) -> None:
        self._stream = stream
        self._lines = lines

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        for message in messages:
            on_handover(message.message_id)
            try:
                self._print(message)
            except (OSError, ValueError) as error:  # a pipe whose reader is gone, a stream that was closed
                yield message.message_id, Retry(f"the console cannot be written: {error}", whole_gateway=True)
            else:
                yield message.message_id, Accepted(message.message_id, reply="printed")

    def _print(self, message: Outgoing) -> None:
        text = "\n".join([*_head(message), "", *self._body(message), "", ""])
        encoding = self._stream.encoding or "utf-8"
        # What the terminal's character set does not have is shown by its number: printing never fails for a letter.
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()

    def _body(self, message: Outgoing) -> list[str]:
        lines = _text_of(message).rstrip().splitlines()
        more = len(lines) - self._lines
        shown = [f"  {_printable(line)}".rstrip() for line in lines[: self._lines]]
        return [*shown, f"  … {more} more line{'s' if more > 1 else ''}"] if more > 0 else shown


class ConsoleGateway(Gateway):
    """Print each message: who gets it, its subject, and its text."""

    type: ClassVar[str] = "console"
    channels: ClassVar[frozenset[Channel]] = frozenset({"email", "sms"})
    Options = ConsoleOptions
    options: ConsoleOptions

    def __init__(self, options: ConsoleOptions, *, name: str, root: Path, stream: TextIO | None = None) -> None:
        """Keep the options; a `stream` that is given is printed to instead of the one that they name."""
        super().__init__(options, name=name, root=root)
        self._stream = stream

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        yield _ConsoleSender(self._console, self.options.lines)

    def check(self) -> list[str]:
        try:
            self._console.write("")
            self._console.flush()
        except (OSError, ValueError) as error:
            return [f"the console cannot be written: {error}; run winback where there is one, or take another gateway"]
        return []

    @property
    def _console(self) -> TextIO:
        if self._stream is not None:
            return self._stream
        return sys.stdout if self.options.stream == "stdout" else sys.stderr


def _head(message: Outgoing) -> list[str]:
    if message.channel == "email":
        lines = [f"E-mail to {message.recipient}", f"  From:    {message.sender}", f"  Subject: {message.subject}"]
    else:
        segments = count_segments(message.text)
        parts = f"{segments.count} part{'s' if segments.count != 1 else ''}, {segments.encoding}"
        sender = f" from {message.sender}" if message.sender else ""
        lines = [f"SMS to {message.recipient}{sender} ({parts})"]
    return [_printable(line) for line in [*lines, f"  Id:      {message.message_id}"]]


def _text_of(message: Outgoing) -> str:
    if message.channel != "email":
        return message.text
    letter = message_from_bytes(message.content, policy=default)
    part = letter.get_body(("plain",)) if isinstance(letter, EmailMessage) else None
    try:
        return str(part.get_content()) if part is not None else "(this letter has no text part)"
    except (LookupError, ValueError):
        return "(the text part of this letter cannot be read)"


def _printable(line: str) -> str:
    """Return a line without control characters: a text from a template must not move the cursor or colour the screen."""
    return "".join(character if character.isprintable() else " " for character in line)
