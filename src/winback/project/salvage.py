"""Make the best of a file with problems, so that one run also finds what is wrong between its sound parts and other files."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from winback.project.problems import in_file
from winback.project.toml import KeyPath

_T = TypeVar("_T")

#: What stands for a required value that is missing or wrong. It never leaves the check: the file has a problem already.
_STAND_INS: dict[str, Any] = {
    "title": "?",
    "type": "outbox",
    "name": "unnamed",
    "channel": "email",
    "template": "unnamed",
    "pool": "?",
    "expires": "1d",
    "preset": "sleeping",
    "audience": {"preset": "sleeping"},
}

#: Each round takes away what the one before laid open: a wrong value, then its missing key.
_ROUNDS = 5


def salvage(adapter: TypeAdapter[_T], tables: dict[str, Any]) -> _T | None:
    """Return the model without the values that it refuses, None where too little is left."""
    rest = copy.deepcopy(tables)
    for _ in range(_ROUNDS):
        try:
            return adapter.validate_python(rest)
        except ValidationError as error:
            for details in error.errors(include_url=False, include_input=False, include_context=False):
                path, absent = in_file(details["loc"], rest)
                if details["type"].startswith("union_tag"):
                    path = (*path, "preset")
                    absent = details["type"] == "union_tag_not_found"
                if details["type"] == "missing" or details["type"].startswith("union_tag"):
                    _put(rest, path)
                elif not absent:
                    _take_out(rest, path)
    return None


def _put(tables: Any, path: KeyPath) -> None:
    table = _at(tables, path[:-1])
    if isinstance(table, dict) and path and path[-1] in _STAND_INS:
        table[path[-1]] = copy.deepcopy(_STAND_INS[str(path[-1])])


def _take_out(tables: Any, path: KeyPath) -> None:
    """Take out a key; an item of a list takes the whole list along, so that no other item changes its place."""
    keys = [place for place, part in enumerate(path) if isinstance(part, str)]
    if not keys:
        return
    table = _at(tables, path[: keys[-1]])
    if isinstance(table, dict):
        table.pop(path[keys[-1]], None)


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value
