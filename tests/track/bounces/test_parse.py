"""Every kind of bounce, complaint and answer is known for what it is; and no bytes whatever make reading a mail fail."""

from __future__ import annotations

import random
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winback.track.bounces import Kind, parse
from winback.track.bounces.automatic import SUBJECTS
from winback.track.bounces.mail import LARGEST
from winback.track.bounces.rules import RULES

CASES = Path(__file__).resolve().parents[2] / "cases" / "bounces"
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((CASES / "expected.toml").read_text(encoding="utf-8"))

#: The letter that all cases are about.
LETTER = "0b9d7c7e-2a41-5c3b-9d0f-3c6f6d2b7a51"
RELAYS = "0102018c0b7e6d5c-0b9d7c7e-2a41-4c3b-9d0f-3c6f6d2b7a51-000000"


def read(name: str) -> bytes:
    return (CASES / f"{name}.eml").read_bytes()


def test_each_mail_is_expected_to_be_something() -> None:
    assert {path.stem for path in CASES.glob("*.eml")} == set(EXPECTED)
    assert {case["kind"] for case in EXPECTED.values()} == set(Kind)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_mail_says(name: str, line_end: bytes) -> None:
    case = {"status": "", "reason": "", "about": "id", "recipient": "bob@example.com", "text": "", **EXPECTED[name]}
    report = parse(read(name).replace(b"\n", line_end))
    assert report.kind == case["kind"]
    assert report.status == case["status"]
    assert case["reason"] in report.reason
    assert set(report.message_ids) == {"id": {LETTER}, "relay": {RELAYS}, "": set()}[case["about"]]
    assert report.recipients == ((case["recipient"],) if case["recipient"] else ())
    assert report.text == case["text"]


def test_every_rule_of_the_table_is_needed_by_a_mail() -> None:
    assert {rule.reason for rule in RULES} <= {case.get("reason") for case in EXPECTED.values()}


@pytest.mark.parametrize("language", SUBJECTS)
def test_automatic_answers_are_known_by_their_subject(language: str) -> None:
    for beginning in SUBJECTS[language]:
        mail = read("reply_question").replace(b"Subject: Re: Hello again", f"Subject: {beginning.title()}: Hello".encode())
        assert parse(mail).kind is Kind.AUTOMATIC, beginning
    assert parse(read("reply_question").replace(b"Re: Hello again", b"Re: Gibt es Urlaub?")).kind is Kind.REPLY


def test_the_same_mail_is_known_whichever_way_it_came() -> None:
    once = read("postfix_unknown_user")
    other_way = b"Received: from a by b; Tue, 24 Nov 2026 09:40:00 +0000\nX-Spam-Score: 0\n" + once
    assert parse(once).mail_id == parse(other_way).mail_id
    ids = {parse(read(name)).mail_id for name in EXPECTED}
    assert len(ids) == len(EXPECTED)


def test_the_moment_is_when_the_mail_was_written() -> None:
    at = parse(read("gmail_unknown_user")).at
    assert at is not None
    assert at.isoformat() == "2026-11-24T09:31:00+00:00"
    for date in (b"Date: yesterday", b"Date: Tue, 99 Nov 99999 09:31:00 +9999", b"Date: =?x?b?", b"X-Date: none"):
        assert parse(re.sub(rb"^Date: .*$", date, read("gmail_unknown_user"), count=1, flags=re.M)).at is None


# Hostile mails

HEAD = b"From: MAILER-DAEMON@mx.example\nSubject: failure notice\n"


def _nested(depth: int, kind: str = "multipart/mixed") -> bytes:
    heads = b"".join(f'Content-Type: {kind}; boundary="b{n}"\n\n--b{n}\n'.encode() for n in range(depth))
    return HEAD + heads + b"Content-Type: text/plain\n\nAway until Monday.\n"


