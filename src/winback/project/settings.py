"""config.toml: what holds for the whole shop. Every key has a default, so that a new shop begins with an empty file."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from winback.filemodel import FileModel, Name, PositiveDuration, Text, refused
from winback.project.gateways import GatewaySettings
from winback.project.quiet_hours import QuietHourSettings
from winback.project.signing import DkimKeys, DkimSettings
from winback.project.staging import Allowed, Staging, phone_with_country
from winback.project.values import Cap, Caps, Color, Price, Region, Rest, Sunset, Threshold
from winback.secrets import Secret
from winback.store import Channel

if TYPE_CHECKING:
    from winback.audience import Standing

#: The default of `database.url`.
DEFAULT_DATABASE = "sqlite:///var/winback.sqlite"


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise refused(f"{value!r} is not a time zone", _zone_remedy(value)) from None
    return value


def _zone_remedy(value: str) -> str:
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    cities = {name.rpartition("/")[2].lower(): name for name in sorted(available_timezones()) if "/" in name}
    near = get_close_matches(value.rpartition("/")[2].lower().replace(" ", "_"), cities, n=1)
    return f"did you mean {cities[near[0]]!r}?" if near else 'write its IANA name, like "Europe/Berlin"'


def _currency(value: str) -> str:
    from babel.core import get_global

    if value not in get_global("all_currencies"):
        raise refused(f"{value!r} is not a currency", 'write its three capital letters, like "EUR"')
    return value


def _locale(value: str) -> str:
    from babel.core import Locale, UnknownLocaleError

    try:
        Locale.parse(value, sep="-")
    except (UnknownLocaleError, ValueError):
        raise refused(f"{value!r} is not a language that can be written", 'write "en", "de" or "de-AT"') from None
    return value


def _email(value: str) -> str:
    from winback.addresses import normalise_email
    from winback.errors import AddressError

    if "<" in value:
        raise refused("must be an address only", "take out the name and the < >; letters come from shop.name")
    try:
        return normalise_email(value)
    except AddressError as error:
        raise refused(error.message, error.remedy) from None


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or re.search(r"\s", value):
        raise refused(f"{value!r} is not a web address", 'write it whole, like "https://example.com"')
    return value.rstrip("/")


def _phone(value: str) -> str:
    if value and (len(re.findall(r"\d", value)) < 5 or re.search(r"[^\d\s+()/.-]", value)):
        raise refused(f"{value!r} is not a phone number", 'write it as people should dial it, like "+49 30 1234567"')
    return value


def _database_url(value: str) -> str:
    if not value.startswith(("sqlite:///", "postgresql://", "postgres://")):
        # The text is not quoted: a wrong one may still hold a password.
        raise refused("is neither SQLite nor PostgreSQL", f'write "{DEFAULT_DATABASE}" or "postgresql://user@host/database"')
    if re.match(r"postgres(?:ql)?://[^/@]*:[^/@]*@", value) or "password=" in value:
        raise refused("a password must not stand in the file", "set the whole URL in the environment as WINBACK_DATABASE_URL")
    return value


class Brand(FileModel):
    """How letters and pages look."""

    color: Color = Field("#1f6f5c", description="Colour of buttons and headings.", examples=["#1f6f5c"])
    logo_text: Text = Field("My shop", description="Words where a logo would be; without it shop.name.", examples=["Half Note"])


class ShopSettings(FileModel):
    """Who writes: name and addresses in every letter, and where and in what money the shop lives."""

    name: Text = Field(
        "My shop", description="The shop's name; the sender's name of every letter.", examples=["Half Note Records"]
    )
    website: Annotated[str, AfterValidator(_url)] = Field(
        "https://example.com", description="Where the logo leads.", examples=["https://halfnote.example"]
    )
    postal_address: str = Field(
        "", description="At the bottom of every letter; the law of many countries wants it.", examples=["Torstr. 1, 10119 Berlin"]
    )
    phone: Annotated[str, AfterValidator(_phone)] = Field(
        "", description="For people who would rather call; in every message.", examples=["+49 30 1234567"]
    )
    email_from: Annotated[str, AfterValidator(_email)] = Field(
        "shop@example.com", description="Sender's address of every letter.", examples=["hello@halfnote.example"]
    )
    reply_to: Annotated[str, AfterValidator(_email)] | None = Field(
        None, description="Where answers go, if not to email_from.", examples=["service@halfnote.example"]
    )
    zone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="Time zone of the shop, and of people whose own is unknown.", examples=["Europe/Berlin"]
    )
    region: Region = Field("US", description="Country of phone numbers without a country code.", examples=["DE"])
    currency: Annotated[str, AfterValidator(_currency)] = Field(
        "USD", description="Currency of amounts that name none.", examples=["EUR"]
    )
    locale: Annotated[str, AfterValidator(_locale)] = Field(
        "en", description="How dates and money are written for people whose language is unknown.", examples=["de-AT"]
    )
    brand: Brand = Field(default_factory=Brand, description="Colour and logo text.")

    @model_validator(mode="before")
    @classmethod
    def _name_the_logo(cls, given: Any) -> Any:
        """Write the shop's name where the logo text is not set."""
        if isinstance(given, dict) and isinstance(given.get("name"), str) and isinstance(given.get("brand", {}), dict):
            return {**given, "brand": {"logo_text": given["name"], **given.get("brand", {})}}
        return given


