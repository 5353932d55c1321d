"""Getting ready: TLS, EHLO, logging in; every failure makes everybody wait, and says in plain words what to do."""

from __future__ import annotations

import base64
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificate, make_certificate
from tests.servers.smtp import Answer, Close, Event, Hang, smtp_server
from winback.gateways.base import Retry
from winback.gateways.smtp import SmtpGateway
from winback.gateways.smtp.examine import ConnectionTest
from winback.secrets import Secret

from .harness import letters, seconds, send, smtp_gateway

PASSWORD = "correct horse battery"
LOGIN = {"username": "half-note", "password": Secret(PASSWORD)}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificates"), "127.0.0.1", "localhost")


def problem(gateway: SmtpGateway) -> str:
    """Return the one problem that a check finds; a message must meet the same, and cost nobody anything."""
    [found] = gateway.check()
    sent = send(gateway, letters(2))
    for outcome in sent.outcomes.values():
        assert isinstance(outcome, Retry)
        assert outcome.whole_gateway
        assert outcome.reason == found
    assert sent.announced == []
    return found


# TLS


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_messages_go_encrypted(tls: Any, certificate: Certificate) -> None:
    with smtp_server(tls=tls, tls_context=certificate.server_context()) as server:
        gateway = smtp_gateway(server, root=certificate.file.parent, tls=tls, ca_file=Path(certificate.file.name), connections=2)
        assert len(send(gateway, letters(20), server).accepted) == 20
        assert gateway.check() == []
        assert any(fact.startswith("encrypted with TLSv1.") for fact in gateway.test_connection().facts)


def test_after_starttls_the_server_is_greeted_anew(certificate: Certificate) -> None:
    """What it said in the clear could have come from anybody; here it offers more in the clear than encrypted."""
    clear: dict[int, bool] = {}

    def script(event: Event) -> Answer:
        if event.verb == "EHLO" and clear.setdefault(event.connection, True):
            clear[event.connection] = False
            return "250-mail.test\n250-SIZE 1\n250-AUTH PLAIN\n250 STARTTLS"
        return None

    with smtp_server(tls="starttls", tls_context=certificate.server_context(), script=script) as server:
        gateway = smtp_gateway(server, tls="starttls", ca_file=certificate.file, connections=1)
        assert len(send(gateway, letters(2), server).accepted) == 2
        assert [line.split(" ")[0] for line in server.commands[:3]] == ["EHLO", "STARTTLS", "EHLO"]


def test_encryption_that_is_not_offered_is_never_done_without() -> None:
    with smtp_server() as server:
        assert "offers no encryption (STARTTLS)" in problem(smtp_gateway(server, tls="starttls"))
        assert server.messages == []
        assert not any(line.startswith("MAIL") for line in server.commands)


def test_words_put_in_before_the_encryption_are_refused(certificate: Certificate) -> None:
    injected = b"250-evil.test\r\n250 AUTH PLAIN\r\n"
    with smtp_server(tls="starttls", tls_context=certificate.server_context(), inject=injected) as server:
        found = problem(smtp_gateway(server, tls="starttls", ca_file=certificate.file, **LOGIN))
        assert "sent more before the encryption began" in found
        assert not any(b"AUTH" in received for received in server.received)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_a_certificate_nobody_vouches_for_is_not_trusted(tls: Any, certificate: Certificate) -> None:
    with smtp_server(tls=tls, tls_context=certificate.server_context()) as server:
        found = problem(smtp_gateway(server, tls=tls))
        assert "cannot be trusted: self-signed certificate" in found
        assert "ca_file" in found
        assert send(smtp_gateway(server, tls=tls, verify=False), letters(1)).accepted == {"m0"}


def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, "other.example.com")
    with smtp_server(tls="implicit", tls_context=other.server_context()) as server:
        found = problem(smtp_gateway(server, tls="implicit", ca_file=other.file))
        assert "cannot be trusted: ip address mismatch" in found.lower()


def test_a_certificate_that_has_expired_is_not_trusted(tmp_path: Path) -> None:
    old = make_certificate(tmp_path, "127.0.0.1", begins=timedelta(days=-9), ends=timedelta(days=-1))
    with smtp_server(tls="implicit", tls_context=old.server_context()) as server:
        assert "certificate has expired" in problem(smtp_gateway(server, tls="implicit", ca_file=old.file))


def test_the_wrong_mode_is_recognised(certificate: Certificate) -> None:
    with smtp_server() as server:
        found = problem(smtp_gateway(server, tls="implicit", timeouts=seconds(connect=2)))
        assert "cannot agree on TLS" in found
        assert '"starttls" for 587' in found
    with smtp_server(tls="implicit", tls_context=certificate.server_context()) as server:
        found = problem(smtp_gateway(server, tls="starttls", timeouts=seconds(greeting=0.2)))
        assert "connects, but says nothing for 0.2 s" in found
        assert '"implicit" is for port 465' in found


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    gateway = smtp_gateway(1, root=tmp_path, tls="implicit", ca_file=Path("ca.pem"))
    assert "ca_file ca.pem cannot be used" in problem(gateway)


