"""The settings of an SMTP gateway: its table in config.toml."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from winback.addresses import normalise_email
from winback.errors import AddressError
from winback.filemodel import Duration, FileModel, PositiveDuration, Text, refused
from winback.gateways.base import Options
from winback.secrets import Secret

Tls = Literal["implicit", "starttls", "none"]
Auth = Literal["auto", "plain", "login", "xoauth2"]

#: RFC 8314 section 3.3 for implicit TLS, RFC 6409 section 3.1 for submission, RFC 5321 section 4.5.4.2 for the rest.
PORTS: dict[Tls, int] = {"implicit": 465, "starttls": 587, "none": 25}


def _host(value: str) -> str:
    if "://" in value or "/" in value or any(character.isspace() for character in value):
        raise refused(f"{value!r} is not the name of a server", 'write the name alone: "smtp.example.com"')
    if value.count(":") == 1:
        raise refused(f"{value!r} has a port in it", "write the port on a line of its own, port = …")
    return _name(value.strip("[]"))


def _name(value: str) -> str:
    """Return a machine's name in ASCII (IDNA)."""
    try:
        name = value.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    if not name or not name.isprintable() or " " in name:
        raise refused(f"{value!r} cannot be the name of a machine", 'write it like "smtp.example.com"')
    return name


def _address(value: str) -> str:
    try:
        normalise_email(value)
    except AddressError as error:
        raise refused(error.message, error.remedy) from None
    return value.strip()


class SmtpTimeouts(FileModel):
    """How long to wait for the other side. The defaults of all but `connect` are those of RFC 5321 section 4.5.3.2."""

    connect: PositiveDuration = Field(
        timedelta(seconds=30), description="For the connection itself, and for each handshake of TLS.", examples=["30s"]
    )
    greeting: PositiveDuration = Field(timedelta(minutes=5), description="For the server's first words.", examples=["5min"])
    command: PositiveDuration = Field(timedelta(minutes=5), description="For the reply to a command.", examples=["5min"])
    data: PositiveDuration = Field(
        timedelta(minutes=3), description="For the server to take more of a large message.", examples=["3min"]
    )
    final: PositiveDuration = Field(
        timedelta(minutes=10),
        description="For the reply to a whole message. When it runs out, the message's fate is uncertain.",
        examples=["10min"],
    )


class SmtpOptions(Options):
    """How to reach the mail server, and how to use it."""

    model_config = ConfigDict(strict=True)

    host: Annotated[Text, AfterValidator(_host)] = Field(
        description="Name or address of the mail server.", examples=["smtp.example.com"]
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="Its port; by `tls`: implicit 465, starttls 587, none 25.", examples=[587]
    )
    tls: Tls = Field(
        "starttls",
        description="How the connection is encrypted: from the first byte, after STARTTLS, or not at all. Never less than this.",
        examples=["starttls"],
    )
    verify: bool = Field(
        True, description="Whether the server's certificate must be valid for `host`. Switch it off in tests only."
    )
    ca_file: Path | None = Field(
        None,
        strict=False,
        description="A file of certificates (PEM) to trust instead of the system's, relative to the shop's folder.",
        examples=["relay-ca.pem"],
    )
    username: Text | None = Field(None, description="Name to log in with.", examples=["half-note"])
    password: Secret | None = Field(None, description="Password to log in with.")
    token: Secret | None = Field(None, description="OAuth 2.0 access token to log in with (XOAUTH2), instead of a password.")
    auth: Auth = Field("auto", description="How to log in; `auto` takes the best that the server offers.", examples=["login"])
    allow_plain_auth: bool = Field(
        False, description="Whether to send the password over a connection to another machine that is not encrypted."
    )
    envelope_from: Annotated[str, AfterValidator(_address)] | None = Field(
        None,
        description="Where bounces go: the envelope sender (Return-Path), instead of the sender's own address.",
        examples=["bounces@example.com"],
    )
    hostname: Annotated[Text, AfterValidator(_name)] | None = Field(
        None,
        description="How this machine introduces itself in EHLO; its own full name by default.",
        examples=["shop.example.com"],
    )
    connections: int = Field(4, ge=1, le=100, description="How many connections at a time, at most.", examples=[4])
    connections_per_domain: int | None = Field(
        None,
        ge=1,
        le=100,
        description="How many letters to one domain may be under way at once, so that a slow one holds up no other.",
        examples=[2],
    )
    messages_per_connection: int = Field(
        1000, ge=1, description="After how many messages a connection is replaced by a new one.", examples=[100]
    )
    keep_idle: Duration = Field(
        timedelta(seconds=20),
        description="How long an unused connection is kept for the next messages; servers close it after 10 s to 5 min.",
        examples=["20s"],
    )
    pipelining: bool = Field(True, description="Whether to use PIPELINING where the server offers it.")
    timeouts: SmtpTimeouts = Field(default_factory=SmtpTimeouts, description="How long to wait for the other side.")

    @property
    def real_port(self) -> int:
        """Return the port, by `tls` where none is set."""
        return PORTS[self.tls] if self.port is None else self.port

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.password is not None and self.token is not None:
            raise refused("a password and a token are set", "take one of them out")
        if self.username is None and (self.password is not None or self.token is not None):
            raise refused("a password without a username", "add username = …")
        if self.username is not None and self.password is None and self.token is None:
            raise refused("a username without a password", 'add password = { env = "SMTP_PASSWORD" }')
        if self.token is None and self.auth == "xoauth2":
            raise refused('auth = "xoauth2" needs a token', 'add token = { file = "…" } instead of the password')
        if self.token is not None and self.auth in ("plain", "login"):
            raise refused(f'auth = "{self.auth}" cannot use a token', "take `auth` out, or give a password")
        return self