class DatabaseSettings(FileModel):
    """Where everything is kept."""

    url: Annotated[str, AfterValidator(_database_url)] = Field(
        DEFAULT_DATABASE,
        description="SQLite file relative to the shop's folder, or PostgreSQL; WINBACK_DATABASE_URL goes before it.",
        examples=["postgresql://winback@db.internal/winback"],
        repr=False,
    )


class WebSettings(FileModel):
    """The pages, the links in letters, and the JSON API."""

    host: Text = Field(
        "127.0.0.1", description="Address to listen on; any but this machine's own needs a password.", examples=["192.168.1.10"]
    )
    port: int = Field(8025, ge=1, le=65535, description="Port to listen on.", examples=[8025])
    public_url: Annotated[str, AfterValidator(_url)] = Field(
        "http://127.0.0.1:8025",
        description="How the world reaches this server; the links in letters begin with it.",
        examples=["https://mail.halfnote.example"],
    )
    password: Secret | None = Field(None, description="Password of the pages.", examples=[{"env": "WINBACK_PASSWORD"}])
    api_key: Secret | None = Field(
        None, description="Key of the JSON API; without one the API is closed.", examples=[{"env": "WINBACK_API_KEY"}]
    )


class DeliverSettings(FileModel):
    """Which gateway carries which channel, and to whom while a shop is tried out."""

    email: Name = Field("outbox", description="Name of the gateway for e-mail: a table of [gateways].", examples=["smtp"])
    sms: Name = Field("outbox", description="Name of the gateway for SMS: a table of [gateways].", examples=["outbox"])
    sms_price: Price | None = Field(
        None, description="What one part of a text message costs you, in shop.currency; for previews.", examples=["0.075"]
    )
    allow: Allowed = Field(
        None,
        description="Write to nobody but these: addresses, everybody at a domain, phone numbers.",
        examples=[["@halfnote.example", "anna@example.com", "+4915112345678"]],
    )
    redirect_email: Annotated[str, AfterValidator(_email)] | None = Field(
        None, description="Who gets the letters instead of the customers.", examples=["anna@halfnote.example"]
    )
    redirect_sms: Annotated[str, AfterValidator(phone_with_country)] | None = Field(
        None, description="Who gets the text messages instead of the customers.", examples=["+4915112345678"]
    )

    def for_channel(self, channel: Channel) -> str:
        """Return the gateway's name for a channel."""
        return self.email if channel is Channel.EMAIL else self.sms

    @property
    def staging(self) -> Staging | None:
        """Return to whom messages go while the shop is tried out; None when they go to the customers.

        One of these keys is enough for all of it: what it says nothing of goes to nobody.
        """
        if self.allow is None and self.redirect_email is None and self.redirect_sms is None:
            return None
        return Staging(() if self.allow is None else (self.allow,), self.redirect_email, self.redirect_sms)