def test_starttls_that_is_unavailable_for_now(certificate: Certificate) -> None:
    def script(event: Event) -> Answer:
        return "454" if event.verb == "STARTTLS" else None

    with smtp_server(tls="starttls", tls_context=certificate.server_context(), script=script) as server:
        assert "454 TLS not available due to temporary reason" in problem(smtp_gateway(server, tls="starttls"))


# Logging in


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "PLAIN LOGIN", "CRAM-MD5 LOGIN"])
def test_a_password_is_given_the_way_the_server_offers(mechanisms: str) -> None:
    with smtp_server(users={"half-note": PASSWORD}, mechanisms=mechanisms) as server:
        gateway = smtp_gateway(server, **LOGIN)
        assert len(send(gateway, letters(3), server).accepted) == 3
        assert {message.user for message in server.messages} == {"half-note"}
        wanted = "PLAIN" if "PLAIN" in mechanisms else "LOGIN"
        assert all(line.split(" ")[1] == wanted for line in server.commands if line.startswith("AUTH"))
        assert "logged in as half-note" in gateway.test_connection().facts


def test_the_way_to_log_in_can_be_set() -> None:
    with smtp_server(users={"half-note": PASSWORD}) as server:
        send(smtp_gateway(server, auth="login", **LOGIN), letters(1), server)
        assert "AUTH LOGIN" in server.commands


