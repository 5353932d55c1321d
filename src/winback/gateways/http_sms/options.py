"""What config.toml says of an SMS provider: the request, how its answer is read, and what it reports later."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from winback.filemodel import FileModel, PositiveDuration, Text, kind_of, refused
from winback.gateways.base import Options
from winback.gateways.http_sms.template import checked, checked_tree, names_in
from winback.secrets import Secret, is_reference

#: What an answer can mean: `hard` is refused because the number does not exist, `gateway` is nobody's message at present.
Verdict = Literal["accepted", "refused", "hard", "retry", "gateway", "unknown"]

#: What a report can mean: `hard` is bounced because the number does not exist.
Report = Literal["delivered", "bounced", "hard", "complained"]

#: What the placeholders of `signed` stand for.
SIGNED = {
    "body": "the body as it came",
    "body_md5": "its MD5 in hexadecimal digits",
    "body_sha256": "its SHA-256 in hexadecimal digits",
    "method": "GET or POST",
    "url": "the option `url`",
    "form": "the form's names and values, sorted and joined without anything between",
    "timestamp": "the header named by `timestamp`",
    "nonce": "the header named by `nonce`",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A place in a text, found by a regular expression with one group."""

    regex: str


_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, 5.6.2
_STATUS = re.compile(r"[1-5](?:\d\d|xx)")


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or re.search(r"\s", value):
        raise refused("is not a web address", 'write it whole, like "https://sms.example.com/v1/messages"')
    if parts.username is not None or parts.password is not None:
        raise refused("has a user or a password in it", "take them out, and write username and password as options of their own")
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        raise refused("has parameters in it", "write them as the table query")
    if "{" in parts.netloc:
        raise refused("has a placeholder in the host's name", "placeholders stand in the path only")
    return value


def _header_name(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise refused(f"{value!r} cannot be the name of a header", 'write it like "X-Api-Key"')
    return value


def _value(value: Any) -> str | int | Secret:
    """Read a template, a number, or a secret: what a parameter, a field or a header may be."""
    if isinstance(value, Secret) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if is_reference(value):
        return Secret.from_table(value)
    if not isinstance(value, str):
        raise refused(f"must be a text, not {kind_of(value)}", 'write it in quotes, or { env = "NAME" } for a secret')
    return checked(value)


def _header_value(value: Any) -> str | int | Secret:
    template = _value(value)
    if isinstance(template, str):
        if {"text", "sender"} & set(names_in(template)):
            raise refused("the message cannot stand in a header", "put it into query, json, form or body")
        if re.search(r"[\r\n]", template):
            raise refused("a header cannot have a line break", "write it in one line")
    return template


def _status(value: str) -> str:
    if not _STATUS.fullmatch(value):
        raise refused(f"{value!r} is not an HTTP status", 'write "404", or "4xx" for all from 400 to 499')
    return value


def _where(value: Any) -> str | Pattern:
    if isinstance(value, Pattern) or (isinstance(value, str) and value.strip()):
        return value
    if not isinstance(value, dict) or set(value) != {"regex"} or not isinstance(value["regex"], str):
        raise refused("is no place in an answer", 'write "messages.0.id", or { regex = "ID: (.+)" }')
    try:
        groups = re.compile(value["regex"]).groups
    except re.error as error:
        raise refused(f"is not a regular expression: {error.msg}", "try it out before you write it here") from None
    if groups != 1:
        raise refused("the regular expression must have one group", "put ( ) around what is looked for, like 'ID: (\\S+)'")
    return Pattern(value["regex"])


def _signed(value: str) -> str:
    return checked(value, SIGNED)


def _json_template(value: Any) -> Any:
    if value is not None and not isinstance(value, dict | list):
        raise refused("must be a table or a list", 'write json = { to = "{recipient}", text = "{text}" }')
    return checked_tree(value)


def _shown(tree: Any) -> Any:
    """Return a value as it may be printed."""
    if isinstance(tree, dict):
        return {key: _shown(each) for key, each in tree.items()}
    if isinstance(tree, list):
        return [_shown(each) for each in tree]
    return str(tree) if isinstance(tree, Secret) else tree


Url = Annotated[str, AfterValidator(_web_address), AfterValidator(checked)]

_SECRET_SCHEMA = {"type": "object", "properties": {"env": {"type": "string"}, "file": {"type": "string"}}}
_VALUE_SCHEMA = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}, _SECRET_SCHEMA]})
_PATTERN_SCHEMA = {"type": "object", "properties": {"regex": {"type": "string"}}, "required": ["regex"]}

