"""Write e-mail addresses and phone numbers in one way only, know where a phone rings, and hide addresses in keyed hashes."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from winback.errors import AddressError

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

#: A local part that needs no further look: what nearly every address has. Everything else goes through email-validator.
_PLAIN_LOCAL = re.compile(r"[a-z0-9_+%'-]+(?:\.[a-z0-9_+%'-]+)*\Z")

#: RFC 5321, 4.5.3.1.1: a local part has at most 64 octets; RFC 3696 errata 1690: an address at most 254.
_LOCAL_LIMIT = 64
_ADDRESS_LIMIT = 254

#: Two moments that tell zones with different clocks apart, in winter and in summer.
_WINTER = datetime(2026, 1, 15, tzinfo=UTC)
_SUMMER = datetime(2026, 7, 15, tzinfo=UTC)


def normalise_email(raw: str) -> str:
    """Return an e-mail address trimmed and in lower case, its domain in ASCII (IDNA); look nothing up in the DNS.

    Raise AddressError for what is no address, and for a local part outside ASCII: most mail servers cannot deliver to it
    (it needs SMTPUTF8, RFC 6531, on every hop).
    """
    text = raw.strip().lower()
    local, at, domain = text.rpartition("@")
    if not at:
        raise AddressError(f"{_shown(raw)} is not an e-mail address", "an address has an @ between a name and a domain")
    if not (len(local) <= _LOCAL_LIMIT and _PLAIN_LOCAL.match(local)):
        local = _checked_local(local, raw)
    address = f"{local}@{_checked_domain(domain)}"
    if len(address) > _ADDRESS_LIMIT:
        raise AddressError(f"{_shown(raw)} is longer than an e-mail address can be", f"at most {_ADDRESS_LIMIT} characters")
    return address


def _checked_local(local: str, raw: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    if len(local) > _LOCAL_LIMIT:
        raise AddressError(f"{_shown(raw)} is longer before the @ than an address can be", f"at most {_LOCAL_LIMIT} characters")
    try:
        checked = validate_email(f"{local}@example.com", check_deliverability=False)
    except EmailNotValidError as error:
        raise AddressError(f"{_shown(raw)} is not an e-mail address", _sentence(error)) from None
    if checked.ascii_local_part is None:
        raise AddressError(
            f"{_shown(raw)} has letters outside ASCII before the @", "most mail servers cannot deliver to it; ask for another one"
        )
    return checked.ascii_local_part


@lru_cache(maxsize=65536)
def _checked_domain(domain: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(f"a@{domain}", check_deliverability=False).ascii_domain
    except EmailNotValidError as error:
        raise AddressError(f"{_shown(domain)} is not a mail domain", _sentence(error)) from None


def normalise_phone(raw: str, region: str) -> str:
    """Return a phone number in E.164 (`+4930123456`); a national number is taken from `region` (ISO 3166-1 alpha-2, "DE").

    Raise AddressError for text that is no phone number, and for a number that its country does not give out.
    """
    return _phone(raw.strip(), region.upper())


@lru_cache(maxsize=16384)
def _phone(raw: str, region: str) -> str:
    import phonenumbers

    # "0049…" is how people in most of Europe write "+49…"; elsewhere the region's own dialling prefix is known to the library.
    text = "+" + raw[2:] if raw.startswith("00") and not raw.startswith("000") else raw
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise AddressError(f"{_shown(raw)} is not a phone number", "write it like +49 30 1234567") from None
    if not phonenumbers.is_valid_number(number):
        country = phonenumbers.region_code_for_country_code(number.country_code or 0)
        raise AddressError(
            f"{_shown(raw)} is not a phone number of {country}", "write it with its country code, like +49 30 1234567"
        )
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=16384)
def zone_of_phone(phone: str) -> str | None:
    """Return the IANA zone of an E.164 number, None where its country has several clocks and the number does not say which."""
    import phonenumbers
    from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_geographical_number

    number = _split(phone)
    if number is None:
        return None
    zones = [name for name in time_zones_for_geographical_number(number) if name != UNKNOWN_TIMEZONE and is_zone(name)]
    if not zones or len({_clock(name) for name in zones}) > 1:
        return None
    from babel.core import get_global

    # Guernsey, the Isle of Man and London have one clock: take the zone of the number's own country.
    region = phonenumbers.region_code_for_number(number)
    territories = get_global("zone_territories")
    return next((name for name in zones if territories.get(name) == region), zones[0])


def _split(phone: str) -> PhoneNumber | None:
    """Return an E.164 number as the library's own; to parse it anew takes as long as to normalise it did."""
    import phonenumbers

    digits = phone.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return None
    for length in (1, 2, 3):  # no code begins with another one (ITU-T E.164)
        national = digits[length:]
        if national and int(digits[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            zeros = len(national) - len(national.lstrip("0"))
            return phonenumbers.PhoneNumber(
                country_code=int(digits[:length]),
                national_number=int(national),
                italian_leading_zero=zeros > 0 or None,
                number_of_leading_zeros=zeros if zeros > 1 else None,
            )
    return None


@lru_cache(maxsize=1024)
def _clock(name: str) -> tuple[object, object]:
    zone = ZoneInfo(name)
    return _WINTER.astimezone(zone).utcoffset(), _SUMMER.astimezone(zone).utcoffset()


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def is_zone(name: str) -> bool:
    """Say whether `name` is an IANA time zone, such as Europe/Berlin."""
    return name in _zones()


def hash_address(address: str, key: bytes) -> str:
    """Return 32 hexadecimal characters that stand for a normalised address; without `key` they cannot be computed."""
    return hashlib.blake2b(address.encode(), digest_size=16, key=key).hexdigest()


def _shown(raw: str) -> str:
    text = raw.strip()
    return repr(text if len(text) <= 80 else text[:77] + "…")


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]
