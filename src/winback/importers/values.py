"""Turn the texts of a file into values: amounts, moments, birthdays, yes and no. What cannot be read raises CellError."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from winback.clock import local_instant


class CellError(ValueError):
    """Say why a text cannot be used: `reason` is the same for all such texts, `detail` speaks of this one."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail

    @property
    def told(self) -> str:
        """Return the reason as it follows the name of a column: `is not a date`, `has a NUL character`."""
        return self.reason if self.reason.startswith("has ") else f"is {self.reason}"


#: Texts that databases and spreadsheets export for an empty cell.
EMPTY = frozenset({"", "NULL", "\\N", "#N/A"})

_YES_WORDS = (
    "yes y true t 1 on x ✓ subscribed opted-in opted_in opt-in granted active ja oui si sí sim tak да igen evet 是 نعم כן"
)
_NO_WORDS = (
    "no n false f 0 off unsubscribed opted-out opted_out opt-out denied revoked nein non não nao nie нет nem hayır 否 لا לא"
)
#: Words that say nobody was asked, or nobody has answered yet.
_UNASKED_WORDS = "pending unconfirmed unknown not_subscribed never none nonsubscribed non-subscribed"
_YES, _NO, _UNASKED = (frozenset(words.split()) for words in (_YES_WORDS, _NO_WORDS, _UNASKED_WORDS))

#: Countries that write the month before the day when they write slashes.
_MONTH_FIRST = frozenset({"US", "PH", "PR", "GU", "AS", "VI", "FM", "MH", "PW"})

_PLAIN_AMOUNT = re.compile(r"-?\d+(?:\.\d\d)?\Z")
_AMOUNT = re.compile(r"(?P<minus>[-−(]?)\s*(?P<number>\d[\d.,'’\s]*|[.,]\d+)\s*(?P<close>\)?)(?P<trail>-?)\Z")
_CURRENCY_MARK = re.compile(r"^[-−(]?\s*(?P<before>[^\d\s.,'’()\-−]{1,4})|(?P<after>[^\d\s.,'’()\-−]{1,4})\s*\)?\s*-?$")

#: In minor units; sums of thousands of them still fit 64 bits.
LARGEST_AMOUNT = 10**15

_DOTTED = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.(?:\s?(\d{4}|\d{2}))?\Z")
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})(?:/(\d{4}|\d{2}))?\Z")
_DASHED = re.compile(r"(?:--|(\d{4})-)?(\d{1,2})-(\d{1,2})\Z")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?\Z")
_OFFSET_AFTER_SPACE = re.compile(r"\s+(?:UTC|GMT|Z)?(?=[+-]\d{2}:?\d{2}\Z)")

#: Dates that programs write when they know none.
_SENTINELS = frozenset({(1900, 1, 1), (1970, 1, 1), (1, 1, 1), (1899, 12, 30), (1899, 12, 31), (1753, 1, 1), (1800, 1, 1)})

#: Years that address books write for a birthday without a year (1604 is Apple's).
_YEARLESS = frozenset({0, 4, 1604})

#: Characters of a date without a time: such texts come again and again.
_LONGEST_DAY = 10

#: Nothing in a shop's books is older; earlier dates are placeholders.
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)


def exponent(currency: str) -> int:
    """Return how many decimals a currency has; raise CellError for a code that is none."""
    if not re.fullmatch(r"[A-Z]{3}", currency) or currency not in _currencies():
        raise CellError("not a currency code", f"{currency!r}; ISO 4217 has three letters, like EUR")
    return _precision(currency)


@lru_cache(maxsize=1)
def _currencies() -> frozenset[str]:
    from babel.numbers import list_currencies

    return frozenset(list_currencies())


@lru_cache(maxsize=256)
def _precision(currency: str) -> int:
    from babel.numbers import get_currency_precision

    return get_currency_precision(currency)


