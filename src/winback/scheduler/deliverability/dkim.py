"""The DNS record of a key that signs our letters (RFC 6376 section 3.6.1): is it there, and is it that of our key?"""

from __future__ import annotations

from winback.compose.dkim_keys import RECOMMENDED, SigningKey, load_key, read_public_key
from winback.errors import SigningError
from winback.project import Project
from winback.project.signing import DkimSettings
from winback.scheduler.deliverability.finding import Finding
from winback.scheduler.deliverability.names import Names, organisation


def dkim(names: Names, project: Project, table: DkimSettings) -> Finding:
    """Return whether receivers can verify what one key signs."""
    try:
        key = load_key(project.settings, table)
    except SigningError as error:
        return Finding("DKIM", False, error.message, error.remedy)
    publish = f"publish a TXT record at {key.name}: {key.record}"
    found = [tags for tags in map(read_tags, names.texts(key.name) or ()) if "p" in tags]
    if not found:
        return Finding("DKIM", False, f"there is no key at {key.name}, so that nobody can verify our signatures", publish)
    if len(found) > 1:
        return Finding(
            "DKIM", False, f"there are {len(found)} keys at {key.name}: receivers may take any of them", "leave one there"
        )
    trouble = _trouble(found[0], key)
    if trouble:
        return Finding("DKIM", False, f"{key.name} {trouble}", publish)
    remedy = "" if key.algorithm != "rsa" or key.bits >= RECOMMENDED else f"make one of {RECOMMENDED} bits: winback dkim SELECTOR"
    return Finding("DKIM", True, f"{key.name} has the key that signs our letters ({key.algorithm}, {key.bits} bits)", remedy)


def rewritten(host: str) -> Finding | None:
    """Return what is to be said where the mail server changes letters after they were signed.

    https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dkim-manual.html: "Don't sign the following fields:
    Message-ID, Date, Return-Path, Bounces-To."
    """
    if organisation(host) != "amazonaws.com":
        return None
    message = "Amazon SES replaces Message-ID and Date after they were signed, so that our signatures do not hold"
    return Finding("DKIM", False, message, "switch on Easy DKIM there, and take [dkim] out of config.toml")


def no_dkim(host: str) -> Finding:
    """Return what is to be said where winback signs nothing."""
    message = f"winback does not sign letters; whether {host} signs them for your domain cannot be seen from here"
    return Finding("DKIM", None, message, "ask its owner, or let winback sign: winback dkim winback1")


def _trouble(tags: dict[str, str], key: SigningKey) -> str:
    kind = tags.get("k", "rsa").lower()
    if tags.get("v", "DKIM1") != "DKIM1":
        return f"has a record of another kind, v={tags['v']}"
    if not tags["p"]:
        return "says that its key is withdrawn (p is empty)"
    if kind != key.algorithm:
        return f"has a key for {kind}, and ours is for {key.algorithm}"
    if "h" in tags and "sha256" not in _words(tags["h"]):
        return "does not allow SHA-256 (h)"
    if "s" in tags and not {"*", "email"} & _words(tags["s"]):
        return "is not for e-mail (s)"
    if read_public_key(kind, tags["p"]) != key.public:
        return "has another key than the one that signs our letters"
    if "y" in _words(tags.get("t", "")):
        return "says that the key is only being tested (t=y), so that a signature counts for nothing"
    return ""


def read_tags(text: str) -> dict[str, str]:
    """Return the tags of a DKIM or DMARC record; what is none is left out."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals and name.strip()}


def _words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(":")}
