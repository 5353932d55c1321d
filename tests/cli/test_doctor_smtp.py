"""`winback doctor smtp` in process, against a real mail server and a real DNS server on loopback."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.compose.signatures import ed25519_key, rsa_key
from tests.project.builder import campaign, write_shop
from tests.servers.certificates import Certificate, make_certificate
from tests.servers.dns import Zone, dns_server
from tests.servers.smtp import SmtpServer, smtp_server
from winback.cli import app
from winback.compose.dkim_keys import private_pem
from winback.errors import InputError
from winback.project import load_project
from winback.scheduler.deliverability import Names, examine_smtp

PASSWORD = "correct horse battery"
DOMAIN = "shop.example"

#: What the DNS has when everything is right.
RIGHT: dict[str, dict[str, list[str]]] = {
    DOMAIN: {"MX": ["10 mx.shop.example."], "TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
    "mx.shop.example": {"A": ["93.184.216.34"]},
    "winback1._domainkey.shop.example": {"TXT": [rsa_key().record]},
    "winback2._domainkey.shop.example": {"TXT": [ed25519_key().record]},
    "_dmarc.shop.example": {"TXT": ["v=DMARC1; p=quarantine; rua=mailto:dmarc@shop.example"]},
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificates"), "127.0.0.1")


@contextmanager
def _relay(certificate: Certificate, folder: Path, **changes: Any) -> Iterator[SmtpServer]:
    """Run a mail server, and write a shop with two keys whose letters go there."""
    with smtp_server(tls="starttls", tls_context=certificate.server_context(), users={"half-note": PASSWORD}) as server:
        table = {
            "type": "smtp",
            "host": server.host,
            "port": server.port,
            "ca_file": str(certificate.file),
            "username": "half-note",
            "password": {"file": "smtp.password"},
            "hostname": "shop.example",
        }
        keys = [
            {"selector": key.selector, "algorithm": key.algorithm, "private_key": {"file": f"{key.selector}.pem"}}
            for key in (rsa_key(), ed25519_key())
        ]
        settings = {
            "shop": {"email_from": f"hello@{DOMAIN}"},
            "web": {"public_url": "https://mail.shop.example", "password": {"env": "PAGES"}},
            "deliver": {"email": "relay"},
            "gateways": {"relay": table},
            "dkim": keys,
            **changes,
        }
        write_shop(folder, settings=settings, campaigns={"wake": campaign()})
        (folder / "smtp.password").write_text(PASSWORD)
        for key in (rsa_key(), ed25519_key()):
            (folder / f"{key.selector}.pem").write_bytes(private_pem(key))
        yield server


def _doctor(folder: Path, zone: Zone, *arguments: str, **behaviour: Any) -> Result:
    with dns_server(zone, **behaviour) as server:
        return CliRunner().invoke(app, ["doctor", "smtp", *arguments, "--dns", server.address, "--shop", str(folder)])


def _findings(done: Result) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(done.stdout)["findings"]:
        found.setdefault(each["name"], []).append(each)
    return found


def test_when_everything_is_right(certificate: Certificate, tmp_path: Path) -> None:
    with _relay(certificate, tmp_path) as server:
        done = _doctor(tmp_path, RIGHT)
        assert done.exit_code == 0, done.output
        assert server.messages == []
    lines = done.stdout.splitlines()
    assert lines[0] == "Letters from shop.example by 127.0.0.1 (gateways.relay)"
    assert [line.split(":")[0] for line in lines if line.startswith("  ok ")] == [
        *["  ok  mail server"] * 6,
        "  ok  one-click",
        "  ok  MX",
        "  ok  SPF",
        "  ok  DKIM",
        "  ok  DKIM",
        "  ok  DMARC",
    ]
    assert "NOT" not in done.stdout
    assert f"  ok  mail server: 127.0.0.1:{server.port} answers, at 127.0.0.1" in lines
    assert any("encrypted with TLSv1." in line and "by a certificate that is valid until 20" in line for line in lines)
    assert "  ok  mail server: logged in as half-note" in lines
    assert "  ok  mail server: takes messages of up to 35 MB (SIZE)" in lines
    assert "  ok  mail server: takes letters of any bytes (8BITMIME)" in lines
    assert "Nothing is wrong; 1 cannot be told from here" in done.stderr
    assert "EHLO" not in done.stdout


def test_as_json_and_csv(certificate: Certificate, tmp_path: Path) -> None:
    with _relay(certificate, tmp_path):
        said = json.loads(_doctor(tmp_path, RIGHT, "-o", "json").stdout)
        assert (said["ok"], said["gateway"], said["host"], said["domain"]) == (True, "relay", "127.0.0.1", DOMAIN)
        assert "conversation" not in said
        [reverse] = [each for each in said["findings"] if each["name"] == "reverse DNS"]
        assert reverse["ok"] is None
        rows = list(csv.DictReader(io.StringIO(_doctor(tmp_path, RIGHT, "-o", "csv").stdout)))
        assert [row["name"] for row in rows] == [each["name"] for each in said["findings"]]
        assert list(rows[0]) == ["name", "ok", "message", "remedy"]


@pytest.mark.parametrize("output", ["table", "json"])
def test_the_conversation_is_shown_without_its_secrets(output: str, certificate: Certificate, tmp_path: Path) -> None:
    with _relay(certificate, tmp_path):
        done = _doctor(tmp_path, RIGHT, "relay", "--conversation", "-o", output)
    assert "C: EHLO shop.example" in done.stdout
    assert "C: AUTH PLAIN ***" in done.stdout
    assert "S: 235 2.7.0 welcome" in done.stdout
    assert PASSWORD not in done.output
    assert private_pem(rsa_key()).decode().split("\n")[3] not in done.output


def test_each_thing_that_is_wrong_is_told_with_its_remedy(certificate: Certificate, tmp_path: Path) -> None:
    zone = {DOMAIN: {"TXT": ["v=spf1 -all"]}, "winback1._domainkey.shop.example": {"TXT": [rsa_key().record]}}
    with _relay(certificate, tmp_path, web={"public_url": "http://mail.shop.example"}):
        done = _doctor(tmp_path, zone, "-o", "json")
        table = _doctor(tmp_path, zone)
    assert done.exit_code == table.exit_code == 1
    assert json.loads(done.stdout)["ok"] is False
    found = _findings(done)
    wrong = {name: [each["ok"] for each in several] for name, several in found.items() if name != "mail server"}
    assert wrong == {
        "one-click": [False],
        "MX": [False],
        "SPF": [False],
        "DKIM": [True, False],
        "DMARC": [False],
        "reverse DNS": [None],
    }
    assert found["DKIM"][1]["remedy"].endswith(ed25519_key().record)
    assert "  NOT MX: shop.example has no MX record" in table.stdout
    assert "5 of 13 things are not well" in table.stderr


def test_a_line_that_cannot_be_opened_tells_how_far_it_came(certificate: Certificate, tmp_path: Path) -> None:
    with _relay(certificate, tmp_path):
        (tmp_path / "smtp.password").write_text("wrong")
        done = _doctor(tmp_path, RIGHT, "-o", "json", "--conversation")
    assert done.exit_code == 1
    server = _findings(done)["mail server"]
    assert [each["ok"] for each in server] == [True, True, False]
    assert "encrypted with" in server[1]["message"]
    assert "535" in server[2]["message"]
    assert server[2]["remedy"].startswith("correct username and password")
    assert "S: 535 5.7.8 Error: authentication failed" in json.loads(done.stdout)["conversation"]


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with smtp_server() as server:
        port = server.port
    table = {"type": "smtp", "host": "127.0.0.1", "port": port, "tls": "none"}
    write_shop(tmp_path, settings={"shop": {"email_from": f"hello@{DOMAIN}"}, "gateways": {"relay": table}})
    done = _doctor(tmp_path, RIGHT, "-o", "json")
    [server_finding] = _findings(done)["mail server"]
    assert server_finding["message"].endswith("cannot be reached: connection refused")
    [key] = _findings(done)["DKIM"]
    assert key["ok"] is None
    assert "winback does not sign letters" in key["message"]


def test_where_the_dns_does_not_answer_nothing_is_wrong(certificate: Certificate, tmp_path: Path) -> None:
    with _relay(certificate, tmp_path), dns_server({}, silent="*") as server:
        found = examine_smtp(load_project(tmp_path, environ={}), Names(server.address, patience=0.2))
    assert found.ok
    assert [finding.name for finding in found.findings] == [*["mail server"] * 6, "one-click", "reverse DNS", "DNS"]
    assert found.findings[-1].ok is None
    assert "the DNS does not answer here" in found.findings[-1].message
    assert "--dns" in found.findings[-1].remedy


def test_one_name_that_gives_no_answer_spoils_no_other(certificate: Certificate, tmp_path: Path) -> None:
    with _relay(certificate, tmp_path):
        done = _doctor(tmp_path, RIGHT, "-o", "json", failing=["_dmarc.shop.example"])
    found = _findings(done)
    assert done.exit_code == 0
    assert found["DMARC"][0]["ok"] is None
    assert "gives no answer about _dmarc.shop.example" in found["DMARC"][0]["message"]
    assert [each["ok"] for each in found["DKIM"]] == [True, True]


def test_bounces_that_go_elsewhere_are_looked_up_there(certificate: Certificate, tmp_path: Path) -> None:
    zone = {**RIGHT, "bounces.example": {"TXT": ["v=spf1 -all"]}}
    with _relay(certificate, tmp_path):
        config = tmp_path / "config.toml"
        config.write_text(config.read_text().replace('"username"', '"envelope_from"').replace("username =", "envelope_from ="))
        text = config.read_text().replace(
            'envelope_from = "half-note"', 'username = "half-note", envelope_from = "b@bounces.example"'
        )
        config.write_text(text)
        found = _findings(_doctor(tmp_path, zone, "-o", "json"))
    assert found["SPF"][0]["message"] == "bounces.example lets nobody send its mail"
    assert found["DMARC"][0]["message"].endswith("our letters can pass by DKIM (signed by shop.example)")


# Which gateway


def _run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments, "--shop", str(folder)])


@pytest.mark.parametrize(
    ("gateways", "arguments", "words"),
    [
        ({}, ["smtp"], "no gateway sends by SMTP (add a table [gateways.relay]"),
        ({}, ["smtp", "outbox"], "gateways.outbox is of type 'outbox' (add a table [gateways.relay]"),
        ({"a": {"type": "smtp", "host": "a"}}, ["smtp", "b"], "there is no gateway 'b' (there are: a)"),
        ({"a": {"type": "smtp", "host": "a"}, "b": {"type": "smtp", "host": "b"}}, ["smtp"], "which gateway? (there are: a, b)"),
        ({}, ["--conversation"], "are about the mail server (write: winback doctor smtp)"),
        ({}, ["--dns", "9.9.9.9"], "are about the mail server"),
        ({"a": {"type": "smtp", "host": "a"}}, ["smtp", "--dns", "here"], "'here' is not the address of a DNS server"),
    ],
)
def test_a_gateway_that_cannot_be_meant(gateways: Any, arguments: list[str], words: str, tmp_path: Path) -> None:
    write_shop(tmp_path, settings={"gateways": gateways})
    done = _run(tmp_path, *arguments)
    assert isinstance(done.exception, InputError)
    assert words in str(done.exception)


def test_the_doctor_of_the_whole_shop_is_still_there(tmp_path: Path) -> None:
    write_shop(tmp_path)
    done = _run(tmp_path, "-o", "json")
    assert {"files", "gateway", "database"} <= {each["name"] for each in json.loads(done.stdout)}
