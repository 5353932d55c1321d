"""What winback is compared with: programs and libraries that anybody would send letters with."""

from __future__ import annotations

import asyncio
import csv
import os
import re
import smtplib
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from html import unescape
from pathlib import Path

from babel.numbers import format_currency
from itsdangerous import URLSafeSerializer
from jinja2 import Environment

from benchmarks import letter

_SENDER = "hello@halfnote.example"


def _money(value: Decimal) -> str:
    return format_currency(value, "USD", locale="en_US")


def _counted(page: str, person: str, serializer: URLSafeSerializer) -> str:
    """Let the links of a page lead to a program that counts clicks, as anybody would write it."""

    def signed(link: re.Match[str]) -> str:
        return f'href="https://mail.halfnote.example/c/{serializer.dumps([person, unescape(link[1])])}"'

    return re.sub(r'href="([^"]+)"', signed, page)


def jinja_and_smtplib(port: int, first: int, count: int, counting: bool = False) -> Callable[[], int]:
    """The obvious way: Jinja, an EmailMessage, smtplib, one connection. It inlines no styles, and mostly counts no clicks."""
    serializer = URLSafeSerializer("secret", salt="click")
    environment = Environment(autoescape=True)
    environment.filters["money"] = _money
    html, text = environment.from_string(letter.HTML), environment.from_string(letter.TEXT)
    subject = environment.from_string(letter.SUBJECT)
    people = [letter.customer(number) for number in range(first, first + count)]

    def send() -> int:
        with smtplib.SMTP("127.0.0.1", port) as line:
            for person in people:
                given = letter.variables(person)
                message = EmailMessage()
                message["From"], message["To"] = f"Half Note <{_SENDER}>", person["email"]
                message["Subject"] = subject.render(given)
                message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="halfnote.example")
                message["List-Unsubscribe"] = f"<{given['unsubscribe_url']}>"
                message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
                message.set_content(text.render(given))
                page = html.render(given)
                if counting:
                    page = _counted(page, person["external_id"], serializer)
                message.add_alternative(page, subtype="html")
                line.send_message(message)
        return len(people)

    return send


def mailmerge(port: int, first: int, count: int, folder: str, packages: str) -> Callable[[], int]:
    """The mailmerge package: an HTML template, a CSV file, one connection for each message. HTML only."""
    sys.path.append(packages)
    import mailmerge.__main__ as program  # type: ignore[import-not-found, unused-ignore]

    place = Path(tempfile.mkdtemp(dir=folder))
    (place / "letter.txt").write_text(letter.flat_template(), encoding="utf-8")
    (place / "server.conf").write_text(f"[smtp_server]\nhost = 127.0.0.1\nport = {port}\n", encoding="utf-8")
    rows = [letter.flat_row(letter.customer(number)) for number in range(first, first + count)]
    with (place / "people.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    options = ["--no-dry-run", "--no-limit", "--output-format", "raw"]
    files = {"--template": "letter.txt", "--database": "people.csv", "--config": "server.conf"}
    for option, name in files.items():
        options += [option, str(place / name)]

    def send() -> int:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            before, sys.stdout = sys.stdout, nowhere
            try:
                program.main(options, standalone_mode=False)
            finally:
                sys.stdout = before
        return count

    return send


def aiosmtplib(port: int, count: int, connections: int, packages: str) -> Callable[[], int]:
    """aiosmtplib with finished messages of 20 KB over some connections at once."""
    sys.path.append(packages)
    from aiosmtplib import SMTP  # type: ignore[import-not-found, unused-ignore]

    content = finished(20_480)

    async def work(numbers: list[int]) -> int:
        async with SMTP(hostname="127.0.0.1", port=port, start_tls=False) as line:
            for number in numbers:
                await line.sendmail(_SENDER, [f"person{number}@example.com"], content)
        return len(numbers)

    async def all_at_once() -> int:
        return sum(await asyncio.gather(*(work(list(range(start, count, connections))) for start in range(connections))))

    return lambda: asyncio.run(all_at_once())


def finished(size: int) -> bytes:
    """Return a finished message of about so many bytes, in lines of mail's length."""
    head = f"From: {_SENDER}\r\nTo: person@example.com\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n\r\n".encode()
    line = b"X" * 70 + b"\r\n"
    return head + line * ((size - len(head)) // len(line))