class Amounts:
    """Read amounts of money exactly, as integers of minor units; nothing passes through a binary fraction."""

    def __init__(self, *, decimal: str | None = None, minor: bool = False, rounded: bool = False) -> None:
        self._decimal = decimal
        self._minor = minor
        self._rounded = rounded
        #: Return the minor units of a text in a currency: `1,234.50`, `1.234,50 €`, `(12.00)` or `-3`.
        self.parse: Callable[[str, str], int] = lru_cache(maxsize=65536)(self._parse)

    def _parse(self, text: str, currency: str) -> int:
        places = 0 if self._minor else exponent(currency)
        if places == 2 and self._decimal != "," and _PLAIN_AMOUNT.match(text):
            return _bounded(int(text.replace(".", "")) * (1 if "." in text else 100), text)
        mark = _CURRENCY_MARK.search(text)
        bare = text.replace(mark.group("before") or mark.group("after"), "", 1).strip() if mark else text
        match = _AMOUNT.match(bare)
        if not match or (match["minus"] == "(") != bool(match["close"]):
            raise CellError("not an amount", repr(text))
        whole, fraction = self._split(re.sub(r"['’\s]", "", match["number"]), text)
        fraction, rest = fraction[:places].ljust(places, "0"), fraction[places:]
        value = int((whole or "0") + fraction)
        if rest.strip("0"):
            if not self._rounded:
                raise CellError(f"more decimals than {currency} has", f"{text!r}; write `round = true` in the map to round")
            value += rest[0] >= "5"
        return _bounded(-value if match["minus"] or match["trail"] else value, text)

    def _split(self, number: str, text: str) -> tuple[str, str]:
        """Return the digits before and after the decimal sign."""
        marks = {sign for sign in ".," if sign in number}
        decimal = self._decimal
        if decimal is None and len(marks) == 2:
            decimal = max(marks, key=number.rfind)
        elif decimal is None and len(marks) == 1:
            (sign,) = marks
            after = number.rpartition(sign)[2]
            before = number.partition(sign)[0]
            if number.count(sign) == 1 and len(after) == 3 and 1 <= len(before) <= 3 and before[0] != "0":
                raise CellError(
                    "an amount that can be read in two ways", f"{text!r}; say which sign is the decimal one: --decimal"
                )
            decimal = sign if number.count(sign) == 1 else None
        whole, _, fraction = number.rpartition(decimal) if decimal and decimal in number else (number, "", "")
        groups = re.split(r"[.,]", whole)
        if not (fraction.isdigit() or not fraction) or any(len(group) != 3 for group in groups[1:]):
            raise CellError("not an amount", repr(text))
        return "".join(groups), fraction


def _bounded(value: int, text: str) -> int:
    if abs(value) > LARGEST_AMOUNT:
        raise CellError("an amount beyond reason", repr(text))
    return value


class DayOrder:
    """Read day and month of dates with slashes in the order of the shop's country, and know whether the dates bear it out."""

    def __init__(self, region: str) -> None:
        self._month_first = region in _MONTH_FIRST
        self._examples: dict[bool, str] = {}  # of dates that can be read in two ways, and of those that cannot

    def read(self, first: str, second: str) -> tuple[int, int]:
        """Return month and day."""
        month, day = (int(first), int(second)) if self._month_first else (int(second), int(first))
        if month != day and month <= 12:
            self._examples.setdefault(day <= 12, f"{first}/{second}")
        return month, day

    def note(self) -> str | None:
        """Return what a person should look at: dates that can be read in two ways, and none that tells which."""
        if True not in self._examples or False in self._examples:
            return None
        order, other = ("month/day", "%d/%m/%Y") if self._month_first else ("day/month", "%m/%d/%Y")
        return f"dates such as {self._examples[True]} were read as {order}; if that is wrong: --date-format {other}"


