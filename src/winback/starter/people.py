"""Make up people: names, addresses, phones, birthdays, zones and consents, the same ones for the same seed."""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

#: Letters that have a spelling of their own in addresses; other marks are dropped (é → e).
_SPELLED = str.maketrans({
    "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "å": "aa", "ø": "oe", "æ": "ae", "ı": "i", "ł": "l", "'": "", "’": "", ".": "",
})  # fmt: skip

#: A leap year: everybody's birthday is in it, also those of 29 February.
_LEAP_YEAR = 2000

#: What a web form of long ago wrote for people who told no birthday.
_PLACEHOLDER = "1900-01-01"


@dataclass(frozen=True)
class Person:
    """Somebody made up. `lives_in` is their real time zone, which the shop need not know (`row`)."""

    row: Mapping[str, Any]  # as the importer of customers takes it
    since: datetime  # when the shop came to know them
    country: str
    lives_in: ZoneInfo

    @property
    def id(self) -> str:
        """Return the shop's own id."""
        return str(self.row["customer_id"])


class Crowd:
    """Makes people, one after the other; e-mail addresses and phones are given out once."""

    def __init__(self, seed: int, today: date) -> None:
        """Let nobody be younger than 18 on `today`."""
        self._seed = seed
        self._today = today
        self._taken = {_places().shown[name] for name in ("email", "phone")}

    def customer(self, external_id: str, since: datetime, genre: str) -> Person:
        """Return somebody who first ordered at `since`, and what they listen to mostly."""
        attributes = {"genre": genre}
        if external_id == _places().shown["customer_id"]:
            return self._shown(attributes, since)
        return self._person(self._rng(external_id), external_id, attributes, since, "checkout", asked=0.76, phone=0.58)

    def lead(self, external_id: str, since: datetime) -> Person:
        """Return somebody who left an address for the guides at `since` and has not ordered yet."""
        rng = self._rng(external_id)
        found_by = rng.choice(("search", "friend", "radio", "market stall", "instagram"))
        attributes = {"found_us_by": found_by}
        return self._person(rng, external_id, attributes, since, "guide form", asked=1.0, phone=0.2)

    def _shown(self, attributes: dict[str, str], since: datetime) -> Person:
        row = {**_places().shown, "consent_at": since.isoformat(), "consent_source": "checkout", "attributes": attributes}
        return Person(row, since, row["country"], ZoneInfo(row["zone"]))

    def _rng(self, external_id: str) -> Random:
        # Each person has dice of their own: one more column for one does not change everybody else.
        return Random(f"{self._seed}:person:{external_id}")  # noqa: S311 - invented people, not secrets

    def _person(
        self,
        rng: Random,
        external_id: str,
        attributes: dict[str, str],
        since: datetime,
        source: str,
        *,
        asked: float,
        phone: float,
    ) -> Person:
        place = _places()
        country = rng.choices(place.countries, place.shares)[0]
        home = place.of[country]
        city, zone, landline = rng.choice(home["cities"])
        (first, last), (latin_first, latin_last) = zip(
            _spelled(rng.choice(home["first"])), _spelled(rng.choice(home["last"])), strict=True
        )
        is_lead = source != "checkout"
        email = self._email(rng, latin_first, latin_last) if is_lead or rng.random() < 0.955 else None
        number, is_mobile = self._phone(rng, home.get("mobile", []), landline, phone if email else 0.9)
        known = rng.random()  # how much the shop knows of the name
        row: dict[str, Any] = {
            "customer_id": external_id,
            "email": email,
            "phone": number,
            "first_name": first if known < 0.93 else None,
            "last_name": last if known < 0.97 and not (is_lead and known < 0.4) else None,
            "country": country if rng.random() < 0.97 else None,
            "city": city if rng.random() < 0.85 and not is_lead else None,
            "locale": rng.choice(home["locales"]) if rng.random() < 0.8 else None,
            "zone": zone if rng.random() < (0.25 if zone == "Europe/Berlin" else 0.85) else None,
            "birthday": None if is_lead else self._birthday(rng),
            **self._consents(rng, email is not None, number is not None, is_mobile, asked),
            "consent_at": since.isoformat(),
            "consent_source": source,
            "consent_wording": "2024-11",
            "attributes": attributes,
        }
        return Person({name: value for name, value in row.items() if value is not None}, since, country, ZoneInfo(zone))

    def _email(self, rng: Random, first: str, last: str) -> str:
        one, other = _ascii(first), _ascii(last)
        shape = rng.choice(("{0}.{1}", "{0}.{1}", "{0}{1}", "{2}.{1}", "{1}.{0}", "{0}_{1}", "{0}{3:02}", "{1}{3:02}"))
        local = shape.format(one, other, one[:1], rng.randrange(100))
        domain = rng.choice(_places().mail_domains)
        address, number = f"{local}@{domain}", 1
        while address in self._taken:
            number += 1
            address = f"{local}{number}@{domain}"
        self._taken.add(address)
        return address

    def _phone(self, rng: Random, mobile: Sequence[str], landline: str, share: float) -> tuple[str | None, bool]:
        """Return a number that nobody else has, and whether it is a mobile's."""
        if rng.random() >= share:
            return None, False
        on_the_move = bool(mobile) and (rng.random() < 0.55 or not landline)
        numbers = rng.choice(mobile) if on_the_move else landline
        if not numbers:
            return None, False
        lowest, _, highest = numbers.partition("..")
        low, count = int(lowest), int(highest) - int(lowest) + 1
        start = rng.randrange(count)
        for step in range(count):
            number = f"+{low + (start + step) % count}"
            if number not in self._taken:
                self._taken.add(number)
                return number, on_the_move
        return None, False

    def _birthday(self, rng: Random) -> str | None:
        draw = rng.random()
        if draw < 0.3:
            return None
        if draw < 0.304:
            return _PLACEHOLDER
        # A few more on 29 February than there should be, so that some are there.
        leap_day = rng.random() < 0.004
        day = date(_LEAP_YEAR, 2, 29) if leap_day else date(_LEAP_YEAR, 1, 1) + timedelta(days=rng.randrange(366))
        age = 18 + int(rng.betavariate(2, 2.6) * 65)
        year = self._today.year - age - 1
        if draw < 0.48:
            return f"--{day:%m-%d}"
        if (day.month, day.day) == (2, 29):
            year -= year % 4
        return f"{year}-{day:%m-%d}"

    def _consents(self, rng: Random, has_email: bool, has_phone: bool, is_mobile: bool, asked: float) -> dict[str, bool]:
        """Return what the person allowed, only where they were asked and have the address."""
        found: dict[str, bool] = {}
        if has_email and rng.random() < asked:
            found["email_marketing"] = rng.random() < 0.86
        if has_phone and (is_mobile or not has_email or rng.random() < 0.1):
            found["sms_marketing"] = rng.random() < 0.62
        if has_email and rng.random() < 0.012:
            found["email_service"] = False
        return found


@dataclass(frozen=True)
class _Places:
    mail_domains: list[str]
    shown: Mapping[str, Any]  # the customer of the documentation, as the importer of customers takes it
    countries: list[str]
    shares: list[int]
    of: Mapping[str, Mapping[str, Any]]


@cache
def _places() -> _Places:
    tables = tomllib.loads((files("winback") / "starter" / "made_up" / "people.toml").read_text(encoding="utf-8"))
    domains, shown = tables.pop("everybody")["mail_domains"], tables.pop("shown")
    return _Places(domains, shown, list(tables), [table["share"] for table in tables.values()], tables)


def _spelled(name: str) -> tuple[str, str]:
    """Return a name as written, and in Latin letters: `כהן|cohen` has both."""
    written, _, latin = name.partition("|")
    return written, latin or written


def _ascii(name: str) -> str:
    spelled = unicodedata.normalize("NFKD", name.casefold().translate(_SPELLED))
    return "".join(letter for letter in spelled if letter.isascii() and letter.isalnum())