Value = Annotated[str | int | Secret, PlainValidator(_value), PlainSerializer(_shown), _VALUE_SCHEMA]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str | int | Secret, PlainValidator(_header_value), PlainSerializer(_shown), _VALUE_SCHEMA]

#: Where a value stands: "messages.0.id", "/messages/0/id" (a JSON pointer, RFC 6901), or { regex = "ID: (.+)" }.
Where = Annotated[str | Pattern, PlainValidator(_where), WithJsonSchema({"anyOf": [{"type": "string"}, _PATTERN_SCHEMA]})]

Status = Annotated[str, AfterValidator(_status)]


class Coding(FileModel):
    """What `{coding}` becomes, by the alphabet that a text needs."""

    gsm: str | int = Field(0, description="For a text that fits into the GSM alphabet.", examples=[0])
    unicode: str | int = Field(2, description="For a text that does not, and goes as UCS-2.", examples=[2])


class Answer(FileModel):
    """How the provider's answer is read."""

    id: Where | None = Field(
        None,
        description="Where the provider's id of the message stands; without it our own `{message_id}` is kept.",
        examples=["messages.0.id"],
    )
    error: Where | None = Field(None, description="Where the provider's own error code stands.", examples=["messages.0.error"])
    errors: dict[str, Verdict] = Field(
        default_factory=dict,
        description="What an error code means. One that is not listed means what the HTTP status means, and refused with 2xx.",
        examples=[{"21211": "hard"}],
    )
    reason: Where | None = Field(None, description="Where the reason stands in words.", examples=["message"])
    statuses: dict[Status, Verdict] = Field(
        default_factory=dict,
        description="What an HTTP status means, where it is not what it means to most providers.",
        examples=[{"404": "hard"}],
    )


class Lookup(FileModel):
    """How the provider is asked for a message whose answer was lost."""

    url: Url = Field(
        description="Web address, asked with GET; `{message_id}` belongs into it or into query.",
        examples=["https://sms.example.com/v1/messages"],
    )
    query: dict[str, Value] = Field(
        default_factory=dict, description="Parameters of the web address.", examples=[{"reference": "{message_id}"}]
    )
    id: Where = Field(
        description="Where the provider's id stands, if it has the message. Nothing there, or 404: it never got it.",
        examples=["messages.0.id"],
    )

    @model_validator(mode="after")
    def _names_the_message(self) -> Lookup:
        if "message_id" not in {*names_in(self.url), *names_in(self.query)}:
            raise refused(
                "does not say which message is meant", 'put {message_id} into it, like query = { ref = "{message_id}" }'
            )
        return self


