"""A small IMAP server on loopback (RFC 3501), just what reading a mailbox takes, that misbehaves on request.

::

    with imap_server(users={"bounces": "secret"}) as server:
        uid = server.add(b"From: …")             # into INBOX
        ...                                      # read it from 127.0.0.1, server.port
        assert server.flags(uid) == {r"\\Seen"}

What no keyword says can be said by a script, which is asked before every reply::

    def script(command: Command) -> Answer:
        return CLOSE if command.verb == "FETCH" and command.number == 2 else None
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

#: What a script answers: a line in place of the usual ones (`{tag}` becomes the command's), an action, or None for the usual.
CLOSE, HANG, DRIP = object(), object(), object()
Answer = Any


@dataclass(frozen=True)
class Command:
    """What a client asks; `number` counts this verb over all connections, from 1."""

    verb: str
    line: str
    number: int


@dataclass
class Mail:
    """A mail in a folder."""

    uid: int
    content: bytes
    arrived: date
    flags: set[str] = field(default_factory=set)


@dataclass
class Behaviour:
    """How the server behaves; every field is a keyword of `imap_server`."""

    users: Mapping[str, str] = field(default_factory=dict)  # name to password or token
    tls: Literal["none", "starttls", "implicit"] = "none"
    tls_context: ssl.SSLContext | None = None
    capabilities: str = "IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2"
    greeting: str = "* OK ready"
    uid_after_content: bool = False  # tell the UID behind a mail's content
    script: Callable[[Command], Answer] = lambda command: None


class ImapServer:
    """The running server, an event loop in a thread of its own. What it saw is in its public attributes."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.folders: dict[str, list[Mail]] = {"INBOX": []}
        self.validity = 1
        self.commands: list[str] = []
        self.logins: list[tuple[str, bool]] = []  # who, and whether encrypted
        self.failures: list[BaseException] = []  # of the server itself
        self.counts: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def add(self, content: bytes, folder: str = "INBOX", *, arrived: datetime | None = None) -> int:
        """Put a mail into a folder; return its UID."""
        mails = self.folders.setdefault(folder, [])
        uid = max((mail.uid for mail in mails), default=0) + 1
        mails.append(Mail(uid, content, (arrived or datetime.now(UTC)).date()))
        return uid

    def flags(self, uid: int, folder: str = "INBOX") -> set[str]:
        """Return the flags of a mail."""
        return next(mail.flags for mail in self.folders[folder] if mail.uid == uid)

    def asked(self, verb: str) -> list[str]:
        """Return the commands with a verb."""
        return [line for line in self.commands if f" {verb} " in f"{line} "]

    def stop(self) -> None:
        """Close everything and wait until the thread has ended; raise what went wrong in the server itself."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        assert self.failures == []

    async def _listen(self) -> asyncio.Server:
        context = self.behaviour.tls_context if self.behaviour.tls == "implicit" else None
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await _Session(self, reader, writer).run()
        except (OSError, EOFError, asyncio.CancelledError, ssl.SSLError):
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


class _Gone(EOFError):  # noqa: N818 - the end of a conversation, not an error
    """The conversation is over."""


class _Session:
    def __init__(self, server: ImapServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._behaviour = server.behaviour
        self._reader = reader
        self._writer = writer
        self._encrypted = self._behaviour.tls == "implicit"
        self._in = False
        self._folder = ""

    async def run(self) -> None:
        await self._say(self._behaviour.greeting)
        while True:
            line = await self._line()
            tag, _, words = line.partition(" ")
            verb = words.partition(" ")[0].upper()
            if verb == "UID":
                words = words.partition(" ")[2]
                verb = words.partition(" ")[0].upper()
            self._server.commands.append(re.sub(r"(LOGIN \S+ ).*", r"\1***", line))
            self._server.counts[verb] += 1
            if not await self._scripted(Command(verb, line, self._server.counts[verb]), tag):
                await getattr(self, f"_{verb.lower()}")(tag, words.partition(" ")[2])

    async def _scripted(self, command: Command, tag: str) -> bool:
        answer = self._behaviour.script(command)
        if answer is None:
            return False
        if answer is CLOSE:
            raise _Gone
        if answer is HANG:
            await asyncio.Event().wait()
        if answer is DRIP:
            while True:
                self._writer.write(b"*")
                await self._writer.drain()
                await asyncio.sleep(0.02)
        self._writer.write(answer if isinstance(answer, bytes) else f"{answer.format(tag=tag)}\r\n".encode())
        await self._writer.drain()
        return True

    async def _line(self) -> str:
        line = await self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise _Gone
        return line[:-2].decode()

    async def _say(self, *lines: str) -> None:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self._writer.drain()

    async def _capability(self, tag: str, rest: str) -> None:
        more = " STARTTLS" if self._behaviour.tls == "starttls" and not self._encrypted else ""
        await self._say(f"* CAPABILITY {self._behaviour.capabilities}{more}", f"{tag} OK done")

    async def _starttls(self, tag: str, rest: str) -> None:
        if self._behaviour.tls != "starttls":
            await self._say(f"{tag} BAD not here")
            return
        await self._say(f"{tag} OK begin")
        assert self._behaviour.tls_context is not None
        await self._writer.start_tls(self._behaviour.tls_context)
        self._encrypted = True

    async def _login(self, tag: str, rest: str) -> None:
        name, password = (word.strip('"') for word in rest.split(" ", 1))
        await self._admit(tag, name, password)

    async def _authenticate(self, tag: str, rest: str) -> None:
        await self._say("+ ")
        words = base64.b64decode(await self._line()).decode()
        if rest.upper() == "PLAIN":
            _, name, password = words.split("\0")
        else:
            user, bearer, *_ = words.split("\1")
            name, password = user.removeprefix("user="), bearer.removeprefix("auth=Bearer ")
            if self._behaviour.users.get(name) != password:
                await self._say("+ " + base64.b64encode(b'{"status":"400"}').decode())
                assert await self._line() == "", "an error of XOAUTH2 has to be answered by an empty line"
        await self._admit(tag, name, password)

    async def _admit(self, tag: str, name: str, password: str) -> None:
        if self._behaviour.users.get(name) != password:
            await self._say(f"{tag} NO [AUTHENTICATIONFAILED] Invalid credentials")
            return
        self._in = True
        self._server.logins.append((name, self._encrypted))
        await self._say(f"{tag} OK welcome")

    async def _select(self, tag: str, rest: str) -> None:
        await self._open(tag, rest, "READ-WRITE")

    async def _examine(self, tag: str, rest: str) -> None:
        await self._open(tag, rest, "READ-ONLY")

    async def _open(self, tag: str, rest: str, mode: str) -> None:
        assert self._in, "not logged in"
        folder = rest.removeprefix('"').removesuffix('"')
        if folder not in self._server.folders:
            await self._say(f"{tag} NO Mailbox doesn't exist: {folder}")
            return
        self._folder = folder
        count = len(self._server.folders[folder])
        validity = f"* OK [UIDVALIDITY {self._server.validity}] valid"
        await self._say(f"* {count} EXISTS", "* 0 RECENT", validity, f"{tag} OK [{mode}] done")

    @property
    def _mails(self) -> list[Mail]:
        return self._server.folders[self._folder]

    async def _search(self, tag: str, rest: str) -> None:
        key, value = rest.split(" ")
        if key == "UID":
            first = int(value.partition(":")[0])
            found = [mail.uid for mail in self._mails if mail.uid >= first] or [mail.uid for mail in self._mails][-1:]
        else:
            since = datetime.strptime(value, "%d-%b-%Y").replace(tzinfo=UTC).date()
            found = [mail.uid for mail in self._mails if mail.arrived >= since]
        await self._say("* SEARCH " + " ".join(map(str, found)), f"{tag} OK done")

    async def _fetch(self, tag: str, rest: str) -> None:
        numbers, what = rest.split(" ", 1)
        wanted = re.fullmatch(r"\(UID BODY\.PEEK\[\]<0\.(\d+)>\)", what)
        assert wanted is not None, f"not understood: {what}"
        for place, mail in enumerate(self._mails, 1):
            if str(mail.uid) in numbers.split(","):
                part = mail.content[: int(wanted[1])]
                uid = f"UID {mail.uid}"
                before, after = ("", f" {uid}") if self._behaviour.uid_after_content else (f"{uid} ", "")
                self._writer.write(f"* {place} FETCH ({before}BODY[]<0> {{{len(part)}}}\r\n".encode() + part)
                await self._say(f"{after})")
        await self._say(f"{tag} OK done")

    async def _store(self, tag: str, rest: str) -> None:
        numbers, action, flags = rest.split(" ", 2)
        assert action == "+FLAGS.SILENT"
        for mail in self._mails:
            if str(mail.uid) in numbers.split(","):
                mail.flags |= set(flags.strip("()").split())
        await self._say(f"{tag} OK done")

    async def _logout(self, tag: str, rest: str) -> None:
        await self._say("* BYE", f"{tag} OK bye")
        raise _Gone


@contextmanager
def imap_server(**behaviour: object) -> Iterator[ImapServer]:
    """Run a server on a free port of 127.0.0.1 that behaves as the fields of `Behaviour` say."""
    server = ImapServer(Behaviour(**behaviour))  # type: ignore[arg-type]
    try:
        yield server
    finally:
        with contextlib.suppress(RuntimeError):
            server.stop()
