"""Build the HTTP calls of one provider from the templates in config.toml and the secrets that they name."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, quote_plus

from winback.gateways.base import Outgoing
from winback.gateways.http_sms.answer import Reply
from winback.gateways.http_sms.options import HttpSmsOptions, Lookup
from winback.gateways.http_sms.template import (
    Plain,
    Values,
    environment_in,
    fill,
    fill_body,
    fill_fields,
    fill_json,
    fill_url,
    revealed,
    secrets_in,
    values_for,
)

#: Shorter texts hide nothing, and to star them out would make a reply unreadable.
_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


class Calls:
    """Builds calls, the secrets looked up once. Raise InputError where one is not there."""

    def __init__(self, options: HttpSmsOptions) -> None:
        self._options = options
        self._query = revealed(options.query)
        self._json = revealed(options.json_body)
        self._form = revealed(options.form)
        self._headers: dict[str, Any] = {**_authentication(options), **revealed(options.headers)}
        self._lookup_query = revealed(options.lookup.query) if options.lookup else {}
        templates = _templates(options)
        self._environment = {name: secret.reveal() for name, secret in environment_in(templates).items()}
        self._hidden = _hidden(templates, self._headers)

    def send(self, message: Outgoing) -> Call:
        """Return the call that hands a message over."""
        options = self._options
        values = values_for(message, sender=options.sender, gsm=options.coding.gsm, unicode=options.coding.unicode)
        values |= self._environment
        content_type, body = self._body(values)
        headers = self._filled_headers(values)
        if content_type and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = content_type
        if options.idempotency_header:
            headers[options.idempotency_header] = message.message_id
        return Call(options.method, _address(options.url, self._query, values), headers, body)

    def lookup(self, lookup: Lookup, message_id: str) -> Call:
        """Return the call that asks what became of a message."""
        values = values_for(Outgoing(message_id, "sms", recipient="", sender=""), sender="", gsm="", unicode="")
        values |= self._environment
        return Call("GET", _address(lookup.url, self._lookup_query, values), self._filled_headers(values))

    def without_secrets(self, reply: Reply) -> Reply:
        """Return an answer without what it may have repeated of our secrets."""
        body = reply.body
        for hidden in self._hidden:
            body = body.replace(hidden, b"***")
        return replace(reply, body=body)

    def _body(self, values: Values) -> tuple[str, bytes | None]:
        options = self._options
        if self._json:
            return "application/json", fill_json(self._json, values).encode()
        if self._form:
            return "application/x-www-form-urlencoded", fill_fields(self._form, values).encode()
        if options.body:
            return options.content_type, fill_body(options.body, values, options.content_type)
        return "", None

    def _filled_headers(self, values: Values) -> dict[str, str]:
        return {name: fill(template, values) for name, template in self._headers.items()}


def _authentication(options: HttpSmsOptions) -> dict[str, Plain]:
    if options.bearer is not None:
        return {"Authorization": Plain(f"Bearer {options.bearer.reveal()}")}
    if options.username is not None and options.password is not None:
        pair = base64.b64encode(f"{options.username}:{options.password.reveal()}".encode()).decode()
        return {"Authorization": Plain(f"Basic {pair}")}
    return {}


def _address(url: str, query: Mapping[str, Any], values: Values) -> str:
    parameters = fill_fields(query, values)
    return fill_url(url, values) + (f"?{parameters}" if parameters else "")


def _templates(options: HttpSmsOptions) -> list[Any]:
    """Return everything of the options that is filled in, or is a secret of the calls."""
    lookup = [options.lookup.url, options.lookup.query] if options.lookup else []
    request = [options.url, options.query, options.json_body, options.form, options.body, options.headers]
    return [*request, *lookup, options.password, options.bearer]


def _hidden(templates: list[Any], headers: Mapping[str, Any]) -> list[bytes]:
    """Return our secrets in every spelling in which an answer may repeat them, the longest first."""
    found = {secret.reveal() for secret in secrets_in(templates)}
    found |= {str(value).partition(" ")[2] for name, value in headers.items() if isinstance(value, Plain)}
    spelt = {
        text
        for secret in found
        if len(secret) >= _SHORTEST_SECRET
        for text in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    }
    return [text.encode() for text in sorted(spelt, key=len, reverse=True)]
