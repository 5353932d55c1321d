"""Find a value in what a provider wrote: by a path in JSON or a form, or by a regular expression."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from winback.gateways.http_sms.options import Pattern, Where


@dataclass(frozen=True, slots=True)
class Document:
    """A body, as text and, where it is any, as the tree of its fields."""

    text: str
    tree: Any = None

    def find(self, where: Where | None) -> str | None:
        """Return the value that stands somewhere, as text; None where there is none, or null, or nothing in it."""
        if where is None:
            return None
        if isinstance(where, Pattern):
            found = re.search(where.regex, self.text, re.MULTILINE)
            return (found[1] or None) if found else None
        return as_text(at_path(self.tree, where))

    def understands(self, where: Where | None) -> bool:
        """Say whether a value could be looked for there at all: no path leads through a body that has no fields."""
        return where is None or isinstance(where, Pattern) or isinstance(self.tree, Mapping | list)


def read_json(body: bytes) -> Document:
    """Return an answer, with its fields where it is JSON."""
    text = body.decode("utf-8", "replace")
    return Document(text, json_tree(text))


def json_tree(text: str) -> Any:
    """Return what a JSON text holds, None for any other text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter for brackets nested by the thousand
        return None


def form_fields(body: bytes) -> list[tuple[str, str]]:
    """Return the names and values of a form in their order."""
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def at_path(tree: Any, path: str) -> Any:
    """Return what stands at a path such as `messages.0.id` or `/messages/0/id` (RFC 6901), None where the path ends."""
    if path.startswith("/"):
        parts = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    elif isinstance(tree, Mapping) and path in tree:
        return tree[path]  # forms have names with dots in them
    else:
        parts = path.split(".")
    for part in parts:
        if isinstance(tree, Mapping):
            tree = tree.get(part)
        elif isinstance(tree, list):
            tree = tree[int(part)] if re.fullmatch(r"\d{1,6}", part) and int(part) < len(tree) else None
        else:
            return None
    return tree


def as_text(value: Any) -> str | None:
    """Return a single value as text; None for nothing, and for a table or a list."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value).strip() or None
    return None
