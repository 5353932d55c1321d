"""What differs between two versions of a shop's files: key by key in TOML, line by line in templates."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any

from winback.project.snapshot import Snapshot

#: What an item of a list of tables goes by, the first that it has: a step's name, the event of a score's rule.
_NAMES = ("name", "event", "message")


#: Ends the key that stands for the order of a list of tables.
_ORDER = " (order)"


class Kind(StrEnum):
    """What happened to a file or a key."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class KeyChange:
    """One key of a TOML file, as `steps.offer.after`, with its values as they are written; '' where there is none."""

    kind: Kind
    key: str
    before: str
    after: str


@dataclass(frozen=True)
class FileChange:
    """One file that differs. `keys` is empty where only comments differ; `lines` is the difference of a template's text."""

    kind: Kind
    path: str
    keys: tuple[KeyChange, ...] = ()
    lines: tuple[str, ...] = ()


def differences(before: Snapshot | None, after: Snapshot) -> tuple[FileChange, ...]:
    """Return every file that differs, by path; without a `before` all are new."""
    old = before.files if before else {}
    paths = sorted({*old, *after.files})
    return tuple(_file(path, old.get(path), after.files.get(path)) for path in paths if old.get(path) != after.files.get(path))


def _file(path: str, before: bytes | None, after: bytes | None) -> FileChange:
    kind = Kind.ADDED if before is None else Kind.REMOVED if after is None else Kind.CHANGED
    if path.endswith(".toml"):
        return FileChange(kind, path, keys=tuple(_keys(_tables(before), _tables(after))))
    old, new = _lines(before), _lines(after)
    # The first two lines name files.
    return FileChange(kind, path, lines=tuple(difflib.unified_diff(old, new, n=1, lineterm=""))[2:])


def _tables(content: bytes | None) -> dict[str, Any]:
    try:
        return tomllib.loads((content or b"").decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}  # of a version that an older program could read


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode("utf-8", "replace").splitlines()


def _keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[KeyChange]:
    old, new = dict(_flat(before)), dict(_flat(after))
    for key in (*old, *(key for key in new if key not in old)):
        if key.endswith(_ORDER):
            yield from _order(key, old.get(key, []), new.get(key, []))
        elif key not in new:
            yield KeyChange(Kind.REMOVED, key, _written(old[key]), "")
        elif key not in old:
            yield KeyChange(Kind.ADDED, key, "", _written(new[key]))
        elif old[key] != new[key]:
            yield KeyChange(Kind.CHANGED, key, _written(old[key]), _written(new[key]))


def _order(key: str, before: list[str], after: list[str]) -> Iterator[KeyChange]:
    """Yield a change where items that stay have another order; those that come and go are told by their own keys."""
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield KeyChange(Kind.CHANGED, key, ", ".join(before), ", ".join(after))


def _flat(tables: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value with the key that it goes by, items of a list of tables by their names."""
    for key, value in tables.items():
        path = f"{above}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            names = _item_names(value)
            yield f"{path}{_ORDER}", names
            for name, item in zip(names, value, strict=True):
                yield from _flat({key: each for key, each in item.items() if each != name}, f"{path}.{name}.")
        else:
            yield path, value


def _item_names(items: list[dict[str, Any]]) -> list[str]:
    """Return what the items go by; by their numbers from 1 where they have no names that tell them apart."""
    for key in _NAMES:
        names = [item.get(key) for item in items]
        if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return [str(name) for name in names]
    return [str(number) for number in range(1, len(items) + 1)]


def _written(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list):
        return "[" + ", ".join(_written(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_written(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
