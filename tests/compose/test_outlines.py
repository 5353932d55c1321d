"""Letters put together from outlines are the letters that go the whole way, to the byte."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests.project.builder import campaign, email_step, write_shop
from winback.compose import Composed, Composer, LinkTarget, Recipient, sample_recipient
from winback.compose.samples import SAMPLE_NOW, Sample, samples_for
from winback.errors import RenderError
from winback.gateways.base import WireForm
from winback.gateways.smtp.content import wire_form
from winback.project import Campaign, Project, Step, load_project
from winback.store import Channel

_ROOT = Path(__file__).parents[2]
_KEY = b"k" * 32

#: Values that careless pieces would stumble over, in a text, an attribute, an address or a preview line.
_VALUES = (
    ".",
    "..and.so on",
    "ANNA",
    "BEN",
    "Anna",
    "O'Brien & Søn",
    'the "best" > all',
    "<b>bold</b>",
    "",
    "  padded ",
    "two  spaces",
    "new\nline",
    "no\xa0break\u202fat all",
    "soft\u00adhyphen\u200b",
    "תל אביב",
    "🎷",
    "&amp;",
    "https://halfnote.example/a?b=1&c=2#d",
    "https://halfnote.example/a.",
    "http:",
    "//halfnote.example/x",
    "mailto:anna@example.com",
    "see https://other.example/page.",
    "{{ x }}",
    "\ue0000\ue001",
    "\ue000T1\ue001",
    "\\1",
    "a" * 400,
)


def _numbers(targets: Sequence[LinkTarget]) -> list[int]:
    """Return ids that follow from the targets, and from nothing else."""
    assert len({target.url for target in targets}) == len(targets)
    return [crc32(f"{target.url} {target.label}".encode()) for target in targets]


class _Pair:
    """A composer that uses outlines beside one that does not."""

    def __init__(self, project: Project) -> None:
        self.whole = Composer(project, links_key=_KEY, signed=False)
        self.outlined = Composer(project, links_key=_KEY, signed=False, outlined=True)

    def same(self, found: Campaign, step: Step, recipient: Recipient, variant: str = "") -> Composed | str:
        """Compose the same letter in all ways, and return it, or what is wrong with it."""

        def made(composer: Composer, shown: bool = True) -> Composed | str:
            try:
                return composer.compose(found, step, recipient, variant=variant, now=SAMPLE_NOW, link_ids=_numbers, shown=shown)
            except RenderError as error:
                return str(error)

        whole = made(self.whole)
        assert made(self.outlined) == whole
        unseen = made(self.outlined, shown=False)
        if isinstance(whole, str) or isinstance(unseen, str):
            assert unseen == whole
        else:
            assert _read(unseen) == _read(whole)
        return whole


def _read(composed: Composed) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return a letter's headers and contents as mail programs read them; look whether its lines are right."""
    content = composed.outgoing.content
    if isinstance(content, WireForm):
        assert wire_form(content) == content
    lines = content.partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert [line for line in lines if len(line) > 76 or b"\n" in line] == []
    message = message_from_bytes(content, policy=default)
    parts = [(str(part["Content-Type"]), part.get_content()) for part in message.iter_parts()]
    assert len(parts) == 2
    return message.items(), parts


def _letters(project: Project) -> Iterator[Any]:
    composer = Composer(project, links_key=_KEY, signed=False)
    for found in project.campaigns.values():
        for step in (step for step in found.steps if step.channel is Channel.EMAIL):
            for variant in ("a", *found.variants) if found.variants else ("",):
                template = step.for_variant(variant).template
                for locale in (None, *composer.languages(template, Channel.EMAIL)):
                    yield pytest.param(found, step, variant, locale, id=f"{template}-{variant}-{locale}")


_DEMO = load_project(_ROOT, environ={})


@pytest.mark.parametrize(("found", "step", "variant", "locale"), list(_letters(_DEMO)))
def test_every_letter_of_the_demo_shop_is_the_same_from_its_outline(
    found: Campaign, step: Step, variant: str, locale: str | None
) -> None:
    pair = _Pair(_DEMO)
    for sample in samples_for(found):
        recipient = sample_recipient(_DEMO, found, step, sample=sample, locale=locale)
        for number in range(4):
            pair.same(found, step, replace(recipient, message_id=f"00000000-0000-4000-8000-{number:012}"), variant)
        if sample is Sample.USUAL:
            before = pair.outlined.outlined
            assert before == 1  # of eight: five before anything is prepared, and two to learn from
            for number, value in enumerate(_VALUES):
                changed = _changed(recipient, value, number)
                pair.same(found, step, changed, variant)
                pair.same(found, step, changed, variant)
            assert pair.outlined.outlined > before + 10


