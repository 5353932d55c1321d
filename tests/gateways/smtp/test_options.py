"""The table in config.toml: what it may say, and what is said of mistakes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from winback.errors import GatewayError
from winback.gateways.registry import configure
from winback.gateways.smtp import SmtpOptions, SmtpTimeouts

SECRET = {"env": "SMTP_PASSWORD"}


def options(**table: Any) -> SmtpOptions:
    gateway = configure("relay", {"type": "smtp", "host": "smtp.example.com", **table}, root=Path())
    assert isinstance(gateway.options, SmtpOptions)
    return gateway.options


def test_a_host_is_enough() -> None:
    found = options()
    assert (found.tls, found.real_port, found.verify, found.connections) == ("starttls", 587, True, 4)
    assert found.timeouts.final == timedelta(minutes=10)


def test_names_become_ascii() -> None:
    found = options(host="smtp.bücher.example", hostname="laden.bücher.example")
    assert (found.host, found.hostname) == ("smtp.xn--bcher-kva.example", "laden.xn--bcher-kva.example")
    assert options(host="[::1]").host == "::1"


@pytest.mark.parametrize(("tls", "port"), [("implicit", 465), ("starttls", 587), ("none", 25)])
def test_the_port_follows_from_tls(tls: str, port: int) -> None:
    assert options(tls=tls).real_port == port
    assert options(tls=tls, port=2525).real_port == 2525


def test_everything_can_be_said() -> None:
    found = options(
        ca_file="relay-ca.pem",
        username="half-note",
        password=SECRET,
        auth="login",
        envelope_from="bounces@example.com",
        hostname="shop.example.com",
        connections=8,
        messages_per_connection=100,
        keep_idle="1min",
        pipelining=False,
        timeouts={"connect": "10s", "final": "15min"},
    )
    assert found.ca_file == Path("relay-ca.pem")
    assert found.timeouts == SmtpTimeouts(connect=timedelta(seconds=10), final=timedelta(minutes=15))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"hots": "x"}, "gateways.relay.hots: unknown option, did you mean 'host'?"),
        ({"host": " "}, "gateways.relay.host: is empty"),
        ({"host": "smtp://example.com"}, "'smtp://example.com' is not the name of a server"),
        ({"host": "smtp.example.com:587"}, "has a port in it; write the port on a line of its own"),
        ({"host": "smtp..example.com"}, "'smtp..example.com' cannot be the name of a machine"),
        ({"hostname": "my shop"}, "'my shop' cannot be the name of a machine"),
        ({"port": "587"}, "gateways.relay.port"),
        ({"port": 0}, "gateways.relay.port"),
        ({"tls": "ssl"}, "gateways.relay.tls"),
        ({"verify": "no"}, "gateways.relay.verify"),
        ({"password": "hunter2", "username": "a"}, "a secret must not stand in the file"),
        ({"password": SECRET}, "a password without a username"),
        ({"username": "a"}, "a username without a password"),
        ({"username": "a", "password": SECRET, "token": SECRET}, "a password and a token are set"),
        ({"username": "a", "password": SECRET, "auth": "xoauth2"}, 'auth = "xoauth2" needs a token'),
        ({"username": "a", "token": SECRET, "auth": "plain"}, 'auth = "plain" cannot use a token'),
        ({"envelope_from": "bounces"}, "is not an e-mail address"),
        ({"connections": 0}, "gateways.relay.connections"),
        ({"keep_idle": 20}, "20 has no unit"),
        ({"timeouts": {"final": "0s"}}, "gateways.relay.timeouts.final: must be longer than nothing"),
        ({"timeouts": {"finale": "5min"}}, "gateways.relay.timeouts.finale: unknown option"),
    ],
)
def test_a_mistake_is_named(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(GatewayError) as caught:
        options(**table)
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_option_is_described() -> None:
    for model in (SmtpOptions, SmtpTimeouts):
        assert all(field.description for field in model.model_fields.values())


def test_a_host_is_needed() -> None:
    with pytest.raises(GatewayError, match=r"gateways\.relay\.host: is missing"):
        configure("relay", {"type": "smtp"}, root=Path())
