"""Take rows that the JSON API was sent: check each by itself, write the good ones together, answer for every one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from fastapi import HTTPException
from pydantic import BaseModel, ValidationError

from winback.importers import ImportMap, ImportResult, Kind, write_rows
from winback.store import writing
from winback.track.api_models import CustomerRow, EventRow, OrderRow, Row, RowAnswer, RowsAnswer

if TYPE_CHECKING:
    from winback.track.state import TrackState

#: Rows of one call at most: one transaction, which others wait for.
ROWS = 1_000

#: Where consents come from when the row does not say: the word of the consent log.
SOURCE = "api"

_REASON = 300  # letters of a reason; it may quote what was sent

_MODELS: dict[Kind, type[Row]] = {Kind.CUSTOMERS: CustomerRow, Kind.ORDERS: OrderRow, Kind.EVENTS: EventRow}

#: What our rows call the importers' columns.
_COLUMNS: dict[Kind, dict[str, str]] = {
    Kind.CUSTOMERS: {"id": "customer_id"},
    Kind.ORDERS: {"id": "order_id", "customer": "customer_id", "email": "customer_email"},
    Kind.EVENTS: {"id": "event_id", "customer": "customer_id", "email": "customer_email"},
}
_LINE_COLUMNS = {"product": "product_id", "name": "product_name"}

#: Amounts come with a point, always.
_MAP = ImportMap(decimal=".")


def take(state: TrackState, kind: Kind, body: bytes) -> RowsAnswer:
    """Write the rows of a body (an object, or a list of them) in one transaction; return what became of each.

    Raise HTTPException for a body that is no JSON, or has too many rows.
    """
    rows = _rows_of(body)
    checked = [_checked(_MODELS[kind], row) for row in rows]
    results = [
        RowAnswer(row=number, id=_id_of(row), result="rejected", reason=found if isinstance(found, str) else None)
        for number, (row, found) in enumerate(zip(rows, checked, strict=True), 1)
    ]
    good = {result.row: found for result, found in zip(results, checked, strict=True) if isinstance(found, Row)}
    if not good:
        return _answer(results)
    with writing(state.engine) as connection:
        settings = state.project.import_settings()
        given = (_columns(kind, row) for row in good.values())
        written = write_rows(connection, settings, kind, given, state.now(), SOURCE, mapping=_MAP)
    _fill_in(kind, results, list(good), written)
    return _answer(results, written)


def parse_json(body: bytes) -> Any:
    """Return what a body says, fractions as decimals. Raise HTTPException (400) for what is no JSON."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except RecursionError:
        raise HTTPException(400, "The body is nested too deeply.") from None
    except ValueError as error:  # JSON, UTF-8, or a number of thousands of digits
        raise HTTPException(400, f"The body is not JSON: {told(str(error))}") from None


def problems(model: type[BaseModel], error: ValidationError) -> str:
    """Return in one line what is wrong with a row, without its values."""
    return told("; ".join(_problem(model, each) for each in error.errors(include_input=False, include_url=False)))


def told(text: str) -> str:
    """Return a text that can be answered: short, and without halves of characters, which JSON cannot carry."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= _REASON else whole[: _REASON - 1] + "…"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _rows_of(body: bytes) -> list[Any]:
    found = parse_json(body)
    rows = found if isinstance(found, list) else [found]
    if len(rows) > ROWS:
        raise HTTPException(413, f"At most {ROWS} rows in one call; these are {len(rows)}.")
    return rows


def _checked(model: type[Row], row: Any) -> Row | str:
    """Return the row as its model, or why it is none."""
    if not isinstance(row, dict):
        return "not an object"
    try:
        return model.model_validate(row)
    except ValidationError as error:
        return problems(model, error)


def _problem(model: type[BaseModel], error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        close = get_close_matches(str(error["loc"][-1]), model.model_fields, 1)
        return f"{place}: there is no such key" + (f", did you mean {close[0]!r}?" if close else "")
    if error["type"] == "missing":
        return f"{place} is missing"
    return f"{place}: {str(error['msg']).removeprefix('Value error, ')}"


def _columns(kind: Kind, row: Row) -> dict[str, Any]:
    """Return a row by the importers' columns: only what was given, `null` where it empties."""
    names = _COLUMNS[kind]
    found = {names.get(name, name): _plain(getattr(row, name)) for name in type(row).model_fields if name in row.model_fields_set}
    if isinstance(found.get("lines"), list):
        found["lines"] = [
            {_LINE_COLUMNS.get(name, name): value for name, value in line.items() if value is not None} for line in found["lines"]
        ]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [each.model_dump() if isinstance(each, BaseModel) else each for each in value]
    return value


def _fill_in(kind: Kind, results: Sequence[RowAnswer], places: Sequence[int], written: ImportResult) -> None:
    """Put what became of the rows that were written into their answers; `places` are their numbers, from 1."""
    for place, outcome in zip(places, written.outcomes, strict=True):
        results[place - 1].result = outcome
    for problem in written.problems:
        answer = results[places[problem.line - 1] - 1]
        reason = _in_our_words(kind, problem.reason)
        if problem.rejected:
            answer.reason = reason
        else:
            answer.warnings.append(reason)


def _in_our_words(kind: Kind, reason: str) -> str:
    """Return an importer's reason with the names of our keys, and without its advice for the command line."""
    what, colon, value = reason.partition("; ")[0].partition(": ")
    for ours, theirs in _COLUMNS[kind].items():
        what = re.sub(rf"\b{theirs}\b", ours, what)
    return told(what + colon + value)


def _answer(results: list[RowAnswer], written: ImportResult | None = None) -> RowsAnswer:
    counts = Counter(result.result for result in results)
    return RowsAnswer(
        rows=len(results),
        inserted=counts["inserted"],
        updated=counts["updated"],
        unchanged=counts["unchanged"],
        rejected=counts["rejected"],
        customers_created=written.customers_created if written else 0,
        results=results,
        notes=list(written.notes) if written else [],
        detail="No row could be used." if results and counts["rejected"] == len(results) else None,
    )


def _id_of(row: Any) -> str | None:
    found = row.get("id") if isinstance(row, dict) else None
    return told(str(found)) if isinstance(found, str | int) and not isinstance(found, bool) else None
