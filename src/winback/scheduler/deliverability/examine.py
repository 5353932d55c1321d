"""Look at everything between a letter and its readers that can be seen without sending one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

from winback.errors import InputError
from winback.gateways.registry import configure
from winback.gateways.smtp import SmtpGateway
from winback.project import Project
from winback.scheduler.deliverability import hosts
from winback.scheduler.deliverability.dkim import dkim, no_dkim, rewritten
from winback.scheduler.deliverability.dmarc import dmarc
from winback.scheduler.deliverability.finding import Finding
from winback.scheduler.deliverability.names import Address, Names, Silent
from winback.scheduler.deliverability.spf import spf


@dataclass(frozen=True)
class Examination:
    """What was found about a gateway, and what was said on its line, without secrets."""

    gateway: str
    host: str
    domain: str
    findings: tuple[Finding, ...]
    conversation: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Say whether nothing is wrong; what cannot be told from here is not."""
        return all(finding.ok is not False for finding in self.findings)


def examine_smtp(project: Project, names: Names, gateway: str | None = None) -> Examination:
    """Try a gateway's line without sending, and look up what receivers look up.

    Without a name it is the gateway that carries e-mail, or the only one of its kind. Raise InputError when there is no such
    gateway, GatewayError when it cannot be set up.
    """
    name = _choose(project, gateway)
    chosen = cast(SmtpGateway, configure(name, project.settings.gateways[name].table, root=project.root))
    options = chosen.options
    line = chosen.test_connection()
    sender = _domain(project.settings.shop.email_from)
    envelope = _domain(options.envelope_from or project.settings.shop.email_from)
    findings = [Finding("mail server", True, fact) for fact in line.facts]
    for problem in line.problems:
        message, _, remedy = problem.partition("; ")
        findings.append(Finding("mail server", False, message, remedy))
    findings.append(_one_click(project))
    findings += _records(names, project, options.host, sender, envelope)
    return Examination(name, options.host, sender, tuple(findings), line.conversation)


def _choose(project: Project, gateway: str | None) -> str:
    tables = project.settings.gateways
    fitting = [name for name, table in tables.items() if table.type == SmtpGateway.type]
    carries = project.settings.deliver.email
    if gateway is None and carries in fitting:
        return carries
    if gateway is None and len(fitting) == 1:
        return fitting[0]
    if gateway in fitting:
        return gateway
    known = f"there are: {', '.join(fitting)}" if fitting else 'add a table [gateways.relay] with type = "smtp" to config.toml'
    if gateway is None:
        raise InputError("which gateway?" if fitting else "no gateway sends by SMTP", known)
    kind = tables[gateway].type if gateway in tables else None
    raise InputError(f"gateways.{gateway} is of type {kind!r}" if kind else f"there is no gateway {gateway!r}", known)


def _one_click(project: Project) -> Finding:
    """RFC 8058 section 3.1: the address that mail readers call to unsubscribe is one of https."""
    url = project.settings.web.public_url
    if urlsplit(url).scheme == "https":
        return Finding("one-click", True, f"unsubscribing by one click is offered at {url}")
    message = f"unsubscribing by one click needs https, and web.public_url is {url}: mail readers do not offer it"
    return Finding("one-click", False, message, "set web.public_url in config.toml to the https address of this server")


def _records(names: Names, project: Project, host: str, sender: str, envelope: str) -> list[Finding]:
    settings = project.settings
    addresses = _addresses(names, host)
    signed_by = [settings.signing_domain(table) for table in settings.dkim]
    looks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("MX", lambda: [hosts.incoming(names, sender)]),
        ("SPF", lambda: [spf(names, envelope, host, addresses)]),
        ("DKIM", lambda: _dkim(names, project, host)),
        ("DMARC", lambda: [dmarc(names, sender, signed_by, envelope)]),
        ("reverse DNS", lambda: hosts.reverse(names, host, addresses, sender)),
    ]
    found: list[Finding] = []
    silent: list[Finding] = []
    for name, look in looks:
        try:
            found += look()
        except Silent as silence:
            remedy = "try again; if it stays so, the servers of that domain are in trouble"
            silent.append(Finding(name, None, f"the DNS gives no answer about {silence}", remedy))
    if names.is_dead:
        message = "the DNS does not answer here, so that SPF, DKIM, DMARC, MX and reverse DNS were not looked at"
        silent = [Finding("DNS", None, message, "run this where it does, or name a server: --dns 9.9.9.9")]
    return [*found, *silent]


def _dkim(names: Names, project: Project, host: str) -> list[Finding]:
    if not project.settings.dkim:
        return [no_dkim(host)]
    changed = rewritten(host)
    return [changed] if changed else [dkim(names, project, table) for table in project.settings.dkim]


def _addresses(names: Names, host: str) -> list[Address]:
    """Return the addresses of the mail server as the world knows them, none where it does not."""
    try:
        return [ip_address(host)]
    except ValueError:
        pass
    try:
        return names.addresses(host) or []
    except Silent:
        return []


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