class Moments:
    """Read moments; without an offset they are wall-clock times of `zone`, a bare date is its first moment."""

    def __init__(self, zone: str, region: str, style: str | None, bind: Callable[[datetime], Any]) -> None:
        """Take `style` as a strptime format, `unix` (seconds), `unix_ms`, or None to recognise the usual ones.

        `bind` makes of a moment what the database driver takes.
        """
        self._zone = ZoneInfo(zone)
        self._style = style
        self._bind = bind
        self._days: dict[str, Any] = {}
        self.order = DayOrder(region)

    def parse(self, text: str) -> Any:
        """Return the moment as the database driver takes it."""
        if len(text) > _LONGEST_DAY:
            return self._bind(self.moment(text))
        known = self._days.get(text)
        if known is None:
            if len(self._days) > 65536:
                self._days.clear()
            known = self._days[text] = self._bind(self.moment(text))
        return known

    def moment(self, text: str) -> datetime:
        """Return the moment in UTC."""
        try:
            moment = self._read(text)
            if moment.tzinfo is None:
                moment = local_instant(moment.date(), moment.time(), self._zone)
            elif moment.tzinfo is not UTC:
                moment = moment.astimezone(UTC)
        except (ValueError, OverflowError, OSError) as error:
            if isinstance(error, CellError):
                raise
            raise CellError("not a date", f"{text!r}; say how dates are written: --date-format") from None
        if moment < _EARLIEST:
            raise CellError("a placeholder instead of a date", repr(text))
        return moment

    def _read(self, text: str) -> datetime:
        if self._style in {"unix", "unix_ms"}:
            return datetime.fromtimestamp(float(text) / (1000 if self._style == "unix_ms" else 1), UTC)
        if self._style:
            return datetime.strptime(text, self._style)  # noqa: DTZ007 - the zone is added by the caller
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
        text = _OFFSET_AFTER_SPACE.sub("", text)
        if text.endswith((" UTC", " GMT")):
            text = text[:-4] + "+00:00"
        day, _, clock = text.partition(" ")
        return self._day(day, text) if not clock else _at(self._day(day, text, required=False), clock, text)

    def _day(self, day: str, text: str, *, required: bool = True) -> datetime:
        if match := _DOTTED.match(day.rstrip(",")):
            d, m, y = match.groups()
        elif match := _SLASHED.match(day.rstrip(",")):
            (m, d), y = self.order.read(match[1], match[2]), match[3]
        else:
            return datetime.fromisoformat(day if not required else text)
        if not y or len(y) == 2:
            raise CellError("a date without its full year", f"{text!r}; say how dates are written: --date-format")
        return datetime(int(y), int(m), int(d))  # noqa: DTZ001 - the zone is added by the caller


def _at(day: datetime, clock: str, text: str) -> datetime:
    match = _CLOCK.match(clock.strip())
    if not match:
        return datetime.fromisoformat(text)
    hour = int(match[1])
    if match[4]:
        hour = hour % 12 + (12 if match[4] in "Pp" else 0)
    return day.replace(hour=hour, minute=int(match[2]), second=int(match[3] or 0))


Birthday: TypeAlias = tuple[int | None, int | None, int | None]  # year, month, day

NO_BIRTHDAY: Birthday = (None, None, None)


class Birthdays:
    """Read birthdays, whose year may be unknown, and count them; placeholder dates are none and are counted in `sentinels`."""

    def __init__(self, region: str, style: str | None, today: date) -> None:
        self.order = DayOrder(region)
        self._style = style if style not in {"unix", "unix_ms"} else None
        self._today = today
        self.read = 0
        self.sentinels = 0
        self.first_of_january = 0
        #: Return year (None: unknown), month and day of a text; NO_BIRTHDAY for a placeholder.
        self.parse: Callable[[str], Birthday] = lru_cache(maxsize=65536)(self._parse)

    def count(self, born: Birthday) -> None:
        """Count a birthday that was read."""
        if born == NO_BIRTHDAY:
            self.sentinels += 1
            return
        self.read += 1
        self.first_of_january += born[1:] == (1, 1)

    def _parse(self, text: str) -> Birthday:
        year, month, day = self._parts(text)
        if (year, month, day) in _SENTINELS or (month, day) == (0, 0):
            return NO_BIRTHDAY
        if year in _YEARLESS:
            year = None
        try:
            born = date(year or 2000, month, day)  # 2000 was a leap year: 29 February passes when the year is unknown
        except ValueError:
            raise CellError("not a birthday", repr(text)) from None
        if year is not None and (born > self._today or self._today.year - year > 130):
            raise CellError("not a birthday of anybody living", repr(text))
        return year, month, day

    def _parts(self, text: str) -> tuple[int | None, int, int]:
        if self._style:
            try:
                return self._styled(text)
            except ValueError:
                raise CellError("not a birthday", f"{text!r} is not written as {self._style}") from None
        day_text = re.split(r"[T ](?=\d\d:)", text)[0]
        if match := _DASHED.match(day_text):
            return (int(match[1]) if match[1] else None), int(match[2]), int(match[3])
        if match := _DOTTED.match(day_text):
            return self._year(match[3]), int(match[2]), int(match[1])
        if match := _SLASHED.match(day_text):
            return self._year(match[3]), *self.order.read(match[1], match[2])
        if re.fullmatch(r"\d{8}", day_text):
            return int(day_text[:4]), int(day_text[4:6]), int(day_text[6:])
        raise CellError("not a birthday", f"{text!r}; write it like 1985-11-24, or --11-24 when the year is unknown")

    def _styled(self, text: str) -> tuple[int | None, int, int]:
        style = self._style or ""
        if "%Y" in style or "%y" in style:
            known = datetime.strptime(text, style)  # noqa: DTZ007 - only the date is used
            year = known.year - (100 if "%y" in style and known.date() > self._today else 0)
            return year, known.month, known.day
        leap = datetime.strptime(f"{text} 2000", f"{style} %Y")  # noqa: DTZ007 - only the date is used
        return None, leap.month, leap.day

    def _year(self, text: str | None) -> int | None:
        if not text:
            return None
        if len(text) == 4:
            return int(text)
        year = self._today.year // 100 * 100 + int(text)
        return year - 100 if year > self._today.year else year


