"""Messages made safe to look at."""

from __future__ import annotations

import pytest

from winback.web.mail import read_letter, to_look_at, with_plain_links

TOKEN = "A" * 40

RAW = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <shop@example.com>\r\nTo: Ada <ada@example.com>\r\n"
    b"Subject: =?utf-8?b?SMO2cmJ1Y2g=?=\r\nDate: Tue, 24 Nov 2026 09:30:00 +0000\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    b'--b\r\nContent-Type: text/plain; charset="utf-8"\r\n\r\nPlain words\r\n'
    b'--b\r\nContent-Type: text/html; charset="utf-8"\r\n\r\n<p>Rich words</p>\r\n--b--\r\n'
)


def test_a_letter_has_its_parts_decoded() -> None:
    letter = read_letter(RAW)
    assert (letter.subject, letter.sender, letter.sender_address) == ("Hörbuch", "Jürgen", "shop@example.com")
    assert letter.recipient == "ada@example.com"
    assert letter.html is not None
    assert "Rich words" in letter.html
    assert letter.text.strip() == "Plain words"
    assert letter.at is not None
    assert ("Subject", "Hörbuch") in letter.headers


def test_a_letter_without_html_has_its_text() -> None:
    letter = read_letter(b"Subject: x\r\n\r\nOnly words\r\n")
    assert letter.html is None
    assert "Only words" in letter.text


@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_the_tracking_pixel_is_taken_out_and_other_images_stay(quote: str) -> None:
    pixel = f"<img src={quote}https://shop.example/o/{TOKEN}.gif{quote} width=1>"
    shown = to_look_at(f'<html><head></head><body>{pixel}<img src="https://shop.example/logo.png" alt="Logo"></body></html>')
    assert TOKEN not in shown
    assert 'alt="Logo"' in shown


@pytest.mark.parametrize(
    ("html", "begins"),
    [
        (
            "<!doctype html><html><head lang=en><title>x</title></head></html>",
            '<!doctype html><html><head lang=en><base target="_blank">',
        ),
        ("<!doctype html><p>x</p>", '<!doctype html><base target="_blank"><p>'),
        ("<p>x</p>", '<base target="_blank"><p>'),
    ],
)
def test_links_open_windows_of_their_own_and_the_doctype_stays_first(html: str, begins: str) -> None:
    assert to_look_at(html).startswith(begins)


def test_a_preview_leads_straight_to_the_targets() -> None:
    html = f'<a href="http://127.0.0.1:8025/c/{TOKEN}">x</a><a href="http://127.0.0.1:8025/u/{TOKEN}">y</a>'
    shown = with_plain_links(html, "http://127.0.0.1:8025/", {TOKEN: 'https://shop.example/?a=1&b="2'}.get)
    assert 'href="https://shop.example/?a=1&amp;b=&quot;2"' in shown
    assert f"/u/{TOKEN}" in shown