def test_a_token_is_given_by_xoauth2(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ya29.first\n")
    login = {"username": "shop@example.com", "token": Secret.from_file(tmp_path / "token")}
    with smtp_server(users={"shop@example.com": "ya29.first"}) as server:
        gateway = smtp_gateway(server, **login)
        assert send(gateway, letters(1), server).accepted == {"m0"}
        # A token lives for an hour: whoever renews it writes the file, and the next connection reads it.
        server.behaviour.users = {"shop@example.com": "ya29.second"}
        found = problem(gateway)
        assert "does not accept the user name or the password" in found
        assert "535" in found
        assert "(status 400)" in found
        assert server.violations == []
        (tmp_path / "token").write_text("ya29.second\n")
        assert gateway.check() == []


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN"])
def test_a_wrong_password(mechanisms: str) -> None:
    with smtp_server(users={"half-note": "another"}, mechanisms=mechanisms) as server:
        found = problem(smtp_gateway(server, **LOGIN))
        assert "the mail server does not accept the user name or the password" in found
        assert "correct username and password" in found
        assert server.messages == []


def test_a_login_that_fails_for_now() -> None:
    def script(event: Event) -> Answer:
        return "454 4.7.0 Temporary authentication failure" if event.verb == "AUTH" else None

    with smtp_server(users={"half-note": PASSWORD}, script=script) as server:
        assert "accepts no user names and passwords at present" in problem(smtp_gateway(server, **LOGIN))


def test_a_login_that_is_needed_and_not_configured() -> None:
    with smtp_server(users={"half-note": PASSWORD}) as server:
        gateway = smtp_gateway(server)
        outcome = send(gateway, letters(1), server)[0]
        assert isinstance(outcome, Retry)
        assert outcome.whole_gateway
        assert "wants a user name and a password" in outcome.reason


def test_a_server_that_offers_no_way_to_log_in() -> None:
    with smtp_server() as server:
        assert "offers no way at all to log in" in problem(smtp_gateway(server, **LOGIN))
    with smtp_server(users={"half-note": PASSWORD}, mechanisms="GSSAPI NTLM") as server:
        assert "offers GSSAPI, NTLM to log in, and none that can be used" in problem(smtp_gateway(server, **LOGIN))


def test_a_password_that_is_not_there_is_named() -> None:
    login = {"username": "half-note", "password": Secret.from_env("NO_SUCH_VARIABLE", {})}
    with smtp_server(users={"half-note": PASSWORD}) as server:
        assert "the environment variable NO_SUCH_VARIABLE is empty or not set" in problem(smtp_gateway(server, **login))


def _own_address() -> str | None:
    """Return an address of this machine that is not loopback, if it has one."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


def test_a_password_does_not_cross_a_network_in_the_clear() -> None:
    address = _own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    with smtp_server(users={"half-note": PASSWORD}, host=address) as server:
        found = problem(smtp_gateway(server, host=address, **LOGIN))
        assert "the password would cross the network" in found
        assert not any(line.startswith("AUTH") for line in server.commands)
        assert smtp_gateway(server, host=address, allow_plain_auth=True, **LOGIN).check() == []


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "XOAUTH2"])
@pytest.mark.parametrize("right", [True, False])
def test_secrets_are_in_no_log_error_or_conversation(mechanisms: str, right: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def script(event: Event) -> Answer:
        # A server that repeats what it was told.
        return None if right or event.verb != "AUTH" else f"535 5.7.8 no, {PASSWORD}, {event.line}"

    login = {"username": "half-note", ("token" if mechanisms == "XOAUTH2" else "password"): Secret(PASSWORD)}
    with smtp_server(users={"half-note": PASSWORD if right else "x"}, mechanisms=mechanisms, script=script) as server:
        gateway = smtp_gateway(server, **login)
        test = gateway.test_connection()
        sent = send(gateway, letters(1), server)
    said = "\n".join([*test.conversation, *test.problems, *test.facts, repr(sent), repr(gateway.options), caplog.text])
    for form in (PASSWORD.encode(), f"\0half-note\0{PASSWORD}".encode(), f"user=half-note\1auth=Bearer {PASSWORD}\1\1".encode()):
        assert form.decode() not in said
        assert base64.b64encode(form).decode() not in said
    assert f"C: AUTH {mechanisms}" in said


# EHLO, greeting, silence


def test_it_introduces_itself_by_the_name_it_is_told() -> None:
    with smtp_server() as server:
        send(smtp_gateway(server, hostname="shop.example.com"), letters(1), server)
        assert server.commands[0] == "EHLO shop.example.com"
        send(smtp_gateway(server), [])
    with smtp_server() as server:
        send(smtp_gateway(server), letters(1), server)
        name = server.commands[0].removeprefix("EHLO ")
        assert name == "[127.0.0.1]" or "." in name


def test_a_server_from_before_ehlo() -> None:
    def script(event: Event) -> Answer:
        return "502 5.5.1 unknown command" if event.verb == "EHLO" else None

    with smtp_server(script=script) as server:
        assert len(send(smtp_gateway(server, connections=1), letters(3), server).accepted) == 3
        assert server.messages[0].parameters == ""
        assert server.commands[1].startswith("HELO ")


@pytest.mark.parametrize(
    ("verb", "answer", "words"),
    [
        ("GREETING", "554 5.3.2 no service here", "turns this machine away"),
        ("GREETING", Close(), "closed the connection"),
        ("GREETING", Hang(), "connects, but says nothing for 0.2 s"),
        ("GREETING", "SSH-2.0-OpenSSH_9.2", "not SMTP"),
        ("EHLO", Close(), "closed the connection"),
        ("EHLO", Hang(), "does not answer for 0.2 s"),
        ("EHLO", "550 5.7.1 your name is wrong", "your name is wrong"),
    ],
)
def test_what_goes_wrong_at_the_beginning(verb: str, answer: Answer, words: str) -> None:
    with smtp_server(script=lambda event: answer if event.verb == verb else None) as server:
        assert words in problem(smtp_gateway(server, timeouts=seconds(greeting=0.2, command=0.2)))


def test_a_name_that_does_not_exist() -> None:
    gateway = smtp_gateway(25, host="no-such-host.invalid")
    assert "there is no server named no-such-host.invalid; correct host" in problem(gateway)


def test_a_name_with_several_addresses_goes_to_the_one_that_answers() -> None:
    """`localhost` has an IPv6 address on most machines, where this server does not listen."""
    with smtp_server() as server:
        assert send(smtp_gateway(server, host="localhost"), letters(3), server).accepted == {"m0", "m1", "m2"}


# The connection test


def test_a_connection_test_keeps_the_conversation() -> None:
    with smtp_server(users={"half-note": PASSWORD}, mechanisms="LOGIN", size=25_000_000) as server:
        test = smtp_gateway(server, hostname="shop.example.com", **LOGIN).test_connection()
        assert test == ConnectionTest(
            problems=(),
            facts=(
                f"127.0.0.1:{server.port} answers, at 127.0.0.1",
                "not encrypted",
                "logged in as half-note",
                "takes messages of up to 25 MB (SIZE)",
                "takes messages one right after another (PIPELINING)",
                "takes letters of any bytes (8BITMIME)",
            ),
            conversation=(
                "S: 220 mail.test ESMTP ready",
                "C: EHLO shop.example.com",
                "S: 250-mail.test greets you",
                "S: 250-PIPELINING",
                "S: 250-SIZE 25000000",
                "S: 250-AUTH LOGIN",
                "S: 250-8BITMIME",
                "S: 250 ENHANCEDSTATUSCODES",
                "C: AUTH LOGIN",
                "S: 334 VXNlcm5hbWU6",
                "C: ***",
                "S: 334 UGFzc3dvcmQ6",
                "C: ***",
                "S: 235 2.7.0 welcome",
                "C: QUIT",
                "S: 221 2.0.0 Bye",
            ),
        )
        assert server.messages == []


def test_a_failed_connection_test_keeps_the_conversation_too() -> None:
    with smtp_server(greeting="554 5.3.2 closed") as server:
        test = smtp_gateway(server).test_connection()
        assert test.conversation == ("S: 554 5.3.2 closed",)
        [found] = test.problems
        assert "554 closed" in found


def test_a_connection_test_does_not_mind_a_server_that_hangs_up_first() -> None:
    with smtp_server(script=lambda event: Close() if event.verb == "QUIT" else None) as server:
        assert smtp_gateway(server).check() == []
