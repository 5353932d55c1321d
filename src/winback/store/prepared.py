"""Statements that are built once and asked again: to write one down in Python takes several times as long as to run it.

What changes from time to time is bound late: the value of a parameter is asked for when the statement runs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.types import TypeEngine

_Built = TypeVar("_Built")

#: So many are kept: more than a shop of many campaigns asks in one pass.
_KEPT = 1_000


class _Entry(NamedTuple):
    of: Sequence[object]
    form: Hashable
    built: object


class _Kept(threading.local):
    """What one thread has built: a value that is bound late belongs to whoever runs the statement."""

    def __init__(self) -> None:
        self.entries: OrderedDict[Hashable, _Entry] = OrderedDict()


_kept = _Kept()


def prepared(of: Sequence[object], key: Hashable, build: Callable[[], _Built], form: Hashable = None) -> _Built:
    """Return what `build` returned before in this thread for the very same objects and an equal key, else call it.

    `of` are all objects that the built thing depends on, and that never change. Of several with the same key only the one with
    the newest `form` is kept.
    """
    # The objects are kept with it, so that no other one gets their place in memory, and with it their id.
    place = (tuple(map(id, of)), key)
    entries = _kept.entries
    found = entries.get(place)
    if found is not None and found.form == form:
        entries.move_to_end(place)
        return cast(_Built, found.built)
    built = build()
    entries[place] = _Entry(tuple(of), form, built)
    if len(entries) > _KEPT:
        entries.popitem(last=False)
    return built


def late(value: Callable[[], Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return an SQL value that is asked for each time the statement runs."""
    return bindparam(None, callable_=value, type_=kind, unique=True)
