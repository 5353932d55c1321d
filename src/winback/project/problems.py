"""Say in plain words what a model refused: which key, what is wrong, what to do. No library's own text reaches people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from winback.errors import Problem
from winback.filemodel import kind_of
from winback.project.schema import schema_of
from winback.project.toml import KeyPath, TomlFile

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails

_WANTED = {
    "string_type": "a text in quotes",
    "int_type": "a whole number without quotes",
    "int_from_float": "a whole number without quotes",
    "float_type": "a number without quotes",
    "bool_type": "true or false, without quotes",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "list_type": "a list in [ ]",
    "tuple_type": "a list in [ ]",
    "set_type": "a list in [ ]",
    "frozen_set_type": "a list in [ ]",
    "date_type": "a date like 2026-12-24, without quotes",
    "time_type": 'a time like "09:30"',
    "time_delta_type": 'a duration like "7d"',
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "path_type": "a path in quotes",
    "url_parsing": "a web address",
    "is_instance_of": "another kind of value",
    "enum": "one of a few words",
    "literal_error": "one of a few words",
}

_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}

_EMPTY = ("too_short", "string_too_short")


def explain(error: ValidationError, adapter: TypeAdapter[Any], file: TomlFile, base: KeyPath = ()) -> Iterator[Problem]:
    """Yield one problem for each thing a model refused in the value at `base` of a file."""
    schema = schema_of(adapter)
    value: Any = file.tables
    for part in base:
        value = value[part]
    shape = Shape(schema, value)
    found = [(details, in_file(details["loc"], value)[0]) for details in error.errors(include_url=False)]
    misspelt = {(*path[:-1], near) for details, path in found if (near := _near_key(details, path, shape))}
    seen = set()
    for details, path in found:
        if details["type"] == "missing" and path in misspelt:
            continue  # it is there, under the wrong name
        if details["type"].startswith("union_tag"):
            path = (*path, str(details["ctx"]["discriminator"]).strip("'"))  # noqa: PLW2901 - the key that chooses
        message, remedy = _words(details, path, shape)
        problem = file.problem((*base, *path), message, remedy)
        if problem not in seen:
            seen.add(problem)
            yield problem


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" for the nearest of the known words, else a list of all, or '' where there are none."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {_some(words)}" if words else ""


class Shape:
    """What a file's tables may hold, read from the model's JSON Schema: for suggestions and examples."""

    def __init__(self, schema: Mapping[str, Any], value: Any) -> None:
        self._schema = schema
        self._value = value

    def at(self, path: KeyPath) -> Mapping[str, Any]:
        """Return the schema of the value at a path, as far as it is known; the file's own values choose among presets."""
        here: Mapping[str, Any] = self._resolve(self._schema, self._value)
        value = self._value
        for part in path:
            value = _child(value, part)
            if isinstance(part, int):
                here = here.get("items", {})
            else:
                named = next(iter(here.get("patternProperties", {}).values()), None)  # tables that are named as people like
                here = here.get("properties", {}).get(part) or named or here.get("additionalProperties") or {}
            here = self._resolve(here if isinstance(here, dict) else {}, value)
        return here

    def keys(self, path: KeyPath) -> dict[str, Any]:
        """Return the keys that the table at a path may have."""
        return dict(self.at(path).get("properties", {}))

    def homes(self, key: str) -> list[str]:
        """Return the tables of the file in which a key would be right; '' is the top, above the first table."""
        top = self.keys(())
        found = [""] if key in top else []
        for name in top:
            table = self.at((name,))
            if table.get("type") == "array":
                table = self._resolve(table.get("items", {}), None)
                name = f"[{name}]"  # noqa: PLW2901 - a list of tables is written [[name]]
            if key in table.get("properties", {}):
                found.append(f"[{name}]")
        return found

    def example(self, path: KeyPath) -> str:
        """Return an example of the value at a path as TOML writes it, '' where none is given."""
        *above, last = path or ("",)
        raw = self.keys(tuple(above)).get(str(last), {}) if isinstance(last, str) else {}
        examples = raw.get("examples") or self.at(path).get("examples") or [None]
        return "" if examples[0] is None else toml_value(examples[0])

    def _resolve(self, schema: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self._resolve(self._schema.get("$defs", {}).get(name, {}), value)
        if "discriminator" in schema:
            discriminator = schema["discriminator"]
            chosen = value.get(discriminator["propertyName"]) if isinstance(value, dict) else None
            reference = discriminator["mapping"].get(chosen) if isinstance(chosen, str) else None
            return self._resolve({"$ref": reference}, value) if reference else {}
        options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
        if options:
            listed = [option for option in options if isinstance(value, list) and option.get("type") == "array"]
            return {**schema, **self._resolve((listed or options)[0], value)}
        return schema


def toml_value(value: Any) -> str:
    """Write a value as TOML does."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def in_file(loc: tuple[int | str, ...], value: Any) -> tuple[KeyPath, bool]:
    """Return the path in the file of a model's location, which also names presets; say whether its last part is not there."""
    path: list[str | int] = []
    for place, part in enumerate(loc):
        if place < len(loc) - 1 and isinstance(value, dict) and value.get("preset") == part and loc[place - 1] == "audience":
            continue  # the preset's name, which may be the name of a key too: segment, score
        inside = _child(value, part)
        if inside is not _NOTHING:
            path.append(part)
            value = inside
        elif part != _OF_A_KEY and place == len(loc) - 1 and isinstance(value, dict):
            path.append(part)
            return tuple(path), True
    return tuple(path), False


_NOTHING = object()

#: Stands at the end of a location where the name of a table is wrong, not what is in it.
_OF_A_KEY = "[key]"


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, dict) and part in value:
        return value[part]
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return _NOTHING


