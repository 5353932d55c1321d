"""Ask the DNS, and give up soon: where it does not answer, that is said, and nobody waits for long."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import dns.exception
import dns.name
import dns.resolver
import dns.reversename

from winback.errors import InputError

Address = IPv4Address | IPv6Address

#: Seconds for one question, with its repetitions.
_PATIENCE = 3.0

_PORT = 53


class Silent(Exception):  # noqa: N818 - what happened, said by whoever asked
    """The DNS did not answer a question."""


class Names:
    """Asks this machine's DNS servers, or the one that is given as `9.9.9.9` or `127.0.0.1:5353`.

    Every method raises Silent when there is no answer. None is the answer for a name that does not exist at all.
    """

    def __init__(self, server: str | None = None, *, patience: float = _PATIENCE) -> None:
        self._answered = False  # whether anything ever was
        self._is_asked = False  # whether it was looked into
        try:
            self._resolver = dns.resolver.Resolver(configure=server is None)
        except (dns.resolver.NoResolverConfiguration, OSError):
            self._resolver = dns.resolver.Resolver(configure=False)  # without a server, it answers nothing
        if server is not None:
            host, self._resolver.port = _server(server)
            self._resolver.nameservers = [host]
        self._resolver.timeout, self._resolver.lifetime = patience / 2, patience

    @property
    def is_dead(self) -> bool:
        """Say whether there is no DNS here, so that it is no use to ask on."""
        return self._is_asked and not self._answered

    def texts(self, name: str) -> list[str] | None:
        """Return the TXT records of a name."""
        return self._ask(name, "TXT", lambda found: b"".join(found.strings).decode("utf-8", "replace"))

    def addresses(self, name: str) -> list[Address] | None:
        """Return the addresses of a name, IPv4 first."""
        four = self._ask(name, "A", lambda found: ip_address(found.address))
        if four is None:
            return None
        return four + (self._ask(name, "AAAA", lambda found: ip_address(found.address)) or [])

    def exchangers(self, name: str) -> list[str] | None:
        """Return who takes the mail of a domain, the first to try first; "" says that nobody does (RFC 7505)."""
        found = self._ask(name, "MX", lambda found: (found.preference, _text(found.exchange)))
        return None if found is None else [host for _, host in sorted(found)]

    def names_of(self, address: Address) -> list[str]:
        """Return the names that the reverse DNS gives an address."""
        name = dns.reversename.from_address(str(address))
        return self._ask(name.to_text(), "PTR", lambda found: _text(found.target)) or []

    def _ask(self, name: str, kind: str, read: Callable[[Any], Any]) -> list[Any] | None:
        if self.is_dead:
            raise Silent(name)
        try:
            asked = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return None  # it cannot be a name: a record that we read says nonsense
        found = self._answer(asked, kind)
        if found is _SILENCE:
            # Is it that name, or the DNS? The root answers wherever there is one.
            if not self._answered and not self._is_asked:
                self._is_asked = True
                self._answer(dns.name.root, "NS")
            raise Silent(name)
        return None if found is None else [read(each) for each in found]

    def _answer(self, name: dns.name.Name, kind: str) -> Any:
        """Return the records, None for a name that does not exist, or _SILENCE."""
        try:
            answer = self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.YXDOMAIN):
            self._answered = True
            return None
        except (dns.exception.DNSException, OSError):
            # Also a server that answers that it failed, as it does where its own way to the world is cut.
            return _SILENCE
        self._answered = True
        return answer.rrset or ()


_SILENCE = object()


def organisation(domain: str) -> str:
    """Return the domain that somebody registered, as far as it can be told without a list: shop.co.uk for mail.shop.co.uk."""
    labels = domain.rstrip(".").lower().split(".")
    is_second_level = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if is_second_level else -2 :])


def _server(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not text.startswith("[")):  # an IPv6 address without a port
        host, port = text, str(_PORT)
    try:
        number = int(port)
        address = str(ip_address(host.strip("[]")))
    except ValueError:
        number, address = 0, ""
    if not 0 < number < 65536:
        raise InputError(f"{text!r} is not the address of a DNS server", "write 9.9.9.9 or 127.0.0.1:5353")
    return address, number


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().rstrip(".")
