"""Say which column of a file is what: by hand (`ours=theirs`), by a map file, or by the names columns usually have."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from winback.errors import InputError, Problem, ProjectError
from winback.importers.result import Kind

_CUSTOMER = ("customer_id", "customer_email")

#: Our columns of each kind of file; `attributes.NAME` and `properties.NAME` come on top.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    Kind.CUSTOMERS: (
        *("customer_id", "email", "phone", "first_name", "last_name", "name", "locale", "country", "city", "zone", "birthday"),
        *("email_marketing", "email_service", "sms_marketing", "sms_service", "consent_at", "consent_source", "consent_wording"),
        "attributes",
    ),
    Kind.ORDERS: (
        *("order_id", *_CUSTOMER, "placed_at", "status", "total", "currency", "delivered_at", "voided_at"),
        *("product_id", "product_name", "category", "quantity", "price", "url", "lines", "attributes"),
    ),
    Kind.EVENTS: ("event_id", *_CUSTOMER, "name", "at", "properties"),
}

#: The column that holds each kind's own id.
ID: dict[Kind, str] = {Kind.CUSTOMERS: "customer_id", Kind.ORDERS: "order_id", Kind.EVENTS: "event_id"}

#: Free-form columns, where they are kept.
FREE: dict[Kind, str] = {Kind.CUSTOMERS: "attributes", Kind.ORDERS: "attributes", Kind.EVENTS: "properties"}

#: What columns are usually called; spelled without case, spaces, dashes and dots.
_USUAL: dict[str, str] = {
    "email": "emailaddress e_mail mail emailadresse customeremail",
    "phone": "phonenumber telephone tel mobile mobilephone cell cellphone telefon handy mobil telefonnummer sms",
    "first_name": "firstname givenname forename vorname prenom",
    "last_name": "lastname surname familyname nachname nom",
    "name": "fullname customername",
    "locale": "language lang sprache",
    "country": "countrycode land pays",
    "city": "town ort stadt ville",
    "zone": "timezone tz zeitzone",
    "birthday": "birthdate dateofbirth dob bday geburtstag geburtsdatum",
    "email_marketing": "emailoptin emailconsent newsletter acceptsmarketing acceptsemailmarketing emailmarketingconsent optin",
    "sms_marketing": "smsoptin smsconsent acceptssmsmarketing smsmarketingconsent",
    "consent_at": "consentdate consenttime optintime optindate confirmtime",
    "consent_source": "optinsource consentfrom",
    "customer_id": "customer customernumber customerno custid kundennummer kundennr kunde clientid contactid userid",
    "customer_email": "email emailaddress e_mail",
    "order_id": "order ordernumber orderno bestellung bestellnummer bestellnr invoice invoiceno",
    "placed_at": "orderdate date createdat orderedat purchasedat datum bestelldatum",
    "status": "orderstatus state financialstatus",
    "total": "amount ordertotal totalprice grandtotal value revenue dollarvalue dollars summe betrag gesamt",
    "currency": "currencycode waehrung währung",
    "delivered_at": "deliverydate delivereddate",
    "voided_at": "cancelledat canceledat refundedat returnedat",
    "product_id": "sku productsku lineitemsku itemid article artikelnummer",
    "product_name": "product lineitemname itemname item artikel",
    "category": "productcategory producttype",
    "quantity": "qty lineitemquantity menge",
    "price": "unitprice lineitemprice itemprice preis einzelpreis",
    "url": "producturl link",
    "event_id": "",
    "at": "time timestamp date datetime createdat occurredat when",
}

#: The same for events, whose name is not a person's.
_USUAL_OF_EVENTS = {"name": "event eventname action eventtype type"}

#: Delimiters that are hard to type.
_DELIMITER_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}

#: What `winback import … --map NAME` finds without a file.
_SHIPPED = files("winback") / "starter" / "maps"


class ImportMap(BaseModel):
    """How a file's columns become ours; every key of a map file (docs/import.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["customers", "orders", "events"] | None = None
    format: Literal["csv", "table", "jsonl"] | None = None
    encoding: str | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    header: bool = True
    names: tuple[str, ...] = Field(default=(), strict=False)  # of the columns, where the file does not name them
    zone: str | None = None  # of moments without an offset; the shop's when empty
    date: str | None = None  # strptime format, "unix" or "unix_ms"
    birthday: str | None = None  # strptime format; `date` when empty
    decimal: Literal[".", ","] | None = None
    amounts: Literal["major", "minor"] = "major"
    round: bool = False
    empty: Literal["keep", "clear"] = "keep"
    columns: dict[str, str] = Field(default_factory=dict)  # ours = "theirs"
    constants: dict[str, str | int | bool] = Field(default_factory=dict)  # ours = value
    ids: dict[str, str] = Field(default_factory=dict)  # ours = "{theirs}-{theirs}-{n}"
    status: dict[str, str] = Field(default_factory=dict)  # theirs = ours
    types: dict[str, Literal["text", "number", "flag"]] = Field(default_factory=dict)  # of attributes
    guess: bool = True  # recognise the usual names of columns that are not mapped

    @model_validator(mode="after")
    def _checked(self) -> ImportMap:
        for ours, template in self.ids.items():
            if ours not in {*ID.values(), "customer_id"}:
                raise ValueError(f"ids.{ours}: ids can be made for {', '.join(sorted({*ID.values(), 'customer_id'}))}")
            parts = template_parts(template)
            if ("", "n") in parts[:-1] or any(name == "n" for _, name in parts[:-1]):
                raise ValueError(f"ids.{ours}: {{n}} comes last, like {{customer}}-{{date}}-{{n}}")
            if any(name == "n" for _, name in parts) and ours == "customer_id":
                raise ValueError(f"ids.{ours}: {{n}} numbers orders and events, never customers")
        return self