class Signature(FileModel):
    """How a provider signs its reports."""

    header: HeaderName = Field(description="The header that carries the signature.", examples=["X-Signature"])
    secret: Secret = Field(description="The key of the signature.", examples=[{"env": "SMS_SIGNING_KEY"}])
    algorithm: Literal["sha256", "sha1", "sha512"] = Field(
        "sha256", description="The hash function of the HMAC.", examples=["sha256"]
    )
    encoding: Literal["hex", "base64"] = Field("hex", description="How the signature is written.", examples=["hex"])
    prefix: str = Field("", description="What stands before the signature in the header.", examples=["sha256="])
    signed: Annotated[str, AfterValidator(_signed)] = Field(
        "{body}", description="What is signed: text with placeholders.", examples=["{timestamp}.{body}"]
    )
    timestamp: HeaderName | None = Field(
        None, description="The header with the time of the call, in Unix seconds.", examples=["X-Timestamp"]
    )
    nonce: HeaderName | None = Field(None, description="The header with a number used once.", examples=["X-Nonce"])
    max_age: PositiveDuration = Field(
        timedelta(minutes=5), description="A call whose `timestamp` is further away is refused.", examples=["5min"]
    )

    @model_validator(mode="after")
    def _headers_are_named(self) -> Signature:
        used = set(names_in(self.signed))
        for name in ("timestamp", "nonce"):
            if name in used and getattr(self, name) is None:
                raise refused(f"signed uses {{{name}}}", f'name its header, like {name} = "X-{name.capitalize()}"')
        if self.timestamp is not None and "timestamp" not in used:
            # Anybody could write a new time on an old call.
            raise refused("the timestamp is not signed", "put {timestamp} into signed, or take the key timestamp out")
        return self


class Receipts(FileModel):
    """What the provider reports to /hooks/NAME: what became of messages, and what people answered."""

    query: dict[str, Secret] = Field(
        default_factory=dict,
        description="Parameters that every call must carry, each a secret; give the provider the address with them.",
        examples=[{"key": {"env": "SMS_HOOK_KEY"}}],
    )
    headers: dict[HeaderName, Secret] = Field(
        default_factory=dict,
        description="Headers that every call must carry, each a secret.",
        examples=[{"X-Hook-Key": {"env": "SMS_HOOK_KEY"}}],
    )
    signature: Signature | None = Field(None, description="The signature that every call must carry.")
    url: Text | None = Field(
        None,
        description="The address that the provider calls, as it knows it, for signatures that include it.",
        examples=["https://mail.halfnote.example/hooks/sms"],
    )
    each: Text | None = Field(
        None, description="Where the list stands, if one call brings several reports.", examples=["results"]
    )
    id: Where | None = Field(None, description="Where the id of the message stands.", examples=["message_id"])
    status: Where | None = Field(None, description="Where the status of the message stands.", examples=["status"])
    statuses: dict[str, Report] = Field(
        default_factory=dict,
        description="What a status means; those not listed are passed over.",
        examples=[{"DELIVRD": "delivered", "UNDELIV": "bounced"}],
    )
    sender: Where | None = Field(None, description="Where the phone number stands of a person who answered.", examples=["from"])
    text: Where | None = Field(None, description="Where the text of an answer stands.", examples=["text"])
    reply_to: Where | None = Field(
        None, description="Where the id of the message stands that was answered.", examples=["in_reply_to"]
    )
    at: Where | None = Field(
        None, description="Where the time stands: ISO 8601, or Unix seconds. Without a zone it is UTC.", examples=["timestamp"]
    )

    @model_validator(mode="after")
    def _is_proven_and_read(self) -> Receipts:
        if not (self.query or self.headers or self.signature):
            raise refused(
                "anybody could send such reports", 'set query = { key = { env = "SMS_HOOK_KEY" } }, headers, or a signature'
            )
        if self.signature is not None and "url" in names_in(self.signature.signed) and self.url is None:
            raise refused("the signature includes the address", "set url to the address that the provider calls")
        if (self.status is None) != (not self.statuses) or (self.status is not None and self.id is None):
            raise refused("status, statuses and id belong together", "set all three, or none for answers only")
        if (self.text is None) != (self.sender is None):
            raise refused("text and sender belong together", "set both, or none")
        if self.status is None and self.text is None:
            raise refused("says nothing of what to read", "set id, status and statuses, or sender and text, or all five")
        return self


