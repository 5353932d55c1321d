"""A real DNS server on loopback, by UDP, that knows what a test tells it, and keeps silent or fails on request.

::

    with dns_server({"shop.example": {"MX": ["10 mail.shop.example."]}}) as server:
        ...                                      # ask 127.0.0.1, server.port; server.address is both

What has records of another kind answers "nothing of that kind"; a name that is nowhere does not exist (NXDOMAIN).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

#: Records by name and kind; a text is written without quotes, in pieces of 255 characters on the wire.
Zone = Mapping[str, Mapping[str, Sequence[str]]]


class DnsServer:
    """The running server. `questions` are those it was asked: name and kind."""

    def __init__(self, zone: Zone, *, silent: Collection[str] = (), failing: Collection[str] = ()) -> None:
        self.zone = {name.lower(): records for name, records in zone.items()}
        self.silent = silent  # names about which nothing is answered; "*" for all
        self.failing = failing  # names about which it answers that it failed (SERVFAIL)
        self.questions: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until the thread has ended."""
        self._stopping = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(timeout=10)
        assert not self._thread.is_alive(), "the thread of the DNS server does not end"
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, sender = self._socket.recvfrom(65536)
            if self._stopping:
                return
            answer = self._answer(dns.message.from_wire(wire))
            if answer is not None:
                self._socket.sendto(answer.to_wire(max_size=65535), sender)

    def _answer(self, asked: dns.message.Message) -> dns.message.Message | None:
        question = asked.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind))
        if name in self.silent or "*" in self.silent:
            return None
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.zone:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            records = self.zone[name].get(kind, ())
            written = [_quoted(record) if kind == "TXT" else record for record in records]
            if written:
                answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *written))
        return answer


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return " ".join(f'"{escaped[start : start + 255]}"' for start in range(0, len(escaped), 255)) or '""'


@contextmanager
def dns_server(zone: Zone, **behaviour: Collection[str]) -> Iterator[DnsServer]:
    """Run a server on a free port of 127.0.0.1 that knows a zone."""
    server = DnsServer(zone, **behaviour)
    try:
        yield server
    finally:
        server.stop()