def template_parts(template: str) -> list[tuple[str, str | None]]:
    """Return the literal texts of an id template, each with the name of the column that follows it."""
    try:
        return [(literal, name) for literal, name, _, _ in string.Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"{template!r}: {error}") from None


def shipped_maps() -> list[str]:
    """Return the names of the maps that winback brings along."""
    return sorted(entry.name.removesuffix(".toml") for entry in _SHIPPED.iterdir() if entry.name.endswith(".toml"))


def load_map(given: Sequence[str]) -> ImportMap:
    """Return the map made of `--map` values, in order: `ours=theirs`, a map file, or the name of a shipped map.

    Raise ProjectError for a map file with problems, InputError for one that does not exist.
    """
    merged = ImportMap()
    for value in given:
        ours, equals, theirs = value.partition("=")
        if equals and not value.endswith(".toml"):
            merged = merged.model_copy(update={"columns": merged.columns | {ours.strip(): theirs.strip()}})
        else:
            loaded = _load_file(value)
            merged = loaded.model_copy(update={"columns": loaded.columns | merged.columns})
    return merged


def with_options(chosen: ImportMap, **options: str | None) -> ImportMap:
    """Return a map with these settings over its own; None leaves a setting as it is. Raise InputError for one that cannot be."""
    given = {name: value for name, value in options.items() if value is not None}
    if "delimiter" in given:
        given["delimiter"] = _DELIMITER_WORDS.get(given["delimiter"].casefold(), given["delimiter"])
    try:
        checked = ImportMap.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        raise InputError(f"{name} cannot be {given[name]!r}", str(problem["msg"])) from None
    return chosen.model_copy(update={name: getattr(checked, name) for name in given})


def _load_file(value: str) -> ImportMap:
    path = Path(value)
    if path.suffix == ".toml" or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot read the map {value}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{value} is no map: it is not written in UTF-8", "maps are TOML files (docs/import.md)") from error
    elif re.fullmatch(r"[a-z0-9_-]+", value) and (_SHIPPED / f"{value}.toml").is_file():
        text = (_SHIPPED / f"{value}.toml").read_text(encoding="utf-8")
    else:
        raise InputError(
            f"there is no map {value!r}", f"write ours=theirs, name a .toml file, or one of: {', '.join(shipped_maps())}"
        )
    try:
        return ImportMap.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise ProjectError([Problem(path, int(line[1]) if line else 0, "", str(error))]) from error
    except ValidationError as error:
        raise ProjectError([_problem(path, text, each) for each in error.errors()]) from error


