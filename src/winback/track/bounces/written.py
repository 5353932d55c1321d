"""What a person wrote in an answer: without the letter that mail programs quote below it, and without a signature."""

from __future__ import annotations

import re

from winback.compose.text import text_from_html
from winback.track.bounces.mail import Mail

#: Letters of an answer that are kept, and of its HTML that are looked at.
_LONGEST = 4_000
_HTML = 50_000

#: What stands above the quoted letter: "On … wrote:", which ends in a colon or names our address, in many languages; Outlook
#: writes a line and then headers.
_QUOTE = re.compile(
    r"^(?:>|-{3,}\s*\S.{0,60}-{3,}\s*$|_{10,}\s*$"
    r"|(?:On|Am|Le|El|Il|Op|Den|W dniu|Em|Dne|Em|В|пн|вт|ср|чт|пт|сб|вс|\d{1,4})\b.{3,200}(?::\s*$|<[^<>\s]{3,320}>.{0,80}$)"
    r"|(?:From|Von|De|Da|Van|Fra|Från|Od|От|Gesendet|Sent)\s?:\s.{0,200}$)",
    re.IGNORECASE,
)

#: Signatures: the usual line (RFC 3676 section 4.3), and what phones add.
_SIGNATURE = re.compile(
    r"^(?:--\s*$|(?:Sent (?:from|with|via)|Get Outlook|Von meinem \S.{0,60} gesendet|Gesendet (?:von|mit|über)"
    r"|Envoyé (?:de|depuis)|Enviado (?:desde|do|da)|Inviato (?:da|dal)|Verzonden (?:vanaf|met|van)|Wysłane (?:z|ze)|Skickat från"
    r"|Отправлено (?:из|с))\b.{0,100}$)",
    re.IGNORECASE,
)


def own_text(mail: Mail) -> str:
    """Return what the sender of a mail wrote, by its plain text or, where there is none, by its HTML."""
    text = mail.text_of("text/plain")
    if not text.strip():
        html = mail.text_of("text/html")
        # What is nested ten thousand times takes the parser long; what a person wrote stands first.
        text = text_from_html(_without_quotes(html)[:_HTML]) if html.strip() else ""
    lines: list[str] = []
    for line in text.splitlines():
        if _QUOTE.match(line.strip()) or _SIGNATURE.match(line.strip()):
            break
        lines.append(line.rstrip())
    return "\n".join(lines).strip()[:_LONGEST]


def _without_quotes(html: str) -> str:
    """Cut off what Gmail, Outlook, Apple Mail and Thunderbird mark as quoted."""
    found = re.search(r"<blockquote\b|gmail_quote|divRplyFwdMsg|moz-cite-prefix|yahoo_quoted", html, re.IGNORECASE)
    return html if found is None else html[: html.rfind("<", 0, found.start() + 1)]
