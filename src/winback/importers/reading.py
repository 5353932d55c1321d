"""Make of each row of a file the values of our columns; what kinds of rows have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Table

from winback.addresses import hash_address, is_zone, normalise_email
from winback.errors import AddressError, InputError
from winback.importers.attributes import TYPES, as_json, attribute, attribute_name, attributes
from winback.importers.columns import Column, Columns
from winback.importers.files import Block, Unreadable, raw_text
from winback.importers.mapping import FREE, ID, ImportMap, resolve_columns, template_parts
from winback.importers.result import ImportSettings, Kind
from winback.importers.staging import Loader
from winback.importers.tally import Tally
from winback.importers.values import EMPTY, Amounts, CellError, Moments, Texts
from winback.store.erasure import erased_id

#: A key that a JSON object does not have; None is a value that it has and that is to be emptied.
_ABSENT = object()

#: Digits of a number that are still written out.
_LONGEST_NUMBER = 30


#: The longest id; with the number of `{n}` it still fits its column.
ID_LIMIT = 180


@dataclass(frozen=True)
class Reading:
    """What the readers of all kinds are given."""

    settings: ImportSettings
    map: ImportMap
    now: datetime
    source: str  # for the consent log: import:FILE, api
    delimiter: str | None
    bind: Callable[[datetime], Any]
    erased_ids: frozenset[str]
    erased_hashes: frozenset[str]
    tally: Tally
    loader: Callable[[Table, Sequence[str]], Loader]

    @property
    def zone(self) -> str:
        """Return the zone of moments without an offset; raise InputError for one that does not exist."""
        zone = self.map.zone or self.settings.zone
        if not is_zone(zone):
            raise InputError(f"{zone!r} is not a time zone", "use an IANA name, like Europe/Berlin")
        return zone

    @property
    def today(self) -> date:
        """Return the shop's present day."""
        return self.now.astimezone(ZoneInfo(self.settings.zone)).date()


@dataclass(frozen=True, slots=True)
class Cell:
    """How one of our columns is read; a bad `hard` one refuses the whole row, another is left out with a warning."""

    name: str
    read: Callable[[Any], Any]
    hard: bool = False
    takes: type | tuple[type, ...] = ()  # of JSON values that are handed over as they are: objects, lists


class Plan(NamedTuple):
    """How the rows of one header, or the objects with the same keys, are read."""

    cells: tuple[Cell, ...]
    pick: Callable[[Any], Sequence[Any]]  # their values out of a row, in the order of `cells`
    free: tuple[str, ...]  # names among them that are attributes