def _problem(path: Path, text: str, error: MappingOf[str, object]) -> Problem:
    location = error["loc"]
    keys = [str(part) for part in location] if isinstance(location, tuple) else []
    line = next(
        (n for n, row in enumerate(text.splitlines(), 1) if keys and re.match(rf'\s*"?{re.escape(keys[-1])}"?\s*=', row)), 0
    )
    unknown = error["type"] == "extra_forbidden"
    message = "there is no such setting in a map" if unknown else str(error["msg"]).removeprefix("Value error, ")
    return Problem(path, line, ".".join(keys), message, f"known are {', '.join(ImportMap.model_fields)}" if unknown else "")


def resolve_columns(kind: Kind, chosen: ImportMap, header: Sequence[str] | None) -> dict[str, str]:
    """Return ours → theirs for a file with this header (None: JSON objects, whose keys are not known beforehand).

    Raise InputError with everything that does not fit: a column of ours that does not exist, one that the file lacks.
    """
    problems = [f"{ours} is none of our columns" for ours in (*chosen.columns, *chosen.constants) if not _is_ours(kind, ours)]
    problems += [f"types.{ours} is none of our free columns" for ours in chosen.types if not ours.startswith(f"{FREE[kind]}.")]
    problems += [f"ids.{ours} is not an id of {kind} files" for ours in chosen.ids if ours not in {ID[kind], "customer_id"}]
    if problems:
        raise InputError("; ".join(problems), f"our columns for {kind}: {', '.join(COLUMNS[kind])}, {FREE[kind]}.NAME")
    if header is None:
        return dict(chosen.columns)
    exact = {name: name for name in header}
    loose: dict[str, str] = {}
    for name in header:
        loose.setdefault(_plain(name), name)
    found: dict[str, str] = {}
    missing: list[str] = []
    for ours, theirs in chosen.columns.items():
        if theirs in exact or _plain(theirs) in loose:
            found[ours] = exact.get(theirs) or loose[_plain(theirs)]
        else:
            missing.append(f"{theirs!r} (for {ours})")
    if missing:
        raise InputError(f"the file has no column {', '.join(missing)}", f"its columns are: {', '.join(header)}")
    if chosen.guess:
        _guess(kind, chosen, loose, found)
    doubled = sorted({name for name in found.values() if list(header).count(name) > 1})
    if doubled:
        raise InputError(f"the file has the column {', '.join(doubled)} more than once", "rename one of them")
    return found


def _guess(kind: Kind, chosen: ImportMap, loose: MappingOf[str, str], found: dict[str, str]) -> None:
    taken = set(found.values())
    settled = {*found, *chosen.constants, *chosen.ids}
    for spelling in (0, 1):  # our own names first, then the usual ones
        for ours in COLUMNS[kind]:
            if ours in settled or ours in {"lines", FREE[kind]}:
                continue
            names = [loose[each] for each in usual_names(kind, ours)[spelling] if each in loose and loose[each] not in taken]
            if names:
                found[ours] = names[0]
                taken.add(names[0])
                settled.add(ours)
    prefix = f"{FREE[kind]}."
    found |= {name: name for name in loose.values() if name.startswith(prefix) and name not in found and name not in taken}


def usual_names(kind: Kind, ours: str) -> tuple[list[str], list[str]]:
    """Return the plain spellings of our own name of a column, and of the names it has elsewhere."""
    own = [_plain(ours)]
    if ours == ID[kind]:
        own += ["externalid", "id"]
    usual = _USUAL | _USUAL_OF_EVENTS if kind is Kind.EVENTS else _USUAL
    return own, [_plain(name) for name in usual.get(ours, "").split()]


def _is_ours(kind: Kind, ours: str) -> bool:
    return ours in COLUMNS[kind] or (ours.startswith(f"{FREE[kind]}.") and len(ours) > len(FREE[kind]) + 1)


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-/#]+", "", name).casefold()