def _changed(recipient: Recipient, value: str, number: int) -> Recipient:
    """Return a recipient of whom and of whose order much is written with a value."""

    def order(shown: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if shown is None:
            return None
        lines = [
            {**line, "name": value or None, "category": value, "url": line["url"] and f"{line['url']}{number}"}
            for line in shown["lines"]
        ]
        return {**shown, "number": value, "lines": [{**line, "name": line["name"] or "x"} for line in lines]}

    customer = {**recipient.customer, "first_name": value, "last_name": value, "city": value}
    coupon = {**recipient.coupon, "code": value or "NONE"} if recipient.coupon else None
    return replace(
        recipient,
        message_id=f"00000000-0000-4000-8000-{number:012}",
        customer=customer,
        order=order(recipient.order),
        last_order=order(recipient.last_order),
        coupon=coupon,
    )


#: Templates that print a value where it matters more than by itself, or look at what was printed.
_TEMPLATES = tomllib.loads((_ROOT / "tests/cases/outlines.toml").read_text(encoding="utf-8"))

_TEXTS = (
    "{{ v }}\n{{ unsubscribe_url }}\n",
    "See https://halfnote.example/{{ v }}, or ({{ v }}) https:{{ v }} {{ w }}/x?{{ v }}={{ v }}. "
    "{{ v }}{{ w }}\n\n{{ unsubscribe_url }}.",
)


@pytest.mark.parametrize(
    ("html", "written"),
    [
        *[pytest.param(html, None, id=name) for name, html in _TEMPLATES.items()],
        *[pytest.param(_TEMPLATES["text"], text, id=f"text part {number}") for number, text in enumerate(_TEXTS)],
        *[pytest.param(_TEMPLATES["an address"], text, id=f"address, text part {number}") for number, text in enumerate(_TEXTS)],
    ],
)
def test_a_value_anywhere_makes_the_same_letter(tmp_path: Path, html: str, written: str | None) -> None:
    project = _shop(tmp_path, html, written)
    pair = _Pair(project)
    found = project.campaigns["hello"]
    step = found.steps[0]
    recipient = sample_recipient(project, found, step)
    for _ in range(2):  # what is learned from some values holds for all others
        for number, value in enumerate(_VALUES):
            customer = {**recipient.customer, "first_name": value}
            pair.same(found, step, replace(recipient, message_id=f"00000000-0000-4000-8000-{number:012}", customer=customer))


@pytest.mark.parametrize(
    "tracking", [{"clicks": False}, {"utm": False}, {"opens": False}, {"clicks": False, "utm": False}], ids=str
)
def test_whatever_is_tracked_the_letters_are_the_same(tmp_path: Path, tracking: dict[str, bool]) -> None:
    html = """<p><a href="https://halfnote.example/x">x</a><a href="{{ v }}">{{ v }}</a>
        <a href="https://x.example/{{ v }}">{{ v }}</a></p>"""
    project = _shop(tmp_path, html, None, tracking)
    pair = _Pair(project)
    found = project.campaigns["hello"]
    recipient = sample_recipient(project, found, found.steps[0])
    for value in (*_VALUES, *_VALUES):
        pair.same(found, found.steps[0], replace(recipient, customer={**recipient.customer, "first_name": value}))


def test_letters_that_print_only_values_differently_share_an_outline(tmp_path: Path) -> None:
    project = _shop(tmp_path, "<p>Hello {{ v }} from {{ customer.city }}</p>", None)
    pair = _Pair(project)
    found = project.campaigns["hello"]
    recipient = sample_recipient(project, found, found.steps[0])
    for name in ("Anna", "Ben", "Chloé", "O'Brien & Søn", "Dara", "Emil", "Fay", "Gus", "Ida"):
        letter = pair.same(found, found.steps[0], replace(recipient, customer={**recipient.customer, "first_name": name}))
        assert isinstance(letter, Composed)
        assert name in letter.text
    assert pair.outlined.outlined == 11


def test_what_an_outline_cannot_hide_still_fails(tmp_path: Path) -> None:
    project = _shop(tmp_path, '<p><a href="https://halfnote.example/{{ customer.city }}">{{ v }}</a></p>', None)
    pair = _Pair(project)
    found = project.campaigns["hello"]
    recipient = sample_recipient(project, found, found.steps[0])
    for city in ("Berlin", "Köln", "Graz", *["Wien"] * 5, None, "{{ oops }}"):
        letter = pair.same(found, found.steps[0], replace(recipient, customer={**recipient.customer, "city": city}))
        assert isinstance(letter, Composed) == (city not in (None, "{{ oops }}"))


def _shop(folder: Path, html: str, written: str | None, tracking: Mapping[str, bool] | None = None) -> Project:
    head = '{% set v = customer.first_name %}{% set w = "https://halfnote.example" %}'
    foot = '<p><a href="{{ unsubscribe_url }}">No more</a></p>'
    templates = {"hello.email.html": f"{head}<body>{html}{foot}</body>"}
    if written is not None:
        templates["hello.email.txt"] = head + written
    preheader = "For {{ customer.first_name }}"
    return load_project(
        write_shop(
            folder,
            campaigns={"hello": campaign(steps=[{**email_step(), "name": "one", "template": "hello", "preheader": preheader}])},
            templates=templates,
            settings={"shop": {"website": "https://halfnote.example"}, "tracking": tracking or {}},
        ),
        environ={},
    )
