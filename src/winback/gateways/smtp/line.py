"""The line to a mail server: bytes out, replies in. It knows nothing of messages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from winback.gateways.smtp.replies import Reply, is_reply_line

#: More than this without an end is no reply.
_LONGEST_REPLY = 64 * 1024

#: Keeps what was said: who ("C" for us, "S" for the server), and a line.
Record = Callable[[str, str], None]


class LineDown(Exception):  # noqa: N818 - what happened to the line, caught where it is opened
    """The line is down, or what comes over it is not SMTP."""


class Listener(Protocol):
    """Who takes what comes over the line once it is ready for messages."""

    def on_reply(self, last: bytes, before: list[bytes]) -> None:
        """Take a reply: its last line, and the ones before."""

    def on_pause(self) -> None:
        """Know that everything that has come was passed on."""

    def on_drained(self) -> None:
        """Know that everything written has left this process."""

    def on_down(self, why: str, error: Exception | None) -> None:
        """Know that nothing comes any more, perhaps for the second time."""


class Line(asyncio.Protocol):
    """A line. While it is being opened, `say` and `reply` are awaited; afterwards a listener takes the replies."""

    def __init__(self, record: Record | None = None) -> None:
        self.down: str | None = None  # why, once it is
        self.listener: Listener | None = None
        self.record = record
        #: What must not be kept even when the server repeats it; while logging in only.
        self.hidden: list[bytes] = []
        #: Done when nothing is left of the connection.
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._rest = b""  # of a line whose end has not come
        self._lines: list[bytes] = []  # of a reply whose end has not come
        self._replies: deque[Reply] = deque()
        self._reader: asyncio.Future[None] | None = None

    # Callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # With 0, asyncio says when nothing that was written is here any more.
        self._transport.set_write_buffer_limits(high=0)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if not self.ended.done():
            self.ended.set_result(None)
        self._end("the connection broke" if error else "the mail server closed the connection", error)

    def resume_writing(self) -> None:
        if self.listener is not None:
            self.listener.on_drained()

    def data_received(self, received: bytes) -> None:
        *lines, self._rest = (self._rest + received).split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r")
            for secret in self.hidden:
                line = line.replace(secret, b"***")
            if self.record is not None:
                self.record("S", line.decode("utf-8", "replace"))
            if not is_reply_line(line):
                self._end("the mail server answers something that is not SMTP", None)
                return
            if line[3:4] == b"-":
                self._lines.append(line)
                continue
            before, self._lines = self._lines, []
            if self.listener is None:
                self._replies.append(Reply.of([*before, line]))
                self._wake()
            else:
                self.listener.on_reply(line, before)
                if self.down is not None:
                    return
        if len(self._rest) + sum(map(len, self._lines)) > _LONGEST_REPLY:
            self._end("the mail server answers without end", None)
        elif self.listener is not None:
            self.listener.on_pause()

    def _end(self, why: str, error: Exception | None) -> None:
        self.down = self.down or why
        self._wake()
        if self.listener is not None:
            self.listener.on_down(why, error)
        self.abort()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # While it is being opened

    async def reply(self) -> Reply:
        """Return the next reply; raise LineDown when none comes any more."""
        while not self._replies:
            if self.down is not None:
                raise LineDown(self.down)
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._replies.popleft()

    async def say(self, words: bytes, *, shown: str | None = None) -> Reply:
        """Send a line and return its reply; `shown` is what may be recorded of it. Raise LineDown when none comes any more."""
        if self.record is not None:
            self.record("C", words.decode("utf-8", "replace") if shown is None else shown)
        if self._transport is not None and self.down is None:
            self._transport.write(words + b"\r\n")
        return await self.reply()

    @property
    def has_unread(self) -> bool:
        """Say whether something has come that was not asked for."""
        return bool(self._replies or self._lines or self._rest)

    # At any time

    @property
    def transport(self) -> asyncio.Transport:
        """Return what carries the bytes; raise LineDown when nothing does."""
        if self._transport is None:
            raise LineDown(self.down or "the connection is closed")
        return self._transport

    @property
    def closed(self) -> bool:
        """Say whether nothing is left of the connection."""
        return self._transport is None

    @property
    def unsent(self) -> int:
        """Return how many bytes written have not left this process yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def write(self, words: bytes) -> None:
        """Send bytes; a line that is down swallows them."""
        if self.record is not None:
            for line in words.decode("utf-8", "replace").removesuffix("\r\n").split("\r\n"):
                self.record("C", line)
        if self._transport is not None:
            self._transport.write(words)

    def close(self) -> None:
        """Hang up, after what was written."""
        self.down = self.down or "closed"
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the line at once."""
        self.down = self.down or "cut"
        if self._transport is not None:
            self._transport.abort()