@lru_cache(maxsize=1024)
def parse_flag(text: str) -> bool | None:
    """Return a yes, a no, or None for a word that says nobody has answered yet."""
    word = text.casefold().replace("opted ", "opted-")
    if word in _YES:
        return True
    if word in _NO:
        return False
    if word.replace(" ", "_") in _UNASKED:
        return None
    raise CellError("neither yes nor no", repr(text))


def parse_whole(text: str, largest: int = 1_000_000) -> int:
    """Return a whole number; `2.000` with nothing but zeros after the sign is one."""
    match = re.fullmatch(r"(-?\d{1,9})(?:[.,]0+)?", text)
    if not match or abs(int(match[1])) > largest:
        raise CellError("not a whole number", repr(text))
    return int(match[1])


@dataclass(frozen=True)
class Texts:
    """Read texts of at most `limit` characters that both databases can store."""

    limit: int

    def __call__(self, text: str) -> str:
        """Return the text."""
        if len(text) > self.limit:
            raise CellError(f"longer than {self.limit} characters")
        if "\x00" in text:
            raise CellError("has a NUL character")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise CellError("has half of a character (a lone surrogate)") from None
        return text

    def takes_all(self, texts: Sequence[str]) -> bool:
        """Say whether all of these are taken, as far as that shows at a glance."""
        joined = "".join(texts)
        return max(map(len, texts)) <= self.limit and joined.isascii() and "\x00" not in joined


@lru_cache(maxsize=1024)
def parse_country(text: str) -> str:
    """Return the ISO 3166-1 alpha-2 code of a country, given as a code of two or three letters or by its English or own name."""
    code = _countries().get(text.casefold())
    if code is None:
        raise CellError("not a country", f"{text!r}; use the two letters of ISO 3166-1, like DE")
    return code


@lru_cache(maxsize=1)
def _countries() -> dict[str, str]:
    from babel import Locale
    from babel.core import get_global

    aliases: Any = get_global("territory_aliases")
    english: Any = Locale("en").territories
    codes = {
        code for code in english if len(code) == 2 and code.isalpha() and code not in {"EU", "EZ", "UN", "XA", "XB", "ZZ", "QO"}
    }
    known: dict[str, str] = {}
    for language in ("ar", "he", "fa", "ru", "uk", "pl", "tr", "pt", "it", "es", "fr", "nl", "de", "en"):
        territories: Any = Locale(language).territories
        known |= {name.casefold(): code for code, name in territories.items() if code in codes}
    for alias, targets in aliases.items():
        if len(alias) == 3 and alias.isalpha() and len(targets) == 1 and targets[0] in codes:
            known[alias.casefold()] = targets[0]
    known |= {code.casefold(): code for code in codes}
    return known | {"uk": "GB", "usa": "US", "united states of america": "US", "great britain": "GB", "england": "GB"}


@lru_cache(maxsize=1024)
def parse_locale(text: str) -> str:
    """Return a locale in the spelling of BCP 47 (`de-AT`); raise CellError for one that is not known."""
    from babel import Locale, UnknownLocaleError

    try:
        parsed = Locale.parse(text.replace("_", "-").split(".")[0], sep="-")
    except (UnknownLocaleError, ValueError):
        raise CellError("not a locale", f"{text!r}; write it like de or de-AT") from None
    return "-".join(part for part in (parsed.language, parsed.script, parsed.territory) if part)
