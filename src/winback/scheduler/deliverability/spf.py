"""SPF (RFC 7208): whom a domain lets send its mail, and whether the mail server is among them, as far as that can be seen.

A relay often sends from other addresses than the one it listens at, so that what cannot be told is said to be so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

from winback.scheduler.deliverability.finding import Finding
from winback.scheduler.deliverability.names import Address, Names, organisation

#: RFC 7208 section 4.6.4: a receiver gives up after so many questions that a record makes it ask.
_MOST_LOOKUPS = 10

_TERM = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?::([^/]*))?((?:/\d{1,3})?(?://\d{1,3})?)\Z", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)\Z", re.IGNORECASE)


@dataclass
class Policy:
    """What a record says, with all that it includes."""

    record: str
    networks: list[IPv4Network | IPv6Network] = field(default_factory=list)  # that may send
    names: list[str] = field(default_factory=list)  # whose owners may send
    everybody: bool = False  # may send
    lookups: int = 0
    problems: list[str] = field(default_factory=list)


def spf(names: Names, domain: str, host: str, addresses: Sequence[Address]) -> Finding:
    """Return what the record of `domain` says of the mail server `host`, which is at `addresses`."""
    found = _records(names, domain)
    mine = " ".join(f"ip{address.version}:{address}" for address in addresses if address.is_global)
    proposal = f"v=spf1 {mine} -all" if mine and organisation(host) == organisation(domain) else "v=spf1 include:… -all"
    publish = f'publish a TXT record at {domain}: "{proposal}"' + (", as your mail provider says" if "…" in proposal else "")
    if not found:
        return Finding("SPF", False, f"{domain} has no SPF record: receivers do not know who may send its mail", publish)
    if len(found) > 1:
        return Finding("SPF", False, f"{domain} has {len(found)} SPF records, so that none counts", "join them into one")
    policy = Policy(found[0])
    _Walk(names, policy).take(domain, found[0], frozenset({domain}))
    if policy.problems:
        return Finding("SPF", False, f"{domain}: {policy.problems[0]}, so that it counts for nothing", f"it says: {found[0]}")
    if policy.everybody:
        return Finding("SPF", False, f"{domain} lets everybody send its mail (+all)", 'end its SPF record with "-all" or "~all"')
    return _verdict(domain, host, addresses, policy)


def _verdict(domain: str, host: str, addresses: Sequence[Address], policy: Policy) -> Finding:
    for address in addresses:
        if any(address in network for network in policy.networks if network.version == address.version):
            return Finding("SPF", True, f"{domain} lets {_at(host, address)} send its mail")
    theirs = [name for name in policy.names if organisation(name) == organisation(host)]
    if theirs and organisation(host) != organisation(domain):
        return Finding("SPF", True, f"{domain} lets {theirs[0]} send its mail, and {host} belongs to it")
    if not policy.networks and not policy.names:
        return Finding("SPF", False, f"{domain} lets nobody send its mail", f"add your mail server; it says: {policy.record}")
    if not any(address.is_global for address in addresses):
        message = f"whether {domain} lets you send cannot be told: {host} is reached by an address that is not seen from outside"
        remedy = f"see that the address by which its mail leaves is among those in: {policy.record}"
        return Finding("SPF", None, message, remedy)
    who = _at(host, addresses[0])
    if policy.names:
        message = f"{domain} does not name {who}; whether its mail leaves by an address that is allowed cannot be told from here"
        return Finding("SPF", None, message, f"ask your mail provider which include belongs into: {policy.record}")
    message = f"{domain} lets only other addresses than {who} send its mail"
    return Finding("SPF", False, message, f"add what your mail provider says, include:… or ip4:…, to: {policy.record}")


def _at(host: str, address: Address) -> str:
    return host if host == str(address) else f"{host} ({address})"


def _records(names: Names, domain: str) -> list[str]:
    return [text for text in names.texts(domain) or () if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


class _Walk:
    """Takes what a record says into a policy, with the records that it includes."""

    def __init__(self, names: Names, policy: Policy) -> None:
        self._names = names
        self._policy = policy

    def take(self, domain: str, record: str, seen: frozenset[str]) -> None:
        """Take a record of `domain`; `seen` are the domains whose records led here."""
        policy = self._policy
        redirect = ""
        for term in record.split()[1:]:
            modifier, found = _MODIFIER.match(term), _TERM.match(term)
            if modifier:
                redirect = modifier[2].lower() if modifier[1].lower() == "redirect" else redirect
            elif found is None:
                policy.problems.append(f"its SPF record has {term!r}, which means nothing")
            elif found[2].lower() == "all":
                policy.everybody = policy.everybody or found[1] in ("", "+")
                return  # what follows is not looked at (RFC 7208 section 5.1)
            elif found[2].lower() in ("ip4", "ip6"):
                self._network(term, f"{found[3]}{found[4]}", allowed=found[1] in ("", "+"))
            else:
                name = (found[3] or domain).lower()
                self._look_up(found[2].lower(), name, found[4], seen, allowed=found[1] in ("", "+"))
        if redirect:
            self._policy.names.append(redirect)
            if self._count():
                self._follow(redirect, seen)

    def _network(self, term: str, text: str, *, allowed: bool) -> None:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            self._policy.problems.append(f"its SPF record has {term!r}, which is no address")
            return
        if allowed:
            self._policy.networks.append(network)

    def _look_up(self, kind: str, name: str, lengths: str, seen: frozenset[str], *, allowed: bool) -> None:
        """Follow a term that makes receivers ask the DNS."""
        if not self._count() or not allowed:
            return
        self._policy.names.append(name)
        if "%" in name or kind in ("exists", "ptr"):
            return  # it depends on each letter
        if kind == "include":
            self._follow(name, seen)
            return
        hosts = (self._names.exchangers(name) or []) if kind == "mx" else [name]
        four, _, six = lengths.partition("//")
        for address in [address for host in hosts[:_MOST_LOOKUPS] for address in self._names.addresses(host) or ()]:
            length = four.strip("/") if address.version == 4 else six
            text = f"{address}/{length}" if length else str(address)
            self._network(f"{kind}:{name}{lengths}", text, allowed=True)

    def _follow(self, name: str, seen: frozenset[str]) -> None:
        found = [] if name in seen else _records(self._names, name)
        if len(found) == 1:
            self.take(name, found[0], seen | {name})
        else:
            what = "itself" if name in seen else f"{name}, which has {'several SPF records' if found else 'no SPF record'}"
            self._policy.problems.append(f"its SPF record names {what}")

    def _count(self) -> bool:
        self._policy.lookups += 1
        if self._policy.lookups == _MOST_LOOKUPS + 1:
            self._policy.problems.append(f"its SPF record needs more than {_MOST_LOOKUPS} questions to the DNS")
        return self._policy.lookups <= _MOST_LOOKUPS
