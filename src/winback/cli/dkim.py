"""`winback dkim`: make a key that signs letters, and say what to publish in the DNS."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from winback.cli.base import Column, Output, OutputOption, ShopOption, load_shop, say, show, show_json
from winback.errors import InputError

if TYPE_CHECKING:
    from winback.compose.dkim_keys import SigningKey


class Algorithm(StrEnum):
    """What the key is for."""

    RSA = "rsa"
    ED25519 = "ed25519"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dkim", short_help="Make a key that signs letters.")(dkim)


def dkim(
    selector: Annotated[
        str, typer.Argument(metavar="SELECTOR", help="A name for the key: small letters, digits, hyphens.", show_default=False)
    ],
    algorithm: Annotated[
        Algorithm, typer.Option("--algorithm", help="What the key is for. Every receiver can verify rsa.")
    ] = Algorithm.RSA,
    domain: Annotated[
        str | None,
        typer.Option("--domain", help="Whose signature it is; else the domain of shop.email_from.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Where the key goes; else var/dkim-SELECTOR.pem.", show_default=False)
    ] = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a key that signs letters (DKIM), and print the DNS record to publish. Never overwrites a key.

    \b
    Example: winback dkim winback1
    """
    from winback.compose.dkim_keys import make_key, write_key
    from winback.project.signing import as_names, is_aligned

    project = load_shop(shop)
    selector, domain = as_names(selector, domain)
    sender = project.settings.shop.email_from.rpartition("@")[2]
    if domain is not None and not is_aligned(domain, sender):
        raise InputError(f"letters come from {sender}: a signature of {domain} counts for nothing", "leave --domain out")
    path = file or project.var / f"dkim-{selector}.pem"
    key = make_key(domain or sender, selector, "ed25519" if algorithm is Algorithm.ED25519 else "rsa")
    write_key(key, path)
    shown = path.relative_to(project.root) if path.is_relative_to(project.root) else path
    row = {
        "selector": key.selector,
        "domain": key.domain,
        "algorithm": key.algorithm,
        "file": str(shown),
        "name": key.name,
        "type": "TXT",
        "value": key.record,
    }
    if output is Output.JSON:
        show_json(row)
    elif output is Output.CSV:
        show([row], [Column(name, name) for name in row], output)
    else:
        _explain(key, str(shown), sender)


def _explain(key: SigningKey, file: str, sender: str) -> None:
    from winback.compose.dkim_keys import as_texts

    say(f"The key is in {file}, for its owner only; keep it with your backups.")
    say(f"\nPublish this in the DNS of {key.domain}, where its records are edited:\n")
    typer.echo(f"name   {key.name}\ntype   TXT\nvalue  {key.record}")
    pieces = list(as_texts(key.record))
    if len(pieces) > 1:
        texts = " ".join(f'"{piece}"' for piece in pieces)
        say("\nIn a zone file, where a text has at most 255 characters:\n")
        say(f"{key.name}. IN TXT ( {texts} )")
    say("\nThen, in config.toml:\n")
    say(_config(key, file, sender))
    say("\nAnd look whether the DNS has it: winback doctor smtp")


def _config(key: SigningKey, file: str, sender: str) -> str:
    lines = ["[dkim]", f'selector    = "{key.selector}"', f'private_key = {{ file = "{file}" }}']
    if key.domain != sender:
        lines.append(f'domain      = "{key.domain}"')
    if key.algorithm != "rsa":
        lines.append(f'algorithm   = "{key.algorithm}"')
    return "\n".join(lines)
