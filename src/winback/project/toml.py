"""Read TOML files and know on which line every key stands, for what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winback.errors import Problem

if TYPE_CHECKING:
    from tree_sitter import Node

#: Where a value stands in a file: names of tables and keys, numbers of list items.
KeyPath = tuple[str | int, ...]

_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")

#: What tomllib says (3.11 to 3.14), in plain words, and what to do.
_PLAIN = (
    ("Cannot overwrite a value", "this key is written twice", "keep one of them"),
    ("Cannot declare", "this table is written twice", "join the two; a list of tables is written with [[ ]]"),
    ("Cannot mutate immutable namespace", "this table was closed already", "write all its keys in one place"),
    ("Invalid value", "the value cannot be read", "put texts, times and durations in quotes"),
    ("Expected '=' after a key", "there is no = after the key", 'write key = "value"'),
    ("Illegal character", "a text is not closed on its line", "close it with the same quote it began with"),
    ("Unterminated string", "a text is not closed", "close it with the same quotes it began with"),
    ("Expected newline or end of document", "there is something after the value", "put the value in quotes, or begin a new line"),
    ("Unclosed array", "a list is not closed", "add ] and separate its items with commas"),
    ("Unclosed inline table", "a { } table is not closed", "add } and separate its keys with commas"),
    ("Unescaped '\\'", "a backslash in a text means something special", "double it, or put the text in single quotes"),
    ("Invalid initial character for a key part", "this is not the beginning of a key", 'write key = "value"'),
)

_PLAIN_NAME = re.compile(r"[\w-]+")

_BARE_TIME = re.compile(r"=\s*\d{1,2}:\d{2}(?!:)")


@dataclass(frozen=True)
class TomlFile:
    """A parsed file. `path` is relative to the shop's folder, as problems show it."""

    path: Path
    text: str = field(repr=False)
    tables: dict[str, Any] = field(repr=False)

    def line(self, key_path: KeyPath) -> int:
        """Return the line of a key or list item, or of the nearest table around it; 1 where there is none."""
        for length in range(len(key_path), 0, -1):
            if key_path[:length] in self._lines:
                return self._lines[key_path[:length]]
        return 1

    def problem(self, key_path: KeyPath, message: str, remedy: str = "") -> Problem:
        """Return a problem with what stands at a key path."""
        return Problem(self.path, self.line(key_path), self.key(key_path), message, remedy)

    def key(self, key_path: KeyPath) -> str:
        """Write a key path for people: `steps.offer.after`; an item of a list goes by its name, else by its number from 1."""
        shown = ""
        here: Any = self.tables
        for part in key_path:
            here = _child(here, part)
            if isinstance(part, str):
                shown += f".{part}" if shown else part
            elif isinstance(here, dict) and isinstance(here.get("name"), str) and _PLAIN_NAME.fullmatch(here["name"]):
                shown += f".{here['name']}"
            else:
                shown += f"[{part + 1}]"
        return shown

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        """Find the lines only when something is wrong."""
        return _key_lines(self.text)


def read_toml(root: Path, path: Path) -> TomlFile | Problem:
    """Read one file of a shop; return the problem instead when it is no TOML."""
    name = path.relative_to(root)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        return Problem(name, line, "", "the file is not UTF-8", "save it as UTF-8 in your editor")
    except OSError as error:
        return Problem(name, 0, "", f"the file cannot be read: {error.strerror}", "give this user the right to read it")
    try:
        return TomlFile(name, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        return _syntax_problem(name, text, str(error))


def _syntax_problem(name: Path, text: str, said: str) -> Problem:
    lines = text.splitlines() or [""]
    found = _AT.search(said)
    number = int(found[1]) if found and found[1] else len(lines)
    # An error found at a line's end is reported at the beginning of the next one by some messages.
    line = min(number, len(lines))
    what = _AT.sub("", said)
    key = re.match(r"\s*([\w.-]+)\s*=", lines[line - 1])
    shown = key[1] if key else ""
    if _BARE_TIME.search(lines[line - 1]):
        return Problem(name, line, shown, "a time is not in quotes", 'write "09:30"')
    if what == "Invalid value" and not (found and found[1]):
        return Problem(
            name, line, shown, "the file ends within a value", "close a list with ], a table with }, a text with quotes"
        )
    for begins, message, remedy in _PLAIN:
        if what.startswith(begins):
            return Problem(name, line, shown, message, remedy)
    return Problem(
        name, line, shown, f"this is not TOML: {what[:1].lower()}{what[1:]}", "see https://toml.io for how it is written"
    )


def _child(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _key_lines(text: str) -> dict[KeyPath, int]:
    import tree_sitter_toml
    from tree_sitter import Language, Parser

    tree = Parser(Language(tree_sitter_toml.language())).parse(text.encode())
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    for node in tree.root_node.named_children:
        if node.type == "pair":
            _pair(node, (), lines)
        elif node.type in ("table", "table_array_element"):
            _table(node, lines, counts)
    return lines


def _table(node: Node, lines: dict[KeyPath, int], counts: dict[KeyPath, int]) -> None:
    """Note a [table] or one of [[tables]]; `counts` has the number of the last item of each list of tables."""
    header, *rest = [child for child in node.named_children if child.type != "comment"]
    path: KeyPath = ()
    parts = _key_parts(header)
    for place, part in enumerate(parts):
        path = (*path, part)
        if node.type == "table_array_element" and place == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        lines.setdefault(path, _line(node))
        if path in counts:
            path = (*path, counts[path])
            lines.setdefault(path, _line(node))
    for child in rest:
        if child.type == "pair":
            _pair(child, path, lines)


def _pair(node: Node, above: KeyPath, lines: dict[KeyPath, int]) -> None:
    key, *values = [child for child in node.named_children if child.type != "comment"]
    path = above
    for part in _key_parts(key):
        path = (*path, part)
        lines.setdefault(path, _line(node))
    for value in values:
        _value(value, path, lines)


def _value(node: Node, path: KeyPath, lines: dict[KeyPath, int]) -> None:
    lines.setdefault(path, _line(node))
    if node.type == "inline_table":
        for child in node.named_children:
            if child.type == "pair":
                _pair(child, path, lines)
    elif node.type == "array":
        items = [child for child in node.named_children if child.type != "comment"]
        for place, item in enumerate(items):
            _value(item, (*path, place), lines)


def _key_parts(node: Node) -> list[str]:
    text = (node.text or b"").decode()
    if node.type == "dotted_key":
        return [part for child in node.named_children for part in _key_parts(child)]
    if node.type == "quoted_key":
        [value] = tomllib.loads(f"{text} = 1")
        return [value]
    return [text]


def _line(node: Node) -> int:
    return node.start_point[0] + 1