class HttpSmsOptions(Options):
    """Any SMS provider that is called over HTTP."""

    model_config = ConfigDict(strict=True)

    url: Url = Field(description="Web address that takes a message.", examples=["https://sms.example.com/v1/messages"])
    method: Literal["GET", "POST", "PUT"] = Field("POST", description="How it is called.", examples=["POST"])
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Headers of the call.", examples=[{"X-Api-Key": {"env": "SMS_API_KEY"}}]
    )
    username: str | None = Field(None, description="Name for basic authentication.", examples=["half-note"])
    password: Secret | None = Field(None, description="Password for basic authentication.", examples=[{"env": "SMS_PASSWORD"}])
    bearer: Secret | None = Field(None, description="Token for `Authorization: Bearer`.", examples=[{"env": "SMS_TOKEN"}])
    query: dict[str, Value] = Field(
        default_factory=dict, description="Parameters of the web address.", examples=[{"to": "{recipient}", "text": "{text}"}]
    )
    json_body: Annotated[Any, AfterValidator(_json_template), PlainSerializer(_shown)] = Field(
        None, alias="json", description="The body as JSON.", examples=[{"to": "{recipient}", "text": "{text}"}]
    )
    form: dict[str, Value] = Field(
        default_factory=dict, description="The body as a form.", examples=[{"To": "{recipient}", "Body": "{text}"}]
    )
    body: Annotated[str, AfterValidator(checked)] | None = Field(
        None,
        description="The body written by hand; values are escaped for the content type.",
        examples=["<sms to='{recipient}'>{text}</sms>"],
    )
    content_type: Text = Field("text/plain; charset=utf-8", description="What `body` is.", examples=["application/xml"])
    sender: Text | None = Field(
        None, description="What `{sender}` stands for: the name or number that people see.", examples=["HalfNote"]
    )
    coding: Coding = Field(default_factory=Coding, description="What `{coding}` becomes.")
    idempotency_header: HeaderName | None = Field(
        None,
        description="A header that gets the message's id, so that the provider knows a repeated call.",
        examples=["Idempotency-Key"],
    )
    answer: Answer = Field(default_factory=Answer, description="How the answer is read.")
    receipts: Receipts | None = Field(None, description="What the provider reports later.")
    lookup: Lookup | None = Field(None, description="How to ask for a message whose answer was lost.")
    connect_timeout: PositiveDuration = Field(
        timedelta(seconds=10), description="How long to wait for a connection.", examples=["10s"]
    )
    read_timeout: PositiveDuration = Field(timedelta(seconds=30), description="How long to wait for an answer.", examples=["30s"])
    ca_file: Text | None = Field(
        None,
        description="File with the certificates to trust, relative to the shop's folder, where the provider's is your own.",
        examples=["certs/sms.pem"],
    )

    @model_validator(mode="after")
    def _says_one_whole_request(self) -> HttpSmsOptions:
        bodies = [name for name in ("json", "form", "body") if self._body(name)]
        if len(bodies) > 1:
            raise refused(f"has several bodies: {', '.join(bodies)}", "keep one of them")
        if bodies and self.method == "GET":
            raise refused(f"a GET has no {bodies[0]}", 'write query instead, or method = "POST"')
        if (self.username is None) != (self.password is None):
            raise refused("username and password belong together", "set both, or none")
        if self.bearer is not None and self.username is not None:
            raise refused("has a bearer token and a password", "keep one of them")
        used = {*names_in([self.url, self.query, self.json_body, self.form, self.body or ""])}
        if not used & {"recipient", "recipient_digits"}:
            raise refused("does not say who gets the message", "put {recipient} into query, json, form or body")
        if "text" not in used:
            raise refused("does not send the text", "put {text} into query, json, form or body")
        if "sender" in used and self.sender is None:
            raise refused("uses {sender}, but has none", 'set sender = "HalfNote"')
        return self

    def _body(self, name: str) -> bool:
        return bool({"json": self.json_body, "form": self.form, "body": self.body}[name])


__all__ = [
    "SIGNED",
    "Answer",
    "Coding",
    "HttpSmsOptions",
    "Lookup",
    "Pattern",
    "Receipts",
    "Report",
    "Signature",
    "Verdict",
    "Where",
]
