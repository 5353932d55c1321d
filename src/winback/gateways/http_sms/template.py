"""Placeholders in a request: `{recipient}`, `{text}` and so on, put in so that no text can break out of its place."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote, quote_plus

from winback.filemodel import refused
from winback.gateways.base import Outgoing
from winback.gsm import count_segments
from winback.secrets import Secret, is_reference

#: What a placeholder stands for, by its name.
PLACEHOLDERS = {
    "recipient": "the phone number in E.164, with its +",
    "recipient_digits": "the phone number without the +",
    "text": "the message",
    "sender": "the option `sender`",
    "message_id": "an id that never changes for this message",
    "coding": "what the option `coding` says for the alphabet of this text",
    "unicode": "whether the text has letters outside the GSM alphabet: true or false in JSON, 1 or 0 elsewhere",
    "segments": "how many parts the message takes",
}

#: A secret inside a text: `{env:NAME}` is what the environment variable holds.
ENVIRONMENT = "env:"

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*|env:[A-Za-z_][A-Za-z0-9_]*)\}")

#: XML 1.0 (section 2.2) has no place for these characters, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Value = str | int | bool
Values = Mapping[str, Value]


def values_for(message: Outgoing, *, sender: str | None, gsm: str | int, unicode: str | int) -> dict[str, Value]:
    """Return what the placeholders stand for in one message."""
    segments = count_segments(message.text)
    wide = segments.encoding == "UCS-2"
    return {
        "recipient": message.recipient,
        "recipient_digits": message.recipient.removeprefix("+"),
        "text": message.text,
        "sender": sender or message.sender,
        "message_id": message.message_id,
        "coding": unicode if wide else gsm,
        "unicode": wide,
        "segments": segments.count,
    }


def checked(template: str, allowed: Mapping[str, str] = PLACEHOLDERS) -> str:
    """Return a template; refuse one with a placeholder that does not exist."""
    for name in _PLACEHOLDER.findall(template):
        if name not in allowed and not (name.startswith(ENVIRONMENT) and allowed is PLACEHOLDERS):
            near = get_close_matches(name, allowed, 1)
            known = ", ".join(f"{{{each}}}" for each in allowed)
            raise refused(
                f"there is no placeholder {{{name}}}", f"did you mean {{{near[0]}}}?" if near else f"known here are {known}"
            )
    return template


def names_in(tree: Any) -> Iterator[str]:
    """Yield the names of the placeholders anywhere in a template, a table or a list of templates."""
    if isinstance(tree, str):
        yield from _PLACEHOLDER.findall(tree)
    elif isinstance(tree, Mapping):
        for each in tree.values():
            yield from names_in(each)
    elif isinstance(tree, list):
        for each in tree:
            yield from names_in(each)


def secrets_in(tree: Any) -> Iterator[Secret]:
    """Yield the secrets anywhere in a table, those inside of texts too."""
    if isinstance(tree, Secret):
        yield tree
    elif isinstance(tree, str):
        yield from environment_in(tree).values()
    elif isinstance(tree, Mapping):
        for each in tree.values():
            yield from secrets_in(each)
    elif isinstance(tree, list):
        for each in tree:
            yield from secrets_in(each)


def environment_in(tree: Any) -> dict[str, Secret]:
    """Return the secrets of the placeholders `{env:NAME}` anywhere in a tree, by their placeholder."""
    names = {name for name in names_in(tree) if name.startswith(ENVIRONMENT)}
    return {name: Secret.from_env(name.removeprefix(ENVIRONMENT)) for name in names}


def revealed(tree: Any) -> Any:
    """Return a tree with every secret replaced by what it hides, braces in it kept from being placeholders.

    Raise InputError for a secret that is not there.
    """
    if isinstance(tree, Secret):
        return Plain(tree.reveal())
    if isinstance(tree, Mapping):
        return {key: revealed(each) for key, each in tree.items()}
    if isinstance(tree, list):
        return [revealed(each) for each in tree]
    return tree


def checked_tree(tree: Any) -> Any:
    """Return a JSON template with its placeholders checked, and `{ env = … }` tables in it as secrets."""
    if is_reference(tree):
        return Secret.from_table(tree)
    if isinstance(tree, str):
        return checked(tree)
    if isinstance(tree, dict):
        return {key: checked_tree(each) for key, each in tree.items()}
    if isinstance(tree, list):
        return [checked_tree(each) for each in tree]
    if tree is None or isinstance(tree, bool | int | float | Secret):
        return tree
    raise refused("holds a value that JSON does not have", "write dates and times as text, in quotes")


class Plain(str):
    """A text that is no template: a secret may well hold "{text}"."""

    __slots__ = ()


def fill(template: str | int, values: Values, escape: Callable[[str], str] = str) -> str:
    """Return a template with its placeholders filled in, each value escaped for its place."""
    if isinstance(template, Plain | int):
        return str(template)
    return _PLACEHOLDER.sub(lambda found: escape(_text(values[found[1]])), template)


def fill_url(template: str, values: Values) -> str:
    """Fill in a URL; whatever a value holds, it stays within its part of the path."""
    return fill(template, values, lambda text: quote(text, safe="", errors="replace"))


def fill_fields(fields: Mapping[str, str | int], values: Values) -> str:
    """Return a query or a form, encoded (application/x-www-form-urlencoded, UTF-8)."""
    return "&".join(f"{_encoded(name)}={_encoded(fill(template, values))}" for name, template in fields.items())


def fill_json(tree: Any, values: Values) -> str:
    """Return a JSON document; a text that is one placeholder and nothing else becomes the value itself, a number or a truth."""
    return json.dumps(_filled(tree, values))


def fill_body(template: str, values: Values, content_type: str) -> bytes:
    """Return a body written by hand, values escaped for what its content type says it is."""
    return fill(template, values, _escape_for(content_type)).encode("utf-8", "replace")


def _filled(tree: Any, values: Values) -> Any:
    if isinstance(tree, Plain):
        return str(tree)
    if isinstance(tree, str):
        alone = _PLACEHOLDER.fullmatch(tree)
        return values[alone[1]] if alone else fill(tree, values)
    if isinstance(tree, dict):
        return {key: _filled(each, values) for key, each in tree.items()}
    if isinstance(tree, list):
        return [_filled(each, values) for each in tree]
    return tree


def _text(value: Value) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _encoded(text: str) -> str:
    return quote_plus(text, errors="replace")


def _escape_for(content_type: str) -> Callable[[str], str]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json")):
        return lambda text: json.dumps(text)[1:-1]
    if kind.endswith(("/xml", "+xml")):
        return lambda text: html.escape(_NOT_XML.sub("", text))
    if kind == "application/x-www-form-urlencoded":
        return _encoded
    return str
