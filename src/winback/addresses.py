"""Write e-mail addresses and phone numbers in one way only, know where a phone rings, and hide addresses in keyed hashes."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
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
    text = raw.strip()
    return text if _region_of(text) is not None else _phone(text, region.upper())


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


class _Region(NamedTuple):
    """A region's numbers without the country code, as the library's metadata has them."""

    name: str
    leading: re.Pattern[str] | None  # how only its numbers begin
    given_out: dict[int, re.Pattern[str]]  # by the number of digits

    def gives_out(self, national: str) -> bool:
        pattern = self.given_out.get(len(national))
        return pattern is not None and pattern.match(national) is not None


def _region_of(text: str) -> str | None:
    """Return the region of a valid number that is in E.164 already; None for any other text, and where only the library can tell.

    The library takes ten times as long: it takes every number apart, and tries some twenty patterns one after the other.
    """
    digits = text[1:]
    if text[:1] != "+" or not (digits.isascii() and digits.isdigit()):
        return None
    code = _country_code(digits)
    prefix, regions = _numbering(code)
    national = digits[len(code) :]
    if prefix is not None and prefix.match(national):
        return None  # +49 (0)30: the library takes out what belongs to national numbers only
    for region in regions:
        is_its_own = region.gives_out(national)
        if len(regions) == 1 or (is_its_own if region.leading is None else region.leading.match(national)):
            return region.name if is_its_own else None
    return None


def _country_code(digits: str) -> str:
    """Return the country code that digits begin with, or nothing."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    for length in (1, 2, 3):  # no code begins with another one (ITU-T E.164)
        if int(digits[:length] or 0) in COUNTRY_CODE_TO_REGION_CODE and digits[0] != "0":
            return digits[:length]
    return ""


@lru_cache(maxsize=512)
def _numbering(code: str) -> tuple[re.Pattern[str] | None, tuple[_Region, ...]]:
    """Return how the national prefix of a country code looks, and its regions in the library's order."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    names = COUNTRY_CODE_TO_REGION_CODE[int(code)] if code else ()
    found = [PhoneMetadata.metadata_for_region(name) for name in names]
    if None in found:  # of no country: satellites, free calls
        return None, ()
    regions = [_Region(each.id, _compiled(each.leading_digits), _given_out(each)) for each in found if each]
    prefix = found[0].national_prefix_for_parsing if found and found[0] else None
    return _compiled(prefix), tuple(regions)


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    return re.compile(pattern) if pattern else None


def _given_out(metadata: Any) -> dict[int, re.Pattern[str]]:
    """Return one pattern for each length of a region's numbers, of all their kinds."""
    kinds = [
        *(metadata.premium_rate, metadata.toll_free, metadata.shared_cost, metadata.voip, metadata.personal_number),
        *(metadata.pager, metadata.uan, metadata.voicemail, metadata.fixed_line, metadata.mobile),
    ]
    known = [kind for kind in kinds if kind is not None and kind.national_number_pattern]
    general = metadata.general_desc
    patterns = {}
    for length in range(2, 18):
        fitting = [kind.national_number_pattern for kind in known if not kind.possible_length or length in kind.possible_length]
        if fitting and (not general.possible_length or length in general.possible_length):
            pattern = rf"(?=(?:{general.national_number_pattern})\Z)(?:{'|'.join(fitting)})\Z"
            patterns[length] = re.compile(pattern)
    return patterns


@lru_cache(maxsize=512)
def calling_code(region: str) -> tuple[int, bool, tuple[str, ...]]:
    """Return the country code of a region, whether it is the code's main region, and the other regions with the same code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    # Not by the library's own function: it reads the whole numbering plan of the region.
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        if region in regions:
            return code, regions[0] == region, tuple(each for each in regions if each != region)
    return 0, False, ()


def zone_of_phone(phone: str) -> str | None:
    """Return the IANA zone of an E.164 number, None where its country has several clocks and the number does not say which."""
    import phonenumbers
    from phonenumbers.tzdata import TIMEZONE_LONGEST_PREFIX

    zones = _zones_of(phone[: 1 + TIMEZONE_LONGEST_PREFIX])
    if len(zones) < 2:
        return zones[0] if zones else None
    # Guernsey, the Isle of Man and London have one clock: take the zone of the number's own country.
    region = _region_of(phone)
    if region is None and (number := _split(phone)) is not None:
        region = phonenumbers.region_code_for_number(number)
    return _zone_of_region(zones, region)


@lru_cache(maxsize=16384)
def _zones_of(beginning: str) -> tuple[str, ...]:
    """Return the zones of the numbers that begin so, none where their clocks differ."""
    from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_geographical_number

    number = _split(beginning)
    if number is None:
        return ()
    zones = [name for name in time_zones_for_geographical_number(number) if name != UNKNOWN_TIMEZONE and is_zone(name)]
    return tuple(zones) if len({_clock(name) for name in zones}) == 1 else ()


@lru_cache(maxsize=1024)
def _zone_of_region(zones: tuple[str, ...], region: str | None) -> str:
    from babel.core import get_global

    territories = get_global("zone_territories")
    return next((name for name in zones if territories.get(name) == region), zones[0])


def _split(phone: str) -> PhoneNumber | None:
    """Return an E.164 number as the library's own; to parse it anew takes as long as to normalise it did."""
    import phonenumbers

    digits = phone.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return None
    code = _country_code(digits)
    national = digits[len(code) :]
    if not (code and national):
        return None
    zeros = len(national) - len(national.lstrip("0"))
    return phonenumbers.PhoneNumber(
        country_code=int(code),
        national_number=int(national),
        italian_leading_zero=zeros > 0 or None,
        number_of_leading_zeros=zeros if zeros > 1 else None,
    )


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
