"""`[dkim]` in config.toml: the keys that sign letters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from winback.errors import AddressError, InputError
from winback.filemodel import FileModel, kind_of, refused
from winback.secrets import Secret

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

DkimAlgorithm = Literal["rsa", "ed25519"]

#: RFC 6376 section 3.1: a selector is one label of a domain name, or several.
_LABELS = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


def _selector(value: str) -> str:
    name, suffix, _ = value.lower().partition("._domainkey")
    if suffix:
        raise refused(f"{value!r} is more than the selector", f'write "{name}"')
    if not _LABELS.fullmatch(name):
        raise refused(f"{value!r} cannot be a selector", 'write a name of letters, digits and hyphens, like "winback1"')
    return name


def _domain(value: str) -> str:
    from winback.addresses import normalise_email

    try:
        address = normalise_email(f"a@{value}")
    except AddressError:
        raise refused(f"{value!r} is not a domain", 'write the one of shop.email_from, like "halfnote.example"') from None
    return address.rpartition("@")[2]


class DkimSettings(FileModel):
    """A key that signs every letter (DKIM), so that receivers know that it is yours."""

    domain: Annotated[str, AfterValidator(_domain)] | None = Field(
        None, description="Whose signature it is; by default the domain of shop.email_from.", examples=["halfnote.example"]
    )
    selector: Annotated[str, AfterValidator(_selector)] = Field(
        description="Under which name the public key stands in the DNS: SELECTOR._domainkey.DOMAIN.", examples=["winback1"]
    )
    private_key: Secret = Field(
        description="The private key; `winback dkim SELECTOR` makes one.", examples=[{"file": "var/dkim-winback1.pem"}]
    )
    algorithm: DkimAlgorithm = Field("rsa", description="What the key is for. Every receiver can verify rsa.", examples=["rsa"])


class _OneOrSeveral:
    """One table or a list of them: `[dkim]` for one key, `[[dkim]]` for each of several."""

    @staticmethod
    def read(given: Any) -> Any:
        """Return several tables for what is written; refuse what is no table."""
        if isinstance(given, dict):
            return (given,)
        if isinstance(given, list | tuple) and all(isinstance(each, dict | DkimSettings) for each in given):
            return tuple(given)
        raise refused(f"must be a table, not {kind_of(given)}", "begin it with [dkim] on a line of its own")

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


DkimKeys = Annotated[tuple[DkimSettings, ...], BeforeValidator(_OneOrSeveral.read), _OneOrSeveral()]


def as_names(selector: str, domain: str | None) -> tuple[str, str | None]:
    """Return a selector and a domain as config.toml would have them. Raise InputError for what cannot be one."""
    try:
        table = DkimSettings(selector=selector, domain=domain, private_key=Secret(""))
    except ValidationError as error:
        message, _, remedy = error.errors(include_url=False)[0]["msg"].partition("; ")
        raise InputError(message, remedy) from None
    return table.selector, table.domain


def is_aligned(domain: str, other: str) -> bool:
    """Say whether two domains count as one sender's for DMARC, in its relaxed mode: one is the other, or is part of it.

    Two parts of one domain (`news.` and `mail.`) would be aligned, too (RFC 7489 section 3.1), but which domains belong to
    somebody and which to a registry is known only by a list that we do not carry.
    """
    return domain == other or domain.endswith(f".{other}") or other.endswith(f".{domain}")