def _near_key(details: ErrorDetails, path: KeyPath, shape: Shape) -> str | None:
    """Return the known key that an unknown one was probably meant to be."""
    if details["type"] != "extra_forbidden":
        return None
    near = get_close_matches(str(path[-1]), shape.keys(path[:-1]), n=1, cutoff=0.6)
    return near[0] if near else None


def _words(details: ErrorDetails, path: KeyPath, shape: Shape) -> tuple[str, str]:
    kind, context = details["type"], details.get("ctx", {})
    example = shape.example(path)
    key = path[-1] if path and isinstance(path[-1], str) else ""
    if kind == "missing":
        return _missing(key, path, shape, example)
    if kind == "extra_forbidden":
        return _unknown_key(str(key), path, shape, _near_key(details, path, shape))
    if kind in ("refused", "secret", "value_error", "assertion_error"):
        text = str(context["error"]) if "error" in context else details["msg"]
        message, _, remedy = text.partition("; ")
        return message, remedy or (f"write {key} = {example}" if key and example else "")
    if kind == "union_tag_not_found":
        return "is missing", f"add {key} = …, one of {_some(_tags(shape, path[:-1]))}"
    if kind == "union_tag_invalid":
        return f"there is no {key} {context['tag']!r}", suggestion(str(context["tag"]), _tags(shape, path[:-1]))
    if kind in ("literal_error", "enum"):
        words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        given = details["input"]
        shown = f"{given!r} is" if isinstance(given, str) else f"{kind_of(given)} is"
        return f"{shown} not one of the words for it", suggestion(given if isinstance(given, str) else "", words)
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"must be {word} {context[bound]}, not {details['input']}", f"write {key} = {example}" if example else ""
    if kind in _EMPTY:
        return "is empty", _fill(path, example)
    wanted = _WANTED.get(kind, "another kind of value")
    return f"must be {wanted}, not {kind_of(details['input'])}", _in_form(path, wanted, details["input"], example)


def _in_form(path: KeyPath, wanted: str, given: object, example: str) -> str:
    """Return how a value of another kind is written."""
    dotted = ".".join(str(part) for part in path)
    if wanted == "a table":
        return f"begin it with [{dotted}] on a line of its own"
    if wanted.startswith("a list") and isinstance(given, dict):
        return f"begin each with [[{dotted}]], two brackets on each side"
    return f"write {path[-1]} = {example}" if path and example else ""


def _missing(key: str | int, path: KeyPath, shape: Shape, example: str) -> tuple[str, str]:
    field = shape.at(path)
    if field.get("type") == "array" and _is_table(shape, field):
        return "is missing", f"begin at least one with [[{key}]] on a line of its own"
    if set(field.get("properties", {})) == {"env", "file"}:  # a secret: a table, but on the line of its key
        return "is missing", f"add {key} = " + (example or '{ env = "NAME" }')
    if _is_table(shape, field) or "discriminator" in shape.keys(path[:-1]).get(str(key), {}):
        return "is missing", f"begin it with [{'.'.join(str(part) for part in path)}] on a line of its own"
    return "is missing", f"add {key} = {example}" if example else f"add {key}"


def _is_table(shape: Shape, field: Mapping[str, Any]) -> bool:
    items = field.get("items", field)
    return "$ref" in items or "properties" in items


def _unknown_key(key: str, path: KeyPath, shape: Shape, near: str | None) -> tuple[str, str]:
    known = shape.keys(path[:-1])
    if near:
        return "unknown key", f"did you mean {near!r}?"
    homes = shape.homes(key)
    if homes == [""]:
        return "this key does not belong into this table", "move it to the top of the file, above the first [table]"
    if homes:
        return "this key does not belong here", f"move it to {' or '.join(home or 'the top' for home in homes)}"
    return "unknown key", f"take it out; known here are {_some(sorted(known))}" if known else "take it out"


def _tags(shape: Shape, path: KeyPath) -> list[str]:
    *above, last = path
    raw = shape.keys(tuple(above)).get(str(last), {})
    return sorted(raw.get("discriminator", {}).get("mapping", {}))


def _fill(path: KeyPath, example: str) -> str:
    if path and path[-1] == "steps":
        return "begin each message with [[steps]] on a line of its own"
    return f"write {path[-1]} = {example}" if path and example else "write at least one"


def _some(words: list[str]) -> str:
    return ", ".join(words[:12]) + (", …" if len(words) > 12 else "")
