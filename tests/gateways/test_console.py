"""The console prints messages so that a person can read them, whatever is in them."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import TextIO

import pytest

from winback.gateways.base import Accepted, Outcome, Outgoing, Retry
from winback.gateways.console import ConsoleGateway, ConsoleOptions

ID = "6d0e2d5c-8f53-5c1e-9c3a-0c5a1c7a9b11"


def letter(text: str | None, subject: str = "Hello", html: str = "<p>Hi</p>") -> Outgoing:
    content = EmailMessage(policy=SMTP)
    if text is None:
        content.set_content(html, subtype="html")
    else:
        content.set_content(text)
        content.add_alternative(html, subtype="html")
    return Outgoing(ID, "email", "ada@example.com", "shop@example.com", content.as_bytes(), subject=subject)


def console(terminal: TextIO | None = None, **options: object) -> ConsoleGateway:
    return ConsoleGateway(ConsoleOptions.model_validate(options), name="console", root=Path(), stream=terminal)


def outcome(gateway: ConsoleGateway, message: Outgoing) -> Outcome:
    with gateway.connect() as sender:
        [(_, found)] = sender.send([message], lambda message_id: None)
    return found


def printed(message: Outgoing, **options: object) -> str:
    stream = io.StringIO()
    assert outcome(console(stream, **options), message) == Accepted(ID, reply="printed")
    return stream.getvalue()


def test_a_letter_shows_its_text_part() -> None:
    assert printed(letter("Hello Ada,\n\nsee you soon.\n")) == (
        "E-mail to ada@example.com\n"
        "  From:    shop@example.com\n"
        "  Subject: Hello\n"
        f"  Id:      {ID}\n"
        "\n"
        "  Hello Ada,\n"
        "\n"
        "  see you soon.\n"
        "\n"
    )


@pytest.mark.parametrize(
    ("text", "sender", "head"),
    [
        ("See you", "HalfNote", "SMS to +4915123456789 from HalfNote (1 part, GSM-7)"),
        ("See you, Ада", "", "SMS to +4915123456789 (1 part, UCS-2)"),
        ("x" * 200, "", "SMS to +4915123456789 (2 parts, GSM-7)"),
    ],
)
def test_an_sms_shows_what_it_costs(text: str, sender: str, head: str) -> None:
    message = Outgoing(ID, "sms", "+4915123456789", sender, text=text)
    assert printed(message) == f"{head}\n  Id:      {ID}\n\n  {text}\n\n"


def test_a_letter_without_a_text_part_says_so() -> None:
    assert "  (this letter has no text part)\n" in printed(letter(None))


def test_a_letter_in_an_unknown_character_set_says_so() -> None:
    content = b"Content-Type: text/plain; charset=klingon\r\n\r\nqapla\r\n"
    message = Outgoing(ID, "email", "ada@example.com", "shop@example.com", content, subject="x")
    assert ID in printed(message)


def test_a_long_letter_is_cut() -> None:
    shown = printed(letter("\n".join(f"line {number}" for number in range(1, 11))), lines=3)
    assert "  line 3\n  … 7 more lines\n\n" in shown
    assert "line 4" not in shown


def test_nothing_in_a_message_moves_the_cursor() -> None:
    shown = printed(letter("red \x1b[31malarm\x07", subject="\x1b]0;title\x07\r\nE-mail to nobody"))
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert shown.count("\nE-mail to") == 0


def test_a_terminal_without_the_letters_shows_their_numbers() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    assert isinstance(outcome(console(stream), letter("Grüße")), Accepted)
    assert b"  Gr\\xfc\\xdfe\n" in raw.getvalue()


def test_a_reader_that_is_gone_is_everybodys_trouble() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    made = console(stream)
    found = outcome(made, letter("Hello"))
    assert isinstance(found, Retry)
    assert found.whole_gateway
    assert "cannot be written: [Errno 32] Broken pipe" in made.check()[0]
    with suppress(BrokenPipeError):
        stream.close()
    assert "cannot be written" in made.check()[0]


@pytest.mark.parametrize(("name", "other"), [("stdout", "stderr"), ("stderr", "stdout")])
def test_it_prints_where_it_is_told(name: str, other: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(outcome(console(stream=name), letter("Hello")), Accepted)
    output = capsys.readouterr()
    assert ID in getattr(output, {"stdout": "out", "stderr": "err"}[name])
    assert getattr(output, {"stdout": "out", "stderr": "err"}[other]) == ""


def test_letters_go_to_stderr_so_that_results_on_stdout_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    outcome(console(), letter("Hello"))
    assert capsys.readouterr().out == ""