HOSTILE = {
    "nothing": b"",
    "NULs": b"\0" * 5000,
    "one line of 3 MB": b"x" * 3_000_000,
    "headers without an end": HEAD + b"X: y\n" * 200_000,
    "a header of 1 MB": b"Subject: " + b"=?utf-8?q?=41?= " * 70_000 + b"\n\nhello",
    "1000 multiparts in each other": _nested(1000),
    "1000 rfc822 in each other": HEAD + b"Content-Type: message/rfc822\n\n" * 1000 + b"hello",
    "100 000 empty parts": HEAD + b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n" * 100_000,
    "empty multiparts in each other": HEAD
    + b'Content-Type: multipart/mixed; boundary="b"\n\n'
    + b'--b\nContent-Type: multipart/mixed; boundary="c"\n\n--c\n' * 5000,
    "a boundary that matches everything": HEAD + b'Content-Type: multipart/mixed; boundary=""\n\n----\n----\n',
    "a quadratic charset": HEAD + b"Content-Type: text/plain; charset=punycode\n\n-" + b"b" * 240_000,
    "a charset that is none": HEAD + b"Content-Type: text/plain; charset=hex\n\nzz",
    "a charset that nobody knows": HEAD + b"Content-Type: text/plain; charset=iso-8859-99\n\n\xff\xfe\xfd",
    "a charset of half pairs": HEAD + b"Content-Type: text/plain; charset=utf-16\n\n\xd8\x00\xd8\x00\xd8",
    "broken base64": HEAD + b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n=====A" + b"Q" * 50_001,
    "broken encoded words": b"From: =?utf-8?b?=80=?= <a@b>\nSubject: =?utf-8?b?A?= =?x?q?\xff?=\n\nhello",
    "a from with a thousand addresses": b"From: " + b"<a@b.example>, " * 100_000 + b"\n\nhello",
    "quotes without an end": b'From: "' + b'\\"(' * 100_000 + b"\n\nhello",
    "a report of nothing": HEAD + b"Content-Type: message/delivery-status\n\n" + b"Action: failed\n\n" * 20_000,
    "a diagnosis of 1 MB": HEAD
    + b"Content-Type: message/delivery-status\n\nAction: failed\nFinal-Recipient: rfc822; bob@example.com\nDiagnostic-Code: "
    + b"550 mailbox user account domain " * 30_000,
    "ids without an end": HEAD + b"\nMessage-ID: " + b"<a" * 100_000,
    "addresses without an end": HEAD + b"\nnot delivered\n" + b"<a@" * 100_000,
    "only white space": HEAD + b"\nfailure notice" + b" \n" * 120_000 + b"x",
    "divs without an end": b"From: a@b.example\nContent-Type: text/html\n\n" + b"<div" * 60_000,
    "divs in each other": b"From: a@b.example\nContent-Type: text/html\n\n" + b"<div>" * 50_000 + b"hello",
    "an announced reason of white space": HEAD + b"\n<bob@example.com> not delivered:" + b" \n" * 120_000,
    "spaces before a colon": b"From: a@b.example\n\n" + (b"On " + b"x " * 90 + b"\n") * 1300,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_mail_is_read_quickly(content: bytes) -> None:
    begin = time.process_time()  # whatever else the machine is busy with
    report = parse(content)
    assert time.process_time() - begin < 2, "a mail takes milliseconds, this one seconds"
    for text in (report.sender, report.subject, report.diagnostic, report.text, *report.recipients):
        assert "\0" not in text
        text.encode("utf-8")
    assert len(report.sender) + len(report.subject) + len(report.diagnostic) + len(report.text) < 10_000
    assert len(report.message_ids) + len(report.recipients) + len(report.tokens) < 50


def test_a_letter_is_found_behind_any_number_of_parts() -> None:
    parts = b"--b1\nContent-Type: text/plain\n\nnothing\n" * 20
    assert parse(read("postfix_unknown_user").replace(b"--b1\n", parts + b"--b1\n", 1)).message_ids == (LETTER,)


def test_nothing_past_the_limit_is_looked_at() -> None:
    letter = read("qmail_no_mailbox")
    assert parse(letter.replace(b"Message-ID:", b"X: " + b"y" * LARGEST + b"\nMessage-ID:")).message_ids == ()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_make_it_fail(data: st.DataObject) -> None:
    content = read(data.draw(st.sampled_from(sorted(EXPECTED))))
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    broken = bytearray(content)
    for _ in range(chance.randrange(1, 40)):
        at = chance.randrange(len(broken))
        action = chance.choice(("flip", "cut", "double", "line"))
        if action == "flip":
            broken[at] = chance.randrange(256)
        elif action == "cut":
            del broken[at : at + chance.randrange(200)]
            broken = broken or bytearray(b"x")
        elif action == "double":
            broken[at:at] = broken[at : at + chance.randrange(400)]
        else:
            broken[at:at] = chance.choice((b"\n\n", b"\r", b"\0", b"--b1--\n", b"=?utf-8?b?"))
    report = parse(bytes(broken))
    assert report.mail_id.startswith("mail:")
    assert report.kind in set(Kind)
