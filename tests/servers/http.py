"""A real HTTP server on loopback, which records what it is asked and misbehaves on request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.certificates import Certificate


@dataclass(frozen=True)
class Recorded:
    """One request as it came; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int  # the same number for requests over the same connection

    @property
    def form(self) -> dict[str, str]:
        """Return the body's fields."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


@dataclass(frozen=True)
class Answer:
    """What the server does with a request. `hang` seconds pass before it answers; `close` hangs up without an answer, `cut`
    promises more than it sends."""

    status: int = 200
    body: bytes | str = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0
    close: bool = False
    cut: bool = False


Rule = Callable[[Recorded], Answer]


class HttpServer:
    """Answers by its `rule`; `script` goes before it, one answer for each request."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.requests: list[Recorded] = []
        self.rule: Rule = lambda request: Answer()
        self.script: list[Answer] = []
        self._certificate = certificate
        self._release = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Return the address of the server, without a path."""
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}"

    def answer(self, *answers: Answer) -> None:
        """Give these answers, one for each request, and the last one from then on."""
        *first, last = answers
        self.script = list(first)
        self.rule = lambda request: last

    def start(self) -> None:
        """Listen; after `stop` on the same port again."""
        self._release.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        if self._certificate:
            context = self._certificate.server_context()
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on, and hang up on those that are open."""
        if self._server is None:
            return
        self._release.set()
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connections that are open, as a server does that has waited long enough."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):  # gone before we came
                connection.shutdown(socket.SHUT_RDWR)

    def take(self, request: Recorded) -> Answer:
        """Record a request and return what to do with it."""
        with self._lock:
            self.requests.append(request)
            answer = self.script.pop(0) if self.script else None
        answer = answer or self.rule(request)
        if answer.hang:
            self._release.wait(answer.hang)
        return answer

    def opened(self, connection: socket.socket) -> None:
        """Note a connection."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(connection)


@contextmanager
def http_server(answers: Sequence[Answer] = (), certificate: Certificate | None = None) -> Iterator[HttpServer]:
    """Run a server for the time of a with-block; with a `certificate` it speaks https."""
    server = HttpServer(certificate)
    if answers:
        server.answer(*answers)
    try:
        yield server
    finally:
        server.stop()


def _handler(server: HttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections open
        timeout = 30
        disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

        def setup(self) -> None:
            super().setup()
            server.opened(self.connection)

        def finish(self) -> None:
            server.closed(self.connection)
            with suppress(OSError):  # gone before we came
                super().finish()

        def handle(self) -> None:
            with suppress(OSError):  # gone before we came
                super().handle()

        def do_GET(self) -> None:
            self._serve()

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 names of the standard library

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = server.take(
                Recorded(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    {name.lower(): value for name, value in self.headers.items()},
                    body,
                    self.client_address[1],
                )
            )
            if answer.close:
                self.close_connection = True
                return
            content = answer.body.encode() if isinstance(answer.body, str) else answer.body
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(content) + (1000 if answer.cut else 0)))
            self.end_headers()
            if self.command != "HEAD" and answer.status != 204:
                self.wfile.write(content)
            if answer.cut:
                self.close_connection = True

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    return Handler
