"""`winback dkim`: a key for its owner only, the record to publish, and a shop that signs with it."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.project.builder import campaign, write_shop
from winback.cli import app
from winback.compose.dkim_keys import load_key
from winback.errors import InputError
from winback.project import load_project


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    settings = '[shop]\nemail_from = "hello@news.shop.example"\n'
    return write_shop(tmp_path / "shop", settings=settings, campaigns={"wake": campaign()})


def _dkim(shop: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["dkim", *arguments, "--shop", str(shop)])


@pytest.mark.parametrize(
    "arguments",
    [[], ["--algorithm", "ed25519"], ["--domain", "Shop.example"], ["--domain", "shop.example", "--algorithm", "ed25519"]],
)
def test_a_shop_signs_with_the_key_as_it_is_told(arguments: list[str], shop: Path) -> None:
    done = _dkim(shop, "Winback1", *arguments)
    assert done.exit_code == 0, done.output
    path = shop / "var" / "dkim-winback1.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "PRIVATE KEY" not in done.output
    body = path.read_text().split("\n")[1]
    assert body not in done.output
    # What it says to write, written.
    [table] = re.findall(r"^\[dkim\]\n(?:\w+ += .*\n)+", done.stderr, re.MULTILINE)
    config = shop / "config.toml"
    config.write_text(config.read_text() + table)
    assert "dkim" in tomllib.loads(config.read_text())
    project = load_project(shop, environ={})
    key = load_key(project.settings, project.settings.dkim[0])
    assert done.stdout.splitlines() == [f"name   {key.name}", "type   TXT", f"value  {key.record}"]
    assert key.algorithm == ("ed25519" if "ed25519" in arguments else "rsa")
    assert key.domain == ("shop.example" if "--domain" in arguments else "news.shop.example")
    assert CliRunner().invoke(app, ["check", "--shop", str(shop)]).exit_code == 0


def test_a_long_record_is_also_written_in_pieces(shop: Path) -> None:
    done = _dkim(shop, "w")
    [value] = re.findall("^value  (.*)$", done.stdout, re.MULTILINE)
    [zone] = re.findall(r"IN TXT \( (.*) \)", done.stderr)
    pieces = re.findall('"([^"]*)"', zone)
    assert "".join(pieces) == value
    assert len(pieces) == 2
    assert "IN TXT" not in _dkim(shop, "short", "--algorithm", "ed25519").output


def test_as_json(shop: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "mine.pem"
    said = json.loads(_dkim(shop, "w", "--file", str(path), "-o", "json").stdout)
    assert said.pop("value").startswith("v=DKIM1; k=rsa; p=MII")
    assert said == {
        "selector": "w",
        "domain": "news.shop.example",
        "algorithm": "rsa",
        "file": str(path),
        "name": "w._domainkey.news.shop.example",
        "type": "TXT",
    }
    assert path.is_file()


def test_a_key_is_never_overwritten(shop: Path) -> None:
    _dkim(shop, "w")
    path = shop / "var" / "dkim-w.pem"
    before = path.read_bytes()
    done = _dkim(shop, "w")
    assert isinstance(done.exception, InputError)
    assert "dkim-w.pem is there already (a new key wants a new selector; nothing was changed)" in str(done.exception)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["under_score"], "'under_score' cannot be a selector"),
        (["../../etc/passwd"], "cannot be a selector"),
        (["w._domainkey.shop.example"], 'is more than the selector (write "w")'),
        (["w", "--domain", "com"], "'com' is not a domain"),
        (["w", "--domain", "other.example"], "letters come from news.shop.example"),
        (["w", "--file", "/proc/none/key.pem"], "key.pem cannot be written"),
    ],
)
def test_what_cannot_be_made(arguments: list[str], words: str, shop: Path) -> None:
    done = _dkim(shop, *arguments)
    assert isinstance(done.exception, InputError)
    assert words in str(done.exception)
    assert not list(shop.glob("**/*.pem"))
