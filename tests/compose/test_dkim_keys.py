"""Keys that sign letters: every form in which people have them, what is said of those that cannot be used, and no leak."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from tests.compose.signatures import ed25519_key, rsa_key, verdicts
from tests.compose.test_composer import NOW
from tests.compose.test_dkim import CASES
from tests.project.builder import campaign, write_shop
from winback.cli import app
from winback.compose import Composer, sample_recipient
from winback.compose.check import check_signing
from winback.compose.dkim import Signer
from winback.compose.dkim_keys import SigningKey, as_texts, load_key, private_pem, read_public_key
from winback.errors import SigningError
from winback.project import Project, load_project

_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER
_OPEN = serialization.NoEncryption()


def _written(key: Any, encoding: Any, form: str, encryption: Any = _OPEN) -> bytes:
    made: bytes = key.private_bytes(encoding, getattr(serialization.PrivateFormat, form), encryption)
    return made


def _shop(folder: Path, text: str | None, algorithm: str = "rsa", **changes: Any) -> Project:
    """Return a shop whose key is a file that holds a text; without a text the file is not there."""
    table = {"selector": "winback1", "private_key": {"file": "dkim.pem"}, "algorithm": algorithm, **changes}
    shop = {"email_from": "hello@shop.example"}
    write_shop(folder, settings={"shop": shop, "dkim": table}, campaigns={"wake": campaign()})
    if text is not None:
        (folder / "dkim.pem").write_text(text)
    return load_project(folder, environ={"WINBACK_SECRET": "correct horse battery staple"})


_RSA = rsa_key().private
_ED25519 = ed25519_key().private

FORMS = {
    "PKCS #8": ("rsa", private_pem(rsa_key()).decode()),
    "PKCS #1": ("rsa", _written(_RSA, _PEM, "TraditionalOpenSSL").decode()),
    "on one line, as in an environment file": ("rsa", private_pem(rsa_key()).decode().replace("\n", "\\n")),
    "base64 without its frame": ("rsa", b64encode(_written(_RSA, _DER, "PKCS8")).decode()),
    "Ed25519 PKCS #8": ("ed25519", private_pem(ed25519_key()).decode()),
    "Ed25519 by dknewkey": ("ed25519", b64encode(_written(_ED25519, serialization.Encoding.Raw, "Raw")).decode()),
}


@pytest.mark.parametrize(("algorithm", "text"), FORMS.values(), ids=FORMS)
def test_a_key_is_read_in_every_usual_form(algorithm: str, text: str, tmp_path: Path) -> None:
    project = _shop(tmp_path, text, algorithm)
    assert check_signing(project) == []
    [table] = project.settings.dkim
    found = load_key(project.settings, table)
    wanted = {"rsa": rsa_key(), "ed25519": ed25519_key()}[algorithm]
    assert found.public == wanted.public
    assert (found.domain, found.name) == ("shop.example", "winback1._domainkey.shop.example")


def _elliptic() -> str:
    return _written(ec.generate_private_key(ec.SECP256R1()), _PEM, "PKCS8").decode()


BROKEN = {
    "garbage": ("rsa", lambda: "hunter2 hunter2", "cannot be read as a key; make one: winback dkim SELECTOR"),
    "half a key": ("rsa", lambda: FORMS["PKCS #8"][1][:700], "cannot be read as a key"),
    "the public half": (
        "rsa",
        lambda: rsa_key().public.public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
        "is the public half",
    ),
    "a passphrase": (
        "rsa",
        lambda: _written(_RSA, _PEM, "PKCS8", serialization.BestAvailableEncryption(b"hunter2")).decode(),
        "is locked with a passphrase",
    ),
    "another kind": ("rsa", _elliptic, "is neither for RSA nor for Ed25519"),
    "rsa for ed25519": ("ed25519", lambda: FORMS["PKCS #8"][1], 'is for rsa, and algorithm = "ed25519"; write algorithm = "rsa"'),
    "ed25519 for rsa": ("rsa", lambda: FORMS["Ed25519 PKCS #8"][1], 'is for ed25519, and algorithm = "rsa"'),
    "too short": ("rsa", (CASES / "rsa-512.pem").read_text, "has 512 bits; use one of 2048: winback dkim SELECTOR"),
}


@pytest.mark.parametrize(("algorithm", "make", "words"), BROKEN.values(), ids=BROKEN)
def test_a_key_that_cannot_be_used_is_a_problem_of_the_files(algorithm: str, make: Any, words: str, tmp_path: Path) -> None:
    text = make()
    _shop(tmp_path, text, algorithm)
    done = CliRunner().invoke(app, ["check", "--shop", str(tmp_path)])
    assert done.exit_code == 1
    [line] = done.stdout.splitlines()
    assert line.startswith("config.toml:2: dkim.private_key: the DKIM key in the file ")
    assert words in line
    for secret in ("hunter2", *text.split("\n")[1:3]):
        assert secret not in done.output or secret == ""


def test_a_key_of_several_is_named_by_its_place(tmp_path: Path) -> None:
    tables = "".join(f'[[dkim]]\nselector = "w{number}"\nprivate_key = {{ file = "{number}.pem" }}\n' for number in (1, 2))
    write_shop(tmp_path, settings=f'[shop]\nemail_from = "hello@shop.example"\n{tables}')
    (tmp_path / "1.pem").write_text(FORMS["PKCS #8"][1])
    (tmp_path / "2.pem").write_text("nothing")
    [problem] = check_signing(load_project(tmp_path, environ={}))
    assert (problem.line, problem.key) == (8, "dkim[2].private_key")


def test_a_key_that_is_not_here_is_no_problem_of_the_files(tmp_path: Path) -> None:
    """It may be on the machine that sends, and only there."""
    _shop(tmp_path, None)
    assert CliRunner().invoke(app, ["check", "--shop", str(tmp_path)]).exit_code == 0


def test_a_key_may_stand_in_the_environment(tmp_path: Path) -> None:
    text = '[shop]\nemail_from = "hello@shop.example"\n[dkim]\nselector = "w"\nprivate_key = { env = "DKIM_KEY" }\n'
    write_shop(tmp_path, settings=text)
    project = load_project(tmp_path, environ={"DKIM_KEY": FORMS["PKCS #8"][1]})
    assert load_key(project.settings, project.settings.dkim[0]).public == rsa_key().public
    [problem] = check_signing(load_project(tmp_path, environ={"DKIM_KEY": "nothing"}))
    assert "the environment variable DKIM_KEY cannot be read as a key" in problem.message


def test_nothing_shows_a_private_key(tmp_path: Path) -> None:
    project = _shop(tmp_path, FORMS["PKCS #8"][1])
    key = load_key(project.settings, project.settings.dkim[0])
    shown = f"{key!r} {Signer([key])!r} {key.record} {key.bits} {project!r} {project.settings.model_dump()}"
    body = FORMS["PKCS #8"][1].split("\n")[1:-2]
    assert len(body) > 20
    assert not any(line in shown for line in body)


# The record


@pytest.mark.parametrize("make", [rsa_key, ed25519_key])
def test_the_record_is_what_receivers_read(make: Any) -> None:
    key: SigningKey = make()
    said = dict(tag.strip().split("=", 1) for tag in key.record.split(";"))
    assert (said["v"], said["k"]) == ("DKIM1", key.algorithm)
    assert read_public_key(said["k"], said["p"]) == key.public
    pieces = list(as_texts(key.record))
    assert "".join(pieces) == key.record
    assert max(map(len, pieces)) <= 255


@pytest.mark.parametrize("published", ["", "abc", "!!!", b64encode(b"short").decode()])
@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_a_record_that_holds_no_key(algorithm: str, published: str) -> None:
    assert read_public_key(algorithm, published) is None


# Letters


def _letter(project: Project, **options: Any) -> bytes:
    wake = project.campaigns["wake"]
    recipient = sample_recipient(project, wake, wake.steps[0])
    composed = Composer(project, **options).compose(
        wake, wake.steps[0], recipient, now=NOW, link_ids=lambda targets: [1] * len(targets)
    )
    return composed.outgoing.content


def test_letters_of_the_shop_are_signed(tmp_path: Path) -> None:
    project = _shop(tmp_path, FORMS["PKCS #8"][1])
    content = _letter(project)
    assert content.startswith(b"DKIM-Signature: ")
    assert verdicts(content, [load_key(project.settings, project.settings.dkim[0])]) == [True]
    assert f" t={int(NOW.timestamp())};".encode() in content


def test_what_is_only_looked_at_needs_no_key(tmp_path: Path) -> None:
    assert b"DKIM-Signature" not in _letter(_shop(tmp_path, None), signed=False)


def test_no_letter_is_made_without_its_signature(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match="letters cannot be signed") as caught:
        _letter(_shop(tmp_path, None))
    assert "dkim.pem cannot be read" in str(caught.value)
