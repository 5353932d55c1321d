"""A real SMTP server on loopback that records what it gets, byte for byte, and misbehaves on request.

::

    with smtp_server(refuse={"bob@example.com": "550 5.1.1 No such user"}) as server:
        ...                                      # send to 127.0.0.1, server.port
        [letter] = server.messages               # .sender .recipient .content

What no keyword of `smtp_server` says can be said by a script, which is asked before every reply::

    def script(event: Event) -> Answer:
        if event.verb == "MAIL" and event.message == 3:
            return Bye("421 4.3.2 too busy")
        return None                              # as usual

    with smtp_server(script=script) as server: ...
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Literal


@dataclass(frozen=True, slots=True)
class Received:
    """A message that this server took responsibility for. `content` is what the client meant: unstuffed, with CRLF."""

    sender: str
    recipient: str
    content: bytes
    connection: int  # which connection brought it, from 0
    parameters: str = ""  # of MAIL: "SIZE=123 BODY=8BITMIME"
    user: str | None = None  # who was logged in


@dataclass(frozen=True, slots=True)
class Event:
    """What the server is about to answer. `message` counts the connection's messages from 0, refused ones too.

    `verb` is the command's, or GREETING, CONTENT (the first bytes after 354 are there) or END (the final dot is).
    """

    verb: str
    line: str
    connection: int
    message: int
    recipient: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection without a word; with `keep`, after the message was taken (for END)."""

    keep: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing more and keep the connection open; with `keep`, after the message was taken (for END)."""

    keep: bool = False


@dataclass(frozen=True, slots=True)
class Bye:
    """Say this and close the connection."""

    reply: str


#: What a script answers: a reply (lines by newline, "250-first\n250 last"), an action, or None for the usual.
Answer = str | Close | Hang | Bye | None


@dataclass(slots=True)
class Behaviour:
    """How the server behaves; every field is a keyword of `smtp_server`."""

    host: str = "127.0.0.1"
    greeting: str = "220 mail.test ESMTP ready"
    pipelining: bool = True
    size: int | None = 35_000_000
    extensions: tuple[str, ...] = ("8BITMIME", "ENHANCEDSTATUSCODES")  # further lines of the EHLO reply
    refuse: Mapping[str, str] = field(default_factory=dict)  # reply to RCPT by recipient
    refuse_content: Mapping[str, str] = field(default_factory=dict)  # reply to the final dot by recipient
    data_anyway: bool = False  # answer DATA with 354 also when no recipient is left (RFC 2920 section 3.1)
    tls: Literal["none", "starttls", "implicit"] = "none"
    tls_context: ssl.SSLContext | None = None
    inject: bytes = b""  # sent in the clear together with the reply to STARTTLS
    users: Mapping[str, str] = field(default_factory=dict)  # name to password or token; with any, MAIL needs AUTH
    mechanisms: str = "PLAIN LOGIN XOAUTH2"
    goodbye_after: int | None = None  # messages of one connection after which MAIL is answered with 421
    close_after: int | None = None  # messages of one connection after which it is closed right away
    connections: int | None = None  # more at a time are turned away with 421
    idle: float | None = None  # seconds without a byte after which the connection is closed
    slow: float = 0  # seconds before each reply
    trickle: float = 0  # seconds before each 64 KB of content is read
    dribble: bool = False  # send replies byte by byte
    script: Callable[[Event], Answer] = lambda event: None


class SmtpServer:
    """The running server, one thread for each connection. What it saw is in its public attributes."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.host = behaviour.host
        self.messages: list[Received] = []
        self.commands: list[str] = []  # of all connections, as they came
        self.received: list[bytearray] = []  # the raw bytes of each connection, after decryption
        self.violations: list[str] = []  # what a client must not do
        self.stopping = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._admitted: set[int] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._ids = (f"{number:06X}" for number in count(1))
        self._listener = socket.create_server((self.host, 0), backlog=128)
        if behaviour.trickle:
            # Else the system takes megabytes in advance.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def connections(self) -> int:
        """Count the connections that were ever opened."""
        return len(self.received)

    @property
    def open_connections(self) -> int:
        """Count the connections that are open now."""
        with self._lock:
            return len(self._sockets)

    def close_connections(self) -> None:
        """Close every open connection, as a restart of the server would; go on listening."""
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Close everything and wait until every thread has ended."""
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()
        for thread in self._threads:
            thread.join(timeout=10)
            assert not thread.is_alive(), "a thread of the SMTP server does not end"

    def take(self, message: Received) -> str:
        """Keep a message and return its queue id."""
        with self._lock:
            self.messages.append(message)
            return next(self._ids)

    def replace(self, plain: socket.socket, encrypted: socket.socket) -> None:
        """Know a connection by its encrypted socket from now on."""
        with self._lock:
            self._sockets.discard(plain)
            self._sockets.add(encrypted)

    def admit(self, number: int) -> bool:
        """Say whether one more connection may be served."""
        limit = self.behaviour.connections
        with self._lock:
            if limit is not None and len(self._admitted) >= limit:
                return False
            self._admitted.add(number)
            return True

    def forget(self, connected: socket.socket, number: int) -> None:
        """Close a connection's socket."""
        with self._lock:
            self._sockets.discard(connected)
            self._admitted.discard(number)
        connected.close()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            # Replies are written one by one; without this the second would wait for the client's delayed acknowledgement.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets.add(connected)
                number = len(self.received)
                self.received.append(bytearray())
            self._start(_Session(self, connected, number).run)


