"""Read customers: a row is refused only when it has no id; whatever else cannot be read is left out with a warning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from winback.addresses import is_zone, normalise_phone, zone_of_phone
from winback.errors import AddressError, InputError
from winback.importers.columns import Column, Columns
from winback.importers.reading import Cell, Reading, RowReader, own_id
from winback.importers.result import Kind
from winback.importers.staging import Loader, staged_consents, staged_customers
from winback.importers.values import NO_BIRTHDAY, Birthdays, CellError, Texts, parse_country, parse_flag, parse_locale

#: The columns of the customer's row that the file fills directly, in the staging table's order.
PLAIN = ("first_name", "last_name", "locale", "country", "city", "zone")

_CONSENTS = tuple(f"{channel}_{purpose}" for channel in ("email", "sms") for purpose in ("marketing", "service"))

_STAGED = (
    *("line", "external_id", "email", "phone", "email_hash", "phone_hash", *PLAIN, "phone_zone"),
    *("birth_year", "birth_month", "birth_day", "attributes", "cleared", "weight"),
)

#: Birthdays on 1 January past this share are rather a form's default than birthdays.
_SPIKE = 0.03
_SPIKE_LEAST = 20


class CustomerReader(RowReader):
    """Read rows of customers."""

    kind = Kind.CUSTOMERS

    def __init__(self, reading: Reading, header: Sequence[str] | None) -> None:
        super().__init__(reading, header)
        self._customers = reading.loader(staged_customers, _STAGED)
        self._consents = reading.loader(
            staged_consents, ("number", "line", "channel", "purpose", "granted", "at", "source", "wording")
        )  # fmt: skip
        self._numbers = count(1)  # of answers
        self._plain: Loader | None = None  # of rows that are staged by their columns

    def prepare(self) -> None:
        """Make the readers of the columns."""
        chosen = self.reading.map
        self._birthdays = Birthdays(self.reading.settings.region, chosen.birthday or chosen.date, self.reading.today)
        self._readers: dict[str, Callable[[Any], Any]] = {
            "email": self.address,
            "phone": Texts(100),
            "name": _repeated(Texts(400)),
            "first_name": _repeated(Texts(200)),
            "last_name": _repeated(Texts(200)),
            "city": _repeated(Texts(200)),
            "locale": parse_locale,
            "country": parse_country,
            "zone": _zone,
            "birthday": self._birthdays.parse,
            "consent_at": self._consent_at,
            "consent_source": Texts(100),
            "consent_wording": Texts(100),
            **dict.fromkeys(_CONSENTS, parse_flag),
        }

    def cell(self, name: str) -> Cell:
        """Return how one of our columns is read."""
        if name == "customer_id":
            return own_id(self.kind)
        free = self.free_cell(name)
        return free or Cell(name, self._readers[name])

    def check_columns(self, columns: Sequence[str]) -> None:
        """Need an id, or an e-mail address that stands for one."""
        if not {"customer_id", "email"} & set(columns):
            raise InputError(
                "no column of the file is the customer's id",
                f"say which one: --map customer_id=…; its columns are: {', '.join(self.header or ())}",
            )

    def stage(self, line: int, cells: dict[str, Any], raw: Any) -> None:
        """Write a customer and what they allowed into the staging tables."""
        email = cells.get("email")
        external_id = cells.get("customer_id")
        if external_id is None:
            # A plain list of addresses has no ids: there the address is the id.
            if "customer_id" in self.columns or email is None:
                raise CellError(
                    "customer_id is empty" if "customer_id" in self.columns or self.header is None else "email is empty"
                )
            external_id = self.as_id(email)
        email_hash = self.hashed(email) if email is not None else None
        phone = self._phone(cells)
        phone_hash = self.hashed(phone) if phone is not None else None
        # Families share phones: where the row has an address of its own, the number alone does not make it the same person.
        if self.is_erased(external_id, email_hash, phone_hash if email_hash is None else None):
            self.pass_erased()
            return
        first, last = _names(cells.get("first_name"), cells.get("last_name"), cells.get("name"))
        year, month, day = cells.get("birthday", NO_BIRTHDAY)
        if "birthday" in cells:
            self._birthdays.count(cells["birthday"])
        attributes = self.free_values(cells)
        get = cells.get
        self._customers.add((
            line, external_id, email, phone, email_hash, phone_hash,
            first, last, get("locale"), get("country"), get("city"), get("zone"), zone_of_phone(phone) if phone else None,
            year, month, day, attributes, _cleared(get("cleared")), 1,
        ))  # fmt: skip
        for name in _CONSENTS:
            if name in cells:
                channel, _, purpose = name.partition("_")
                source = get("consent_source") or self.reading.source
                self._consents.add((
                    next(self._numbers), line, channel, purpose, cells[name],
                    get("consent_at"), source[:100], get("consent_wording"),
                ))  # fmt: skip

    def stage_columns(self, columns: Columns, found: dict[str, Column]) -> bool:
        """Write customers and what they allowed."""
        nothing: Column = [None] * len(columns)
        emails, phones = found.get("email", nothing), found.get("phone", nothing)
        ids = found["customer_id"] if "customer_id" in found else columns.apply(self._id_of_address, emails)
        columns.need(ids)
        phones = columns.apply(self._number, phones, found.get("country", nothing))
        hashes = self.hashes(emails), self.hashes(phones)
        lone = [number if address is None else None for address, number in zip(*hashes, strict=True)]
        self.leave_erased(columns, ids, hashes[0], lone)
        first, last = found.get("first_name", nothing), found.get("last_name", nothing)
        if "name" in found:
            first, last = zip(*map(_names, first, last, found["name"]), strict=True)
        born = found.get("birthday", nothing)
        self._count_birthdays(born, columns.odd)
        staged = {
            "external_id": ids,
            "email": emails,
            "phone": phones,
            "email_hash": hashes[0],
            "phone_hash": hashes[1],
            "first_name": first,
            "last_name": last,
            **{name: found[name] for name in PLAIN[2:] if name in found},
            "phone_zone": [number and zone_of_phone(number) for number in phones],
        }
        if "birthday" in found:
            parts = zip(*(each or NO_BIRTHDAY for each in born), strict=True)
            staged |= dict(zip(("birth_year", "birth_month", "birth_day"), parts, strict=True))
        attributes = self.free_columns(found)
        if attributes is not None:
            staged["attributes"] = attributes
        if self._plain is None:
            self._plain = self.reading.loader(staged_customers, ("line", *staged))
        self._plain.extend(columns.rows(staged))
        self._stage_answers(columns, found, nothing)
        return True

    def _stage_answers(self, columns: Columns, found: dict[str, Column], nothing: Column) -> None:
        sources = [(each or self.reading.source)[:100] for each in found.get("consent_source", nothing)]
        numbers = self._numbers
        told = [found.get("consent_at", nothing), sources, found.get("consent_wording", nothing)]
        for name in _CONSENTS:
            if name in found:
                channel, _, purpose = name.partition("_")
                rows = columns.rows({"answer": found[name], **dict(zip(("at", "source", "wording"), told, strict=True))})
                self._consents.extend(
                    [
                        (next(numbers), line, channel, purpose, granted, *rest)
                        for line, granted, *rest in rows
                        if granted is not None
                    ]
                )

    def _count_birthdays(self, born: Column, odd: set[int]) -> None:
        for place, each in enumerate(born):
            if each is not None and place not in odd:
                self._birthdays.count(each)

    def _id_of_address(self, email: str | None) -> str | None:
        return None if email is None else self.as_id(email)

    def _number(self, text: str | None, country: str | None) -> str | None:
        try:
            return None if text is None else normalise_phone(text, country or self.reading.settings.region)
        except AddressError as error:
            raise CellError("not a phone number", f"{text!r}; {error.remedy}") from None

    def _phone(self, cells: dict[str, Any]) -> str | None:
        """Return the number in E.164; a national one is of the customer's country, else of the shop's."""
        try:
            return self._number(cells.get("phone"), cells.get("country"))
        except CellError as error:
            self.leave_out(f"phone {error.told}", error.detail)
            return None

    def _consent_at(self, text: str) -> Any:
        moment = self.moments.moment(text)
        # A date ahead of us would outweigh every later no.
        if moment > self.reading.now:
            raise CellError("in the future", repr(text))
        return self.reading.bind(moment)

    def finish(self) -> None:
        """Write what is still held back."""
        if self._plain is not None:
            self._plain.flush()
        self._customers.flush()
        self._consents.flush()

    def notes(self) -> list[str]:
        """Tell of placeholder birthdays and of a spike on 1 January."""
        found = self._birthdays
        notes = [*super().notes(), *filter(None, [found.order.note()])]
        if found.sentinels:
            notes.append(f"{found.sentinels} birthdays are placeholders (such as 1900-01-01) and were left out")
        if found.first_of_january >= max(_SPIKE_LEAST, _SPIKE * found.read):
            notes.append(f"{found.first_of_january} of {found.read} birthdays are on 1 January: perhaps a form's default")
        return notes


def _repeated(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader that remembers texts: there are far fewer names than people."""
    return lru_cache(maxsize=4096)(read)


def _zone(text: str) -> str:
    if not is_zone(text):
        raise CellError("not a time zone", f"{text!r}; use an IANA name, like Europe/Berlin")
    return text


def _names(first: str | None, last: str | None, both: str | None) -> tuple[str | None, str | None]:
    """Return first and last name; a column with both is split at the comma (`Miller, Ann`), else after the first word."""
    if both is None or first is not None or last is not None:
        return first, last
    if "," in both:
        family, _, given = both.partition(",")
        return given.strip()[:200] or None, family.strip()[:200] or None
    given, _, family = both.partition(" ")
    return given[:200], family.strip()[:200] or None


def _cleared(listed: str | None) -> str | None:
    """Return the emptied columns by the names of the customer's row."""
    if listed is None:
        return None
    listed = listed.replace(",name,", ",first_name,,last_name,").replace(",birthday,", ",birth_year,,birth_month,,birth_day,")
    return listed.replace(",email,", ",email,,email_hash,").replace(",phone,", ",phone,,phone_hash,,phone_zone,")