class LimitSettings(FileModel):
    """How many messages one person gets at most, over all campaigns. Service messages count but are never stopped."""

    email: Caps = Field(
        (Cap(1, timedelta(hours=16)), Cap(4, timedelta(days=7))),
        description="Caps for e-mail; [] for none.",
        examples=[["1 in 16h", "4 in 7d"]],
    )
    sms: Caps = Field(
        (Cap(1, timedelta(hours=24)), Cap(4, timedelta(days=30))),
        description="Caps for SMS; [] for none.",
        examples=[["1 in 24h", "4 in 30d"]],
    )
    marketing: Caps = Field(
        (), description="Caps for marketing alone, all channels together: service messages do not count.", examples=[["3 in 7d"]]
    )
    total: Caps = Field((), description="Caps for everything, all channels together.", examples=[["5 in 7d"]])
    sunset: Sunset = Field(
        None,
        description='When marketing to somebody stops: "5 in 60d" after five messages unanswered, the first 60 days ago or more.',
        examples=["5 in 60d"],
    )
    mute_detractors: Rest = Field(
        None,
        description="How long marketing rests for who answered 0 to 6 when asked whether they would recommend the shop.",
        examples=["90d"],
    )

    def for_channel(self, channel: Channel) -> tuple[Cap, ...]:
        """Return the caps of a channel."""
        return self.email if channel is Channel.EMAIL else self.sms


class PauseSettings(FileModel):
    """When winback pauses a campaign by itself: shares of its messages of 24 hours, and from how many on they say something."""

    bounces: Threshold = Field(
        500,
        description='This share came back because the address does not exist; "off" for never.',
        examples=["5%", "off"],
        json_schema_extra={"default": "5%"},
    )
    bounces_from: int = Field(200, ge=20, description="Of so many messages at least.", examples=[200])
    complaints: Threshold = Field(
        30,
        description='This share brought a complaint ("this is spam"); "off" for never.',
        examples=["0.3%", "off"],
        json_schema_extra={"default": "0.3%"},
    )
    complaints_from: int = Field(1000, ge=100, description="Of so many messages at least.", examples=[1000])


class RfmSettings(FileModel):
    """How buyers are compared with each other: `rfm_group` and its like, `abc`."""

    window: PositiveDuration = Field(timedelta(days=365), description="The orders of which time count.", examples=["365d"])
    monetary: Literal["average", "total"] = Field(
        "total", description="Whether money is the average order or the total of them.", examples=["average"]
    )

    @property
    def standing(self) -> Standing:
        """Return both as one value."""
        from winback.audience import Standing

        return Standing(self.window, self.monetary)


def _whole_days(value: timedelta) -> timedelta:
    if value % timedelta(days=1):
        raise refused("is not a number of days", "write '90d'")
    return value


class PredictionSettings(FileModel):
    """What is predicted of each buyer: `expected_orders`."""

    within: Annotated[PositiveDuration, AfterValidator(_whole_days)] = Field(
        timedelta(days=90), description="The coming time whose orders are counted.", examples=["90d"]
    )


class TrackingSettings(FileModel):
    """What is learnt from letters."""

    opens: bool = Field(True, description="Put an invisible picture into letters that tells of opens.", examples=[True])
    clicks: bool = Field(True, description="Lead links through this server, so that clicks are counted.", examples=[True])
    utm: bool = Field(True, description="Add utm_source, utm_medium and utm_campaign to links.", examples=[True])


class DispatchSettings(FileModel):
    """How messages are handed to gateways."""

    batch: int = Field(500, ge=1, le=10_000, description="Messages claimed at once by one worker.", examples=[500])
    processes: int = Field(1, ge=1, le=64, description="How many processes send at once on this machine.", examples=[2])
    attempts: int = Field(6, ge=1, le=20, description="How often a message is tried before it has failed.", examples=[6])


#: RFC 8314 section 3.2 for implicit TLS, RFC 3501 section 2.1 for the rest.
_IMAP_PORTS = {"implicit": 993, "starttls": 143, "none": 143}