class _Gone(Exception):  # noqa: N818 - the end of a conversation, not an error
    """The conversation is over."""


class _Session:
    """One connection."""

    def __init__(self, server: SmtpServer, connected: socket.socket, number: int) -> None:
        self._server = server
        self._behaviour = server.behaviour
        self._socket = connected
        self._number = number
        self._buffer = b""
        self._secure = False
        self._user: str | None = None
        self._message = 0
        self._taken = 0
        self._extended = False
        self._reset()

    def run(self) -> None:
        try:
            self._socket.settimeout(self._behaviour.idle)
            if self._behaviour.tls == "implicit":
                self._encrypt()
            if not self._server.admit(self._number):
                self._reply("421 4.7.0 too many connections from you")
                return
            self._answer("GREETING", "", self._behaviour.greeting)
            while True:
                line = self._line()
                self._server.commands.append(line)
                self._command(line)
        except TimeoutError:
            with contextlib.suppress(OSError):
                self._reply("421 4.4.2 idle for too long")
        except (_Gone, OSError):
            pass
        finally:
            self._server.forget(self._socket, self._number)

    def _reset(self) -> None:
        self._sender: str | None = None
        self._parameters = ""
        self._recipient = ""

    # What comes and goes

    def _more(self) -> None:
        chunk = self._socket.recv(65536)
        if not chunk:
            raise _Gone
        self._server.received[self._number] += chunk
        self._buffer += chunk

    def _line(self) -> str:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("utf-8")

    def _reply(self, text: str) -> None:
        self._server.stopping.wait(self._behaviour.slow)
        raw = text.replace("\n", "\r\n").encode() + b"\r\n"
        if not self._behaviour.dribble:
            self._socket.sendall(raw)
            return
        for byte in raw:
            self._socket.sendall(bytes([byte]))

    def _answer(self, verb: str, line: str, usual: str | Callable[[], str]) -> str:
        """Reply as the script wants, else as usual, and return the reply."""
        answer = self._asked(verb, line)
        if answer is None:
            answer = usual if isinstance(usual, str) else usual()
        self._reply(answer)
        return answer

    def _asked(self, verb: str, line: str) -> str | None:
        answer = self._behaviour.script(Event(verb, line, self._number, self._message, self._recipient))
        match answer:
            case Bye(reply):
                self._reply(reply)
                raise _Gone
            case Close(keep) | Hang(keep):
                if keep:
                    self._keep()
                if isinstance(answer, Hang):
                    self._server.stopping.wait()
                raise _Gone
        return answer

    # Commands

    def _command(self, line: str) -> None:
        verb = line.partition(" ")[0].upper()
        # RFC 2920 section 3.1: these end a group, whether or not the server offers pipelining.
        last = verb in ("EHLO", "HELO", "DATA", "QUIT", "NOOP", "AUTH", "STARTTLS")
        if self._buffer and (last or not self._behaviour.pipelining):
            self._violation(f"{len(self._buffer)} bytes came after {verb} without waiting for its reply")
        handler = getattr(self, f"_{verb.lower()}", None) if verb.isalpha() else None
        if handler is None:
            self._reply("500 5.5.2 what was that?")
            return
        handler(line)

    def _violation(self, what: str) -> None:
        self._server.violations.append(f"connection {self._number}: {what}")

    def _ehlo(self, line: str) -> None:
        self._reset()
        self._extended = True
        behaviour = self._behaviour
        extensions = [
            *(["PIPELINING"] if behaviour.pipelining else []),
            *([f"SIZE {behaviour.size}"] if behaviour.size is not None else []),
            *(["STARTTLS"] if behaviour.tls == "starttls" and not self._secure else []),
            *([f"AUTH {behaviour.mechanisms}"] if behaviour.users else []),
            *behaviour.extensions,
        ]
        lines = ["mail.test greets you", *extensions]
        usual = "\n".join(f"250{' ' if each is lines[-1] else '-'}{each}" for each in lines)
        self._answer("EHLO", line, usual)

    def _helo(self, line: str) -> None:
        self._reset()
        self._answer("HELO", line, "250 mail.test")

    def _starttls(self, line: str) -> None:
        if self._behaviour.tls != "starttls" or self._secure:
            self._reply("502 5.5.1 not here")
            return
        if self._asked("STARTTLS", line) is not None:
            self._reply("454 4.7.0 TLS not available due to temporary reason")
            return
        self._socket.sendall(b"220 2.0.0 go ahead\r\n" + self._behaviour.inject)
        self._encrypt()

    def _encrypt(self) -> None:
        assert self._behaviour.tls_context is not None, "TLS needs tls_context"
        plain = self._socket
        # Wrapping takes the plain socket's descriptor away, so the server must know the new one before anything can hang.
        self._socket = self._behaviour.tls_context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._server.replace(plain, self._socket)
        self._socket.do_handshake()
        self._secure = True
        # RFC 3207 section 4.2: both sides forget what was said in the clear.
        self._buffer = b""
        self._user = None
        self._reset()

    def _auth(self, line: str) -> None:
        _, mechanism, *initial = line.split(" ")
        login = {"PLAIN": self._auth_plain, "LOGIN": self._auth_login, "XOAUTH2": self._auth_xoauth2}[mechanism.upper()]
        name, password = login(initial[0] if initial else None)
        right = self._behaviour.users.get(name) == password
        if right:
            self._user = name
        usual = "235 2.7.0 welcome" if right else "535 5.7.8 Error: authentication failed"
        self._answer("AUTH", line, usual)

    def _asks(self, challenge: str) -> str:
        self._reply(f"334 {challenge}")
        return self._line()

    def _auth_plain(self, initial: str | None) -> tuple[str, str]:
        _, name, password = base64.b64decode(initial or self._asks("")).decode().split("\0")
        return name, password

    def _auth_login(self, initial: str | None) -> tuple[str, str]:
        name = initial or self._asks("VXNlcm5hbWU6")
        password = self._asks("UGFzc3dvcmQ6")
        return base64.b64decode(name).decode(), base64.b64decode(password).decode()

    def _auth_xoauth2(self, initial: str | None) -> tuple[str, str]:
        user, bearer, *_ = base64.b64decode(initial or self._asks("")).decode().split("\1")
        name, token = user.removeprefix("user="), bearer.removeprefix("auth=Bearer ")
        if self._behaviour.users.get(name) != token:
            # As Google does: the reason as a challenge, to be answered by an empty line.
            error = base64.b64encode(b'{"status":"400","schemes":"Bearer"}').decode()
            if self._asks(error):
                self._violation("XOAUTH2's error was not answered by an empty line")
        return name, token

    def _mail(self, line: str) -> None:
        if self._sender is not None:
            self._violation("MAIL inside a transaction")
            self._reply("503 5.5.1 nested MAIL command")
            return
        if self._behaviour.users and self._user is None:
            self._answer("MAIL", line, "530 5.7.0 Authentication required")
            return
        limit = self._behaviour.goodbye_after
        if limit is not None and self._taken >= limit:
            self._reply("421 4.7.0 too many messages on this connection")
            raise _Gone
        path, _, parameters = line.partition(":")[2].partition(" ")
        if parameters and not self._extended:
            self._violation("parameters of MAIL without EHLO")
        reply = self._answer("MAIL", line, "250 2.1.0 Ok")
        if reply.startswith("2"):
            self._sender, self._parameters = path.strip("<>"), parameters

    def _rcpt(self, line: str) -> None:
        recipient = line.partition(":")[2].strip().strip("<>")
        if self._sender is None:
            self._answer("RCPT", line, "503 5.5.1 need MAIL first")
            return
        before, self._recipient = self._recipient, recipient
        reply = self._answer("RCPT", line, self._behaviour.refuse.get(recipient, "250 2.1.5 Ok"))
        if not reply.startswith("2"):
            self._recipient = before

    def _data(self, line: str) -> None:
        if self._recipient or (self._behaviour.data_anyway and self._sender is not None):
            usual = "354 go ahead"
        else:
            usual = "503 5.5.1 need RCPT first" if self._sender is None else "554 5.5.1 no valid recipients"
        if not self._answer("DATA", line, usual).startswith("354"):
            self._message += 1
            return
        self._content()
        self._message += 1
        self._reset()
        if self._behaviour.close_after is not None and self._taken >= self._behaviour.close_after:
            raise _Gone

    def _content(self) -> None:
        if not self._buffer:
            self._more()
        self._asked("CONTENT", "")
        lines: list[bytes] = []
        while True:
            while b"\r\n" not in self._buffer:
                self._server.stopping.wait(self._behaviour.trickle)
                self._more()
            *whole, self._buffer = self._buffer.split(b"\r\n")
            if b"." in whole:
                end = whole.index(b".")
                lines += whole[:end]
                self._buffer = b"\r\n".join([*whole[end + 1 :], self._buffer])
                break
            lines += whole
        for line in lines:
            if b"\n" in line or b"\r" in line:
                self._violation("a bare CR or LF in the content")
                break
        self._stored = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
        if not self._recipient:
            self._reply("554 5.5.1 no valid recipients")
            return
        self._answer("END", "", lambda: self._behaviour.refuse_content.get(self._recipient) or self._keep())

    def _keep(self) -> str:
        self._taken += 1
        queue_id = self._server.take(
            Received(self._sender or "", self._recipient, self._stored, self._number, self._parameters, self._user)
        )
        return f"250 2.0.0 Ok: queued as {queue_id}"

    def _rset(self, line: str) -> None:
        self._reset()
        self._answer("RSET", line, "250 2.0.0 Ok")

    def _noop(self, line: str) -> None:
        self._answer("NOOP", line, "250 2.0.0 Ok")

    def _quit(self, line: str) -> None:
        self._answer("QUIT", line, "221 2.0.0 Bye")
        raise _Gone


@contextmanager
def smtp_server(**behaviour: object) -> Iterator[SmtpServer]:
    """Run a server on a free port of 127.0.0.1 that behaves as the fields of `Behaviour` say."""
    server = SmtpServer(Behaviour(**behaviour))  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.stop()
