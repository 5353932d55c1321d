"""Get a line to the mail server ready for messages: reach it, encrypt, say EHLO, log in. Every failure says what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from winback.errors import WinbackError
from winback.gateways.base import Retry
from winback.gateways.smtp.content import Capabilities
from winback.gateways.smtp.line import Line, LineDown, Record
from winback.gateways.smtp.login import choose_mechanism, log_in
from winback.gateways.smtp.options import SmtpOptions
from winback.gateways.smtp.replies import Reply
from winback.gateways.smtp.verdicts import Phase, judge

#: Seconds to wait for one of a server's addresses before its next one is tried: a network whose IPv6 leads nowhere is common.
#: The address that worked is tried first the next time.
_NEXT_ADDRESS = 3.0

#: What is behind us while a line is opened. Without encryption or login it is behind us, too.
Stage = Literal["connected", "encrypted", "logged in"]

_MODES = 'tls = "implicit" is for port 465, "starttls" for 587, "none" for 25'


class CannotOpen(Exception):  # noqa: N818 - what stands in the way, told to people by `winback doctor`
    """No message can go: what is in the way, and what to do."""

    def __init__(self, problem: str, remedy: str, reply: Reply | None = None) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.reply = reply

    def outcome(self) -> Retry:
        """Return what it means for a message."""
        after = self.reply.after if self.reply else None
        return Retry(str(self), after, whole_gateway=True, reply=self.reply.raw if self.reply else "")


class Opener:
    """Opens lines to one mail server."""

    def __init__(self, options: SmtpOptions, root: Path) -> None:
        self._options = options
        self._root = root
        self._context: ssl.SSLContext | None = None
        self._where = f"{options.host}:{options.real_port}"
        self._last_address: object = None
        self._name = ""

    async def open(
        self, record: Record | None = None, reached: Callable[[Stage, Line], None] | None = None
    ) -> tuple[Line, Capabilities]:
        """Return a line that waits for MAIL, and what the server can do. Raise CannotOpen.

        `record` keeps what is said, `reached` hears of each stage that is behind us.
        """
        reached = reached or (lambda stage, line: None)
        options = self._options
        line = Line(record)
        try:
            await self._connect(line)
            await self._greet(line)
            reached("connected", line)
            capabilities = await self._introduce(line)
            if options.tls == "starttls":
                await self._encrypt(line, capabilities)
                capabilities = await self._introduce(line)
            reached("encrypted", line)
            if options.username is not None:
                await self._log_in(line, capabilities, options.username)
            reached("logged in", line)
        except LineDown as down:
            line.abort()
            raise CannotOpen(f"{down} at {self._where} before any message could go", self._at_hang_up()) from None
        except BaseException:
            line.abort()
            raise
        return line, capabilities

    # Steps

    async def _connect(self, line: Line) -> None:
        options = self._options
        limit = options.timeouts.connect
        encryption = self._tls() if options.tls == "implicit" else None
        host = options.host if encryption else None
        try:
            with self._no_longer_than(limit, "does not answer", "look at host and port, and whether a firewall is in between"):
                async with asyncio.timeout(limit.total_seconds()):
                    reached = await self._reach()
                    await asyncio.get_running_loop().create_connection(
                        lambda: line, sock=reached, ssl=encryption, server_hostname=host
                    )
        except socket.gaierror:
            raise CannotOpen(f"there is no server named {options.host}", "correct host, or look at this machine's DNS") from None
        except ssl.SSLError as error:
            raise self._tls_trouble(error) from None
        except OSError as error:
            if encryption and isinstance(error, ConnectionError) and error.errno is None:
                raise self._tls_trouble(error) from None
            raise CannotOpen(f"{self._where} cannot be reached: {_words(error)}", _remedy(error)) from None

    async def _reach(self) -> socket.socket:
        """Return a socket connected to the first of the server's addresses that answers.

        asyncio can try several at once, but loses a socket when it is interrupted (`asyncio.staggered`).
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._options.host, self._options.real_port, type=socket.SOCK_STREAM)
        found.sort(key=lambda each: each[4] != self._last_address)
        trouble: OSError = OSError("it has no address")
        for place, (family, kind, protocol, _, address) in enumerate(found):
            reached = socket.socket(family, kind, protocol)
            reached.setblocking(False)
            try:
                async with asyncio.timeout(_NEXT_ADDRESS if place < len(found) - 1 else None):
                    await loop.sock_connect(reached, address)
            except OSError as error:
                reached.close()
                trouble = error
            except BaseException:
                reached.close()
                raise
            else:
                self._last_address = address
                return reached
        raise trouble

    async def _greet(self, line: Line) -> None:
        limit = self._options.timeouts.greeting
        with self._no_longer_than(limit, "connects, but says nothing", self._at_hang_up()):
            async with asyncio.timeout(limit.total_seconds()):
                reply = await line.reply()
        if reply.code != 220:
            raise self._refused(reply, "greeting", "ask the mail server's owner why")

    async def _introduce(self, line: Line) -> Capabilities:
        if not self._name:
            self._name = self._options.hostname or own_name(line)
        name = self._name.encode("ascii")
        reply = await self._say(line, b"EHLO " + name)
        if reply.code == 250:
            return read_capabilities(reply, pipelining=self._options.pipelining)
        if reply.code in (500, 501, 502, 504) and self._options.tls != "starttls" and self._options.username is None:
            # A server from before ESMTP (RFC 5321 section 3.2).
            reply = await self._say(line, b"HELO " + name)
            if reply.code == 250:
                return Capabilities()
        raise self._refused(reply, "ehlo", "set hostname to this machine's full name")

    async def _encrypt(self, line: Line, capabilities: Capabilities) -> None:
        if not capabilities.starttls:
            raise CannotOpen(f"{self._where} offers no encryption (STARTTLS)", f"{_MODES}; ask which one your server wants")
        reply = await self._say(line, b"STARTTLS")
        if reply.code != 220:
            raise self._refused(reply, "starttls", f"try again later, or another port: {_MODES}")
        if line.has_unread:
            # Whoever sits in between could have put words into the server's mouth (CVE-2011-0411, NO STARTTLS).
            raise CannotOpen(
                f"{self._where} sent more before the encryption began than it should have",
                'somebody may be listening in; ask the mail server\'s owner, or use tls = "implicit" on port 465',
            )
        limit = self._options.timeouts.connect
        try:
            with self._no_longer_than(limit, "does not finish the TLS handshake", "try again later"):
                async with asyncio.timeout(limit.total_seconds()):
                    transport = await asyncio.get_running_loop().start_tls(
                        line.transport, line, self._tls(), server_hostname=self._options.host
                    )
        except OSError as error:
            raise self._tls_trouble(error) from None
        if transport is None:
            raise LineDown("the mail server closed the connection")
        line.connection_made(transport)

    async def _log_in(self, line: Line, capabilities: Capabilities, username: str) -> None:
        options = self._options
        encrypted = line.transport.get_extra_info("sslcontext") is not None
        if not encrypted and not options.allow_plain_auth and not _is_loopback(line):
            raise CannotOpen(
                f"the password would cross the network to {self._where} unencrypted",
                'set tls = "starttls" or "implicit", or allow_plain_auth = true if that network is your own',
            )
        mechanism = choose_mechanism(options, capabilities.auth)
        if mechanism is None:
            offered = ", ".join(sorted(capabilities.auth)) or "no way at all"
            raise CannotOpen(
                f"{self._where} offers {offered} to log in, and none that can be used",
                "look at auth, username and password" if capabilities.auth else f"look at port and tls: {_MODES}",
            )
        secret = options.token or options.password
        try:
            word = secret.reveal() if secret is not None else ""
        except WinbackError as error:
            raise CannotOpen(error.message, error.remedy) from None

        async def say(words: bytes) -> Reply:
            carried = words.removeprefix(b"AUTH " + mechanism.encode()).lstrip(b" ")
            if carried:
                line.hidden.append(carried)
            shown = words.removesuffix(carried).decode("ascii") + ("***" if carried else "")
            return await self._say(line, words, shown=shown)

        line.hidden = [word.encode()]
        reply = await log_in(mechanism, username, word, say)
        line.hidden = []
        if reply.code != 235:
            raise self._refused(reply, "auth", "correct username and password, and check that the account may send by SMTP")

    async def _say(self, line: Line, words: bytes, *, shown: str | None = None) -> Reply:
        limit = self._options.timeouts.command
        with self._no_longer_than(limit, "does not answer", "try again later"):
            async with asyncio.timeout(limit.total_seconds()):
                return await line.say(words, shown=shown)

    # What is said of failures

    def _tls(self) -> ssl.SSLContext:
        """Return what decides whom to trust, made once."""
        if self._context is None:
            file = self._options.ca_file
            try:
                self._context = ssl.create_default_context(cafile=str(self._root / file) if file else None)
            except (OSError, ssl.SSLError) as error:
                raise CannotOpen(f"ca_file {file} cannot be used: {_words(error)}", "give a file of PEM certificates") from None
            if not self._options.verify:
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE
        return self._context

    @contextmanager
    def _no_longer_than(self, limit: timedelta, what: str, remedy: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise CannotOpen(f"{self._where} {what} for {limit.total_seconds():g} s", remedy) from None

    def _refused(self, reply: Reply, phase: Phase, remedy: str) -> CannotOpen:
        return CannotOpen(f"{judge(reply, phase).reason} ({self._where}: {reply.code} {reply.text})", remedy, reply)

    def _tls_trouble(self, error: Exception) -> CannotOpen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return CannotOpen(
                f"the certificate of {self._where} cannot be trusted: {error.verify_message}",
                "set host to the name that the certificate is for, or ca_file to the authority that signed it",
            )
        return CannotOpen(f"{self._where} and this machine cannot agree on TLS: {_words(error)}", _MODES)

    def _at_hang_up(self) -> str:
        return f"try again later; if it stays so, look at port and tls: {_MODES}"


def read_capabilities(reply: Reply, *, pipelining: bool = True) -> Capabilities:
    """Return what a reply to EHLO says the server can do (RFC 5321 section 4.1.1.1)."""
    extensions: dict[str, list[str]] = {}
    for text in reply.lines[1:]:
        # "AUTH=LOGIN PLAIN" is how Microsoft's first servers wrote it.
        name, *words = text.replace("AUTH=", "AUTH ", 1).upper().split() or [""]
        extensions.setdefault(name, []).extend(words)
    size = extensions.get("SIZE", [])
    return Capabilities(
        pipelining=pipelining and "PIPELINING" in extensions,
        eight_bit="8BITMIME" in extensions,
        utf8="SMTPUTF8" in extensions,
        # RFC 1870 section 4: zero, or nothing, is no limit.
        size=(int(size[0]) or None) if size and size[0].isdecimal() else None,
        names_size="SIZE" in extensions,
        starttls="STARTTLS" in extensions,
        auth=frozenset(extensions.get("AUTH", [])),
    )


def own_name(line: Line) -> str:
    """Return this machine's full name, or its address in brackets where it has none (RFC 5321 section 4.1.4)."""
    name = socket.getfqdn()
    if "." in name and name.isascii() and not name.endswith((".local", ".arpa", ".localdomain")):
        return name
    address = line.transport.get_extra_info("sockname")[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _is_loopback(line: Line) -> bool:
    return ip_address(line.transport.get_extra_info("peername")[0].partition("%")[0]).is_loopback


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error).lower() or type(error).__name__


def _remedy(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens there; look at host and port: {_MODES}"
    return "look at host and port, and at this machine's network"
