"""The letter that all contestants send: about 20 KB of HTML and text, 40 links, and a customer's own order in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)

SUBJECT = "{{ customer.first_name }}, here is what is new"

_LINES = 6  # of the order, each with a link
_PICKS = 32  # products that are the same for everybody, each with a link

_STYLE = """\
body { margin: 0; padding: 0; background-color: #f4f1ea; }
.card { width: 100%; max-width: 600px; margin: 0 auto; background-color: #ffffff; }
.body { padding: 34px 40px; font-family: Helvetica, Arial, sans-serif; font-size: 16px; line-height: 25px; color: #33302b; }
.body p { margin: 0 0 18px; }
.body a { color: #1f6f5c; }
.name { font-weight: bold; color: #1d1b18; }
.price { padding: 8px 0 8px 16px; text-align: right; }
.foot { font-size: 13px; color: #6b655b; }
@media (max-width: 480px) { .body { padding: 22px !important; } }
"""

_PICK = (
    '<tr><td><a href="{{ shop.website }}/records/number-%d?edition=second&amp;shelf=%d"><span class="name">Record %d</span></a>'
    "<br>A quiet evening, pressed on heavy vinyl, number %d of 300. Recorded in two nights, with nobody in a hurry, meant to be "
    'heard from the first groove to the last.</td><td class="price">%d.00</td></tr>\n'
)

HTML = (
    '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{{ subject }}</title>\n'
    f"<style>\n{_STYLE}</style>\n</head>\n<body>\n"
    '<table role="presentation" class="card"><tr><td class="body">\n'
    '<p><a href="{{ shop.website }}">{{ shop.name }}</a></p>\n'
    "<p>Hello {{ customer.first_name }} {{ customer.last_name }},</p>\n"
    "<p>how is the weather in {{ customer.city }}? These came to you last time:</p>\n"
    '<table role="presentation">\n{% for line in last_order.lines %}\n'
    '<tr><td><a href="{{ line.url }}"><span class="name">{{ line.name }}</span></a>'
    "<br>{{ line.quantity }} of {{ line.category }}</td>"
    '<td class="price">{{ line.price | money }}</td></tr>\n{% endfor %}\n</table>\n'
    "<p>{% if customer.orders > 3 %}You have been with us for {{ customer.orders }} orders. {% endif %}And these are new:</p>\n"
    '<table role="presentation">\n'
    + "".join(_PICK % (number, number % 7, number, number, 10 + number) for number in range(1, _PICKS + 1))
    + '</table>\n<p class="foot"><a href="{{ unsubscribe_url }}">Unsubscribe</a> from letters to {{ customer.email }}</p>\n'
    "</td></tr></table>\n</body>\n</html>\n"
)

TEXT = (
    "Hello {{ customer.first_name }} {{ customer.last_name }},\n\nhow is the weather in {{ customer.city }}? "
    "These came to you last time:\n\n"
    "{% for line in last_order.lines %}\n- {{ line.name }}, {{ line.price | money }}: {{ line.url }}\n{% endfor %}\n\n"
    "And these are new:\n\n"
    + "".join(
        f"- Record {number}: {{{{ shop.website }}}}/records/number-{number}?edition=second&shelf={number % 7}\n"
        for number in range(1, _PICKS + 1)
    )
    + "\nNo more: {{ unsubscribe_url }}\n"
)

SHOP = {"name": "Half Note", "website": "https://halfnote.example"}

_FIRST = ("Anna", "Ben", "Chloé", "Dara", "Emil", "Fay", "Gus", "Hanna", "Ida", "Jo", "Kim")
_LAST = ("Weber", "O'Brien", "Núñez", "Smith", "Kowalski", "Berg", "Rossi")
_CITIES = ("Berlin", "Wien", "Köln", "Graz", "Hamburg")


def customer(number: int) -> dict[str, Any]:
    """Return a made-up customer with their last order."""
    lines = [
        {
            "name": f"Album {(number * 13 + place * 7) % 500}",
            "quantity": 1 + (number + place) % 2,
            "price_minor": 1_299 + ((number * 31 + place * 17) % 40) * 50,
            "category": ("Jazz", "Soul", "Electronic")[(number + place) % 3],
            "url": f"https://halfnote.example/records/album-{(number * 13 + place * 7) % 500}",
        }
        for place in range(_LINES)
    ]
    return {
        "external_id": f"C{number:06}",
        "first_name": _FIRST[number % len(_FIRST)],
        "last_name": _LAST[number % len(_LAST)],
        "city": _CITIES[number % len(_CITIES)],
        "email": f"person{number}@example.com",
        "orders": 4,
        "lines": lines,
        "ordered_at": NOW - timedelta(days=100 + number % 50),
    }


def variables(person: dict[str, Any]) -> dict[str, Any]:
    """Return what the templates ask for, as somebody who writes the obvious program would give it."""
    lines = [{**line, "price": Decimal(line["price_minor"]) / 100} for line in person["lines"]]
    return {
        "customer": person,
        "last_order": {"lines": lines},
        "shop": SHOP,
        "subject": "Here is what is new",
        "unsubscribe_url": f"https://halfnote.example/unsubscribe/{person['external_id']}",
    }


def flat_template() -> str:
    """Return the HTML letter for programs that know a row of a table only: the same, from a row's cells."""
    cells = ", ".join(f'"{name}": {name}' for name in ("first_name", "last_name", "city", "email"))
    lines = ", ".join(
        "{" + ", ".join(f'"{name}": {name}_{place}' for name in ("name", "quantity", "price", "category", "url")) + "}"
        for place in range(_LINES)
    )
    shop = ", ".join(f'"{name}": "{value}"' for name, value in SHOP.items())
    given = {"customer": f'{cells}, "orders": 4', "last_order": f'"lines": [{lines}]', "shop": shop}
    head = "".join(f"{{% set {name} = {{{value}}} %}}" for name, value in given.items())
    page = re.sub(r" \| money", "", HTML).replace("{{ subject }}", "Here is what is new")
    return (
        "TO: {{ email }}\nSUBJECT: {{ first_name }}, here is what is new\nFROM: Half Note <hello@halfnote.example>\n"
        f"Content-Type: text/html; charset=utf-8\n\n{head}{page}"
    )


def flat_row(person: dict[str, Any]) -> dict[str, str]:
    """Return a customer as one row of a table."""
    row = {name: str(person[name]) for name in ("email", "first_name", "last_name", "city")}
    row["unsubscribe_url"] = variables(person)["unsubscribe_url"]
    for place, line in enumerate(person["lines"]):
        row |= {f"{name}_{place}": str(line[name]) for name in ("name", "quantity", "category", "url")}
        row[f"price_{place}"] = f"${line['price_minor'] / 100:.2f}"
    return row
