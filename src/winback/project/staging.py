"""Whom a shop that is being tried out may write to: those on a list, or one address instead of everybody. Nobody else, ever."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic_core import PydanticCustomError

from winback.addresses import normalise_email, normalise_phone
from winback.errors import AddressError
from winback.filemodel import refused, written_as
from winback.store import Channel

#: The environment variable that makes a shop a trial, whatever its files say: for a copy of the files that real customers use.
STAGING_VARIABLE = "WINBACK_STAGING"

#: Begins an entry of the variable that is an address to redirect to.
_TO = "to:"


_NAMES = {Channel.EMAIL: "e-mail", Channel.SMS: "SMS"}


@dataclass(frozen=True)
class AllowList:
    """Who may be written to: e-mail addresses, everybody at some domains (not at their subdomains), phone numbers."""

    emails: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()

    def has(self, channel: Channel, address: str) -> bool:
        """Say whether an address, in its normal form, is on the list."""
        if channel is Channel.SMS:
            return address in self.phones
        return address in self.emails or address.rpartition("@")[2] in self.domains

    def __str__(self) -> str:
        entries = [*sorted(self.emails), *(f"@{domain}" for domain in sorted(self.domains)), *sorted(self.phones)]
        return ", ".join(entries) or "nobody"


@dataclass(frozen=True)
class Staging:
    """What holds for a trial. An address must be on all `lists`; who is not gets nothing, or `redirects` gets it instead."""

    lists: tuple[AllowList, ...] = ()
    redirect_email: str | None = None
    redirect_sms: str | None = None

    def redirect(self, channel: Channel) -> str | None:
        """Return the address that gets the messages of a channel which must not go to their customers."""
        return self.redirect_email if channel is Channel.EMAIL else self.redirect_sms

    def destination(self, channel: Channel, address: str) -> str | None:
        """Return where a message to an address goes: there, elsewhere, or nowhere."""
        if self.lists and all(each.has(channel, address) for each in self.lists):
            return address
        return self.redirect(channel)

    def __str__(self) -> str:
        allowed = " that is also among ".join(str(each) for each in self.lists) or "nobody"
        instead = [f"their {_NAMES[channel]} goes to {to}" for channel in Channel for to in [self.redirect(channel)] if to]
        return f"only {allowed} may get messages; {' and '.join(instead) or 'the others get none'}"


def read_allow_list(entries: Iterable[str]) -> AllowList:
    """Return the list that a file's texts say. Raise what a file's model raises for an entry that could be misunderstood."""
    emails, domains, phones = set(), set(), set()
    for entry in entries:
        text = entry.strip()
        if text.startswith("*@"):
            raise refused(f"{entry!r} is one address, not those of a domain", f'write "{text[1:]}"')
        try:
            if text.startswith("@"):
                domains.add(normalise_email(f"anybody{text}").rpartition("@")[2])
            elif "@" in text:
                emails.add(normalise_email(text))
            else:
                phones.add(phone_with_country(text))
        except (AddressError, PydanticCustomError):
            raise refused(
                f"{entry!r} is nobody who could be written to", 'write "anna@example.com", "@example.com", or "+4915112345678"'
            ) from None
    return AllowList(frozenset(emails), frozenset(domains), frozenset(phones))


def phone_with_country(text: str) -> str:
    """Return a phone number in its normal form. Raise what a file's model raises unless it has its country code."""
    if not text.strip().startswith("+"):
        raise refused(f"{text!r} is not a phone number with its country code", 'write it like "+4915112345678"')
    try:
        return normalise_phone(text, "ZZ")
    except AddressError as error:
        raise refused(error.message, error.remedy) from None


def _allow_list(value: Any) -> AllowList | None:
    if value is None or isinstance(value, AllowList):
        return value
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise refused("is not a list of addresses", 'write ["anna@example.com", "@example.com", "+4915112345678"]')
    return read_allow_list(value)


Allowed = Annotated[AllowList | None, *written_as(_allow_list, type="array", items={"type": "string"})]


def read_variable(text: str) -> Staging:
    """Return what the environment variable says: entries of an allow list, and `to:` before an address to redirect to.

    Raise ValueError, with a remedy after a semicolon, for anything else: a trial that is not understood writes to nobody.
    """
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        raise ValueError(
            f'is empty or has an empty entry; write "@example.com, to:anna@example.com", or unset {STAGING_VARIABLE}'
        )
    targets = [entry.removeprefix(_TO).strip() for entry in entries if entry.startswith(_TO)]
    allowed = [entry for entry in entries if not entry.startswith(_TO)]
    try:
        found = read_allow_list(targets)
        lists = (read_allow_list(allowed),) if allowed else ()
    except ValueError as error:
        raise ValueError(str(error)) from None
    if found.domains or len(found.emails) > 1 or len(found.phones) > 1:
        raise ValueError(
            "names no single address to redirect to; write to:anna@example.com and to:+4915112345678 at most once each"
        )
    return Staging(lists, next(iter(found.emails), None), next(iter(found.phones), None))


def combine(file: Staging | None, variable: Staging | None) -> Staging | None:
    """Return what holds where file and environment may both say something: the narrower list, the environment's address."""
    if file is None or variable is None:
        return file or variable
    return Staging(
        # A part that only redirects allows nobody to get their own message.
        (*(file.lists or (AllowList(),)), *(variable.lists or (AllowList(),))),
        variable.redirect_email or file.redirect_email,
        variable.redirect_sms or file.redirect_sms,
    )