class RowReader(ABC):
    """Read rows of one kind into the staging tables."""

    kind: ClassVar[Kind]

    def __init__(self, reading: Reading, header: Sequence[str] | None) -> None:
        self.reading = reading
        self.tally = reading.tally
        self.moments = Moments(reading.zone, reading.settings.region, reading.map.date, reading.bind)
        self.amounts = Amounts(
            decimal=reading.map.decimal, minor=reading.map.amounts == "minor", rounded=reading.map.round
        )  # fmt: skip
        self.prepare()
        self.clears = False  # whether any row empties a column
        self.header = header
        self.sources: dict[str, str] = {}  # ours = theirs
        self._left_out: list[tuple[str, str]] = []  # of the row at hand: reasons and details
        self._free_names: tuple[str, ...] = ()  # of the row at hand
        self._clear_empty = reading.map.empty == "clear"
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._constants = self._read_constants()
        self._ids = [(ours, *self._template(template)) for ours, template in reading.map.ids.items()]
        if header is not None:
            try:
                self._fixed: Plan | None = self._plan(tuple(header), indexed=True)
            except CellError as error:
                raise InputError(f"the name of a column {error.told}", "rename it") from error
            self.columns = [cell.name for cell in self._fixed.cells] + list(self._constants) + list(reading.map.ids)
            self.check_columns(self.columns)
        else:
            self._fixed = None
            self.columns = []

    def prepare(self) -> None:  # noqa: B027 - most kinds prepare nothing
        """Make what `cell` needs."""

    @abstractmethod
    def cell(self, name: str) -> Cell:
        """Return how one of our columns is read."""

    @abstractmethod
    def stage(self, line: int, cells: dict[str, Any], raw: Any) -> None:
        """Write one row's values into the staging tables, or refuse it by raising CellError."""

    @abstractmethod
    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise InputError when a file with these columns of ours cannot be imported."""

    def finish(self) -> None:  # noqa: B027 - most kinds hold nothing back
        """Write what is still held back."""

    def notes(self) -> list[str]:
        """Return what a person should know of the file as a whole."""
        found = []
        if self.header is not None:
            used = {*self.sources.values(), *(name for _, names, _ in self._ids for name in names)}
            unused = [name for name in self.header if name and name not in used]
            if unused:
                more = f" and {len(unused) - 10} more" if len(unused) > 10 else ""
                found.append(f"not used: {', '.join(unused[:10])}{more} (to keep one: --map {FREE[self.kind]}.NAME=COLUMN)")
        return [*found, *filter(None, [self.moments.order.note()])]

    def stage_columns(self, columns: Columns, found: dict[str, Column]) -> bool:
        """Write rows that are nothing out of the ordinary into the staging tables by their columns; say whether that was done."""
        return False

    def read_block(self, block: Block) -> None:
        """Read rows that follow each other: by their columns where it can be, the others one by one."""
        places: Sequence[int] = range(len(block.rows))
        if block.is_even and not self._clear_empty:
            columns, found = self._columns(block)
            if self.stage_columns(columns, found):
                places = sorted(columns.odd)
                self.tally.rows += len(block.rows) - len(places)
        for place in places:
            self.read(block.lines[place], block.rows[place])

    def read(self, line: int, raw: Any) -> None:
        """Read one row: stage it, or refuse it with its reason."""
        self.tally.rows += 1
        if raw.__class__ is Unreadable:
            self.tally.reject(line, raw.reason, "", raw.raw)
            return
        try:
            self.stage(line, self._cells(raw), raw)
        except CellError as error:
            self._left_out.clear()  # the row is not kept: one reason is enough
            self.tally.reject(line, error.reason, error.detail, raw_text(raw, self.reading.delimiter))
        if self._left_out:
            for reason, detail in self._left_out:
                self.tally.warn(line, reason, detail, raw_text(raw, self.reading.delimiter))
            self._left_out.clear()

    def leave_out(self, reason: str, detail: str) -> None:
        """Note a value that is left out of the row at hand."""
        self._left_out.append((reason, detail))

    def _cells(self, raw: Any) -> dict[str, Any]:
        plan = self._fixed or self._plan_of_object(raw)
        self._free_names = plan.free
        found = self._constants.copy()
        cleared = None
        for cell, given in zip(plan.cells, plan.pick(raw), strict=True):
            if given.__class__ is str:
                text: Any = given.strip()
                if text in EMPTY:
                    if self._clear_empty:
                        cleared = f"{cleared or ','}{cell.name},"
                    continue
            elif given is _ABSENT:
                continue
            elif given is None:
                cleared = f"{cleared or ','}{cell.name},"
                continue
            else:
                text = None
            try:
                if text is None:
                    text = given if isinstance(given, cell.takes) else _text_of(given)
                read = cell.read(text)
            except CellError as error:
                reason = f"{cell.name} {error.told}"
                if cell.hard:
                    raise CellError(reason, error.detail) from None
                self.leave_out(reason, error.detail)
                continue
            if read is not None:
                found[cell.name] = read
        for ours, names, build in self._ids:
            try:
                made = build(raw)
            except CellError as error:
                raise CellError(f"{ours} {error.told}") from None
            if made is None:
                raise CellError(f"{ours} cannot be made: {' or '.join(names)} is empty")
            found[ours] = made
        if cleared:
            found["cleared"] = cleared
            self.clears = True
        return found

    def _columns(self, block: Block) -> tuple[Columns, dict[str, Column]]:
        """Return what `_cells` does, for many rows of a file with a header."""
        plan = self._fixed
        assert plan is not None  # noqa: S101 - only such files have even rows
        columns = Columns(block, [cell.name for cell in plan.cells], plan.pick)
        found: dict[str, Column] = {name: [value] * len(block.rows) for name, value in self._constants.items()}
        for cell in plan.cells:
            values = columns.read(cell.name, cell.read)
            if cell.name in self._constants:
                values = [self._constants[cell.name] if value is None else value for value in values]
            found[cell.name] = values
        for ours, _, build in self._ids:
            found[ours] = columns.apply(build, block.rows)
            columns.need(found[ours])
        return columns, found

    def _plan_of_object(self, raw: dict[str, Any]) -> Plan:
        keys = tuple(raw)
        plan = self._plans.get(keys)
        if plan is None:
            if len(self._plans) > 1000:
                self._plans.clear()
            plan = self._plans[keys] = self._plan(keys, indexed=False)
        return plan

    def _plan(self, keys: tuple[str, ...], *, indexed: bool) -> Plan:
        chosen = self.reading.map
        if indexed:
            columns = self.sources = resolve_columns(self.kind, chosen, keys)
        else:
            # An object may lack any key, and a mapped one may lie deeper: "customer.email".
            present = {ours: theirs for ours, theirs in chosen.columns.items() if theirs in keys}
            deeper = {ours: theirs for ours, theirs in chosen.columns.items() if theirs not in keys}
            columns = resolve_columns(self.kind, chosen.model_copy(update={"columns": present}), keys)
            free = FREE[self.kind]
            columns |= {name: name for name in (free, "lines") if name in keys and chosen.guess and name not in columns}
            columns = {ours: theirs for ours, theirs in columns.items() if ours not in deeper} | deeper
        prefix = f"{FREE[self.kind]}."
        attribute_names = tuple(ours for ours in (*columns, *chosen.constants) if ours.startswith(prefix))
        cells = tuple(self.cell(ours) for ours in columns)
        if indexed:
            return Plan(cells, _by_index([keys.index(theirs) for theirs in columns.values()]), attribute_names)
        paths = list(columns.values())
        return Plan(cells, lambda row: [_look_up(row, path) for path in paths], attribute_names)

    def _read_constants(self) -> dict[str, Any]:
        read = {}
        for ours, value in self.reading.map.constants.items():
            try:
                read[ours] = self.cell(ours).read(str(value).lower() if isinstance(value, bool) else str(value))
            except CellError as error:
                raise InputError(f"constants.{ours} is {error.reason}", error.detail) from error
        return read

    def _template(self, template: str) -> tuple[list[str], Callable[[Any], str | None]]:
        """Return the columns an id is made of, and what makes it; {n} is 1 until all rows are known."""
        parts = [(literal, name) for literal, name in template_parts(template) if name != "n"]
        literal, last = template_parts(template)[-1]
        shape = "".join(literal.replace("%", "%%") + ("%s" if name is not None else "") for literal, name in parts)
        if last == "n":
            shape += literal.replace("%", "%%") + "1"
        names = [name for _, name in parts if name is not None]
        if self.header is not None:
            lacking = [name for name in names if name not in self.header]
            if lacking:
                raise InputError(
                    f"ids: the file has no column {', '.join(lacking)}", f"its columns are: {', '.join(self.header)}"
                )
            pick = _by_index([list(self.header).index(name) for name in names])
        else:

            def pick(row: Any) -> Sequence[Any]:
                return [_look_up(row, name) for name in names]

        checked = Texts(ID_LIMIT)

        def build(row: Any) -> str | None:
            values = tuple([value.strip() if value.__class__ is str else _id_part(value) for value in pick(row)])
            return checked(shape % values) if all(values) else None

        return names, build

    # What several kinds need.

    def address(self, text: str) -> str:
        """Read an e-mail address."""
        try:
            return normalise_email(text)
        except AddressError as error:
            raise CellError("not an e-mail address", f"{text!r}; {error.remedy}") from None

    def as_id(self, email: str) -> str:
        """Return an address that stands for an id, where it is not too long for one."""
        if len(email) > ID_LIMIT:
            raise CellError("the e-mail address is too long to stand for an id", "give the row a customer_id")
        return email

    def hashed(self, address: str) -> str:
        """Return the keyed hash of an address."""
        return hash_address(address, self.reading.settings.address_key)

    def hashes(self, addresses: Column) -> Column:
        """Return the keyed hashes of addresses; None for none."""
        return [None if address is None else self.hashed(address) for address in addresses]

    def is_erased(self, external_id: str | None, *hashes: str | None) -> bool:
        """Say whether a person asked to be forgotten, by the hash of their id or of an address."""
        known = self.reading
        if (
            known.erased_ids
            and external_id is not None
            and erased_id(external_id, known.settings.address_key) in known.erased_ids
        ):
            return True
        return bool(known.erased_hashes) and any(each in known.erased_hashes for each in hashes)

    def leave_erased(self, columns: Columns, external_ids: Column, *hashes: Column) -> None:
        """Call the rows of forgotten people odd."""
        if self.reading.erased_ids or self.reading.erased_hashes:
            who = zip(external_ids, *hashes, strict=True)
            columns.odd.update(place for place, names in enumerate(who) if self.is_erased(*names))

    def pass_erased(self, rows: int = 1) -> None:
        """Leave rows of a forgotten person alone; nothing of them is written anywhere."""
        self.tally.unchanged += rows
        self.tally.notes["rows of people who asked to be forgotten were left alone"] += rows

    def free_cell(self, name: str) -> Cell | None:
        """Return how a free-form column is read: an attribute, or all of them as one object."""
        free = FREE[self.kind]
        if name == free:
            return Cell(name, attributes, takes=dict)
        if name.startswith(f"{free}."):
            attribute_name(name)
            read = TYPES.get(self.reading.map.types.get(name, ""), attribute)
            return Cell(name, read, takes=(bool, int, float, Decimal, list))
        return None

    def free_values(self, cells: dict[str, Any]) -> str | None:
        """Take the free-form columns out of a row's cells; return them as JSON with sorted keys, None without any."""
        free = FREE[self.kind]
        found = dict(cells.pop(free)) if free in cells else {}
        prefix = f"{free}."
        start = len(prefix)
        for name in self._free_names:
            if name in cells:
                found[name[start:]] = cells.pop(name)
        if "cleared" in cells:
            found |= {name[start:]: None for name in cells["cleared"].split(",") if name.startswith(prefix)}
        return as_json(found) if found else None

    def free_columns(self, found: dict[str, Column]) -> Column | None:
        """Return the free-form columns as `free_values` does; None where the file has none."""
        start = len(FREE[self.kind]) + 1
        names = [name for name in found if name.startswith(f"{FREE[self.kind]}.")]
        if not names:
            return None
        rows = zip(*(found[name] for name in names), strict=True)
        objects = ({name[start:]: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows)
        return [as_json(each) if each else None for each in objects]


def own_id(kind: Kind) -> Cell:
    """Return how a kind's own id is read."""
    return Cell(ID[kind], Texts(ID_LIMIT), hard=True)


def _by_index(places: Sequence[int]) -> Callable[[Any], Sequence[Any]]:
    if len(places) == 1:
        (only,) = places
        return lambda row: (row[only],)
    return itemgetter(*places) if places else lambda _row: ()


def _look_up(row: Any, path: str) -> Any:
    if path in row:
        return row[path]
    for part in path.split("."):
        if not isinstance(row, dict) or part not in row:
            return _ABSENT
        row = row[part]
    return row


def _id_part(value: Any) -> str:
    return "" if value is None or value is _ABSENT or isinstance(value, dict | list) else str(value).strip()


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal) and -_LONGEST_NUMBER < value.adjusted() < _LONGEST_NUMBER:
        return f"{value:f}"  # 1E+2 is a hundred
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise CellError("an object or a list, not a text")