class ImapSettings(FileModel):
    """A mailbox on a mail server, read by IMAP."""

    host: Text = Field(description="Name of the mail server.", examples=["imap.example.com"])
    port: int | None = Field(None, ge=1, le=65535, description="Its port; by `tls`: implicit 993, else 143.", examples=[993])
    tls: Literal["implicit", "starttls", "none"] = Field(
        "implicit",
        description="How the connection is encrypted: from the first byte, after STARTTLS, or, to this machine only, not at all.",
        examples=["implicit"],
    )
    ca_file: str | None = Field(
        None,
        description="A file of certificates (PEM) to trust instead of the system's, relative to the shop's folder.",
        examples=["mail-ca.pem"],
    )
    user: Text = Field(description="Name to log in with.", examples=["bounces@halfnote.example"])
    password: Secret | None = Field(None, description="Password to log in with.", examples=[{"env": "IMAP_PASSWORD"}])
    token: Secret | None = Field(None, description="OAuth 2.0 access token to log in with (XOAUTH2), instead of a password.")
    folder: Text = Field("INBOX", description="The folder to read.", examples=["INBOX"])
    timeout: PositiveDuration = Field(
        timedelta(seconds=30), description="How long the server may take for an answer.", examples=["30s"]
    )

    @property
    def real_port(self) -> int:
        """Return the port, by `tls` where none is set."""
        return _IMAP_PORTS[self.tls] if self.port is None else self.port

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.password is not None and self.token is not None:
            raise refused("a password and a token are set", "take one of them out")
        if self.password is None and self.token is None:
            raise refused("neither a password nor a token is set", 'add password = { env = "IMAP_PASSWORD" }')
        if self.tls == "none" and not _is_this_machine(self.host):
            raise refused("the password would cross the network unencrypted", 'set tls = "implicit" or "starttls"')
        return self


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class BounceSettings(FileModel):
    """Where letters that come back are found, and answers to letters. Without a mailbox nothing is read."""

    maildir: Text | None = Field(
        None, description="A Maildir, relative to the shop's folder, that the mail server writes to.", examples=["var/bounces"]
    )
    imap: ImapSettings | None = Field(
        None,
        description="A mailbox on a mail server.",
        examples=[{"host": "imap.example.com", "user": "bounces@example.com", "password": {"env": "IMAP_PASSWORD"}}],
    )
    every: PositiveDuration = Field(timedelta(minutes=5), description="How often they are read.", examples=["5min"])


def _with_outbox(given: Any) -> Any:
    """Add the built-in outbox, so that a shop can deliver before it has set up anything."""
    return {"outbox": {"type": "outbox"}, **given} if isinstance(given, dict) else given


class Settings(FileModel):
    """Everything that config.toml says."""

    auto_apply: bool = Field(
        True,
        description="Whether changed files are taken up by themselves; false: only by `winback apply`.",
        examples=[False],
    )
    shop: ShopSettings = Field(default_factory=ShopSettings, description="Who writes.")
    database: DatabaseSettings = Field(default_factory=DatabaseSettings, description="Where everything is kept.")
    web: WebSettings = Field(default_factory=WebSettings, description="Pages, links and the JSON API.")
    deliver: DeliverSettings = Field(default_factory=DeliverSettings, description="Which gateway carries which channel.")
    gateways: Annotated[dict[Name, GatewaySettings], BeforeValidator(_with_outbox)] = Field(
        default_factory=lambda: {"outbox": GatewaySettings(type="outbox")},
        description="Ways out of the house: one table each, with its `type` and the options of that type.",
        examples=[{"relay": {"type": "smtp", "host": "smtp.example.com"}}],
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="How many messages one person gets at most.")
    quiet_hours: QuietHourSettings = Field(default_factory=QuietHourSettings, description="When no message arrives.")
    pause: PauseSettings = Field(default_factory=PauseSettings, description="When a campaign is paused because of its results.")
    rfm: RfmSettings = Field(default_factory=RfmSettings, description="How buyers are compared with each other.")
    predictions: PredictionSettings = Field(default_factory=PredictionSettings, description="What is predicted of each buyer.")
    tracking: TrackingSettings = Field(default_factory=TrackingSettings, description="What is learnt from letters.")
    dispatch: DispatchSettings = Field(default_factory=DispatchSettings, description="How messages are handed over.")
    dkim: DkimKeys = Field((), description="Keys that sign every letter; two for two algorithms.")
    bounces: BounceSettings = Field(default_factory=BounceSettings, description="Where letters that come back are found.")

    def signing_domain(self, key: DkimSettings) -> str:
        """Return whose signature a key makes."""
        return key.domain or self.shop.email_from.rpartition("@")[2]


__all__ = [
    "DEFAULT_DATABASE",
    "BounceSettings",
    "Brand",
    "DatabaseSettings",
    "DeliverSettings",
    "DispatchSettings",
    "GatewaySettings",
    "ImapSettings",
    "LimitSettings",
    "PauseSettings",
    "PredictionSettings",
    "QuietHourSettings",
    "RfmSettings",
    "Settings",
    "ShopSettings",
    "TrackingSettings",
    "WebSettings",
]
