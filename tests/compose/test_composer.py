"""A step and a recipient become a message: parts, languages, arms, what must be in it, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.project.builder import campaign, email_step, sms_step, write_shop
from winback.compose import Composed, Composer, LinkTarget, Recipient, sample_recipient
from winback.compose.check import check_templates
from winback.compose.coupons import coupon_code
from winback.compose.samples import Sample
from winback.errors import RenderError
from winback.project import Project, load_project
from winback.store import Channel

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)

LETTER = """<!DOCTYPE html>
<html lang="{{ lang }}" dir="{{ dir }}"><head><style>
p { color: #123456 }
@media (max-width: 480px) { p { font-size: 20px !important } }
</style><title>{{ subject }}</title></head><body>
<p>Hello {{ customer.first_name | default('there', true) }}</p>
<p><a href="https://shop.example/new" data-link="new">New</a> <a href="tel:+4930123">Call</a></p>
<p><a href="{{ unsubscribe_url }}">No more</a></p>
</body></html>
"""


def _shop(tmp_path: Path, templates: dict[str, str] | None = None, **changes: Any) -> Project:
    settings = {
        "shop": {"name": "Half Note", "website": "https://shop.example", "email_from": "hello@shop.example", "locale": "en"},
        "web": {"public_url": "https://mail.shop.example"},
    }
    written = campaign(**changes)
    root = write_shop(
        tmp_path, campaigns={"wake": written}, templates={"hello.email.html": LETTER, **(templates or {})}, settings=settings
    )
    return load_project(root, environ={"WINBACK_SECRET": "correct horse battery staple"})


def _ids(targets: Sequence[LinkTarget]) -> list[int]:
    return list(range(1, len(targets) + 1))


def _compose(project: Project, *, variant: str = "", step: int = 0, channel: Channel | None = None, **customer: Any) -> Composed:
    wake = project.campaigns["wake"]
    return Composer(project).compose(
        wake, wake.steps[step], _recipient(project, step, channel, **customer), variant=variant, now=NOW, link_ids=_ids
    )


def _recipient(project: Project, step: int = 0, channel: Channel | None = None, **customer: Any) -> Recipient:
    wake = project.campaigns["wake"]
    made = sample_recipient(project, wake, wake.steps[step], channel=channel)
    return replace(made, customer={**made.customer, **customer})


def _parsed(composed: Composed) -> EmailMessage:
    message = message_from_bytes(composed.outgoing.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_a_letter_has_all_that_it_needs(tmp_path: Path) -> None:
    step = email_step(subject="Hello {{ customer.first_name }}", preheader="Three & more")
    composed = _compose(_shop(tmp_path, steps=[step]))
    message = _parsed(composed)
    assert message["Subject"] == composed.subject == "Hello Anna"
    assert message["From"] == "Half Note <hello@shop.example>"
    assert composed.html is not None
    assert 'style="color: #123456' in composed.html.replace("color:#123456", "color: #123456")
    assert "@media (max-width: 480px)" in composed.html
    assert "Three &amp; more" in composed.html
    assert composed.html.count("https://mail.shop.example/o/") == 1
    assert "https://shop.example/new" not in composed.html
    assert 'href="tel:+4930123"' in composed.html
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n").startswith("Hello Anna\n\nNew: https://mail.shop.example/c/")
    assert "Three" not in body.get_content()
    unsubscribe = message["List-Unsubscribe"].strip("<>")
    assert unsubscribe.startswith("https://mail.shop.example/u/")
    assert unsubscribe in body.get_content()
    assert composed.size == len(composed.html.encode())


def test_a_written_text_part_is_used(tmp_path: Path) -> None:
    project = _shop(tmp_path, {"hello.email.txt": "Written by hand\nhttps://shop.example/new\n{{ unsubscribe_url }}\n"})
    text = _compose(project).text
    assert text.startswith("Written by hand\nhttps://mail.shop.example/c/")


def test_the_same_link_in_both_parts_is_one(tmp_path: Path) -> None:
    asked: list[str] = []

    def ids(targets: Sequence[LinkTarget]) -> list[int]:
        asked.extend(target.url for target in targets)
        return _ids(targets)

    project = _shop(tmp_path, {"hello.email.txt": "https://shop.example/new {{ unsubscribe_url }}"})
    wake = project.campaigns["wake"]
    Composer(project).compose(wake, wake.steps[0], _recipient(project), now=NOW, link_ids=ids)
    tags = "utm_source=winback&utm_medium=email&utm_campaign=wake&utm_content=hello"
    assert asked == [f"https://shop.example/new?{tags}.new", f"https://shop.example/new?{tags}"]


def test_an_arm_gets_its_own_subject_and_template(tmp_path: Path) -> None:
    other = LETTER.replace("Hello {{", "Dear {{")
    steps = [email_step(variants={"b": {"subject": "Or so", "template": "other"}})]
    project = _shop(tmp_path, {"other.email.html": other}, steps=steps, variants={"b": "50%"})
    assert _compose(project, variant="a").subject == "Hello"
    arm = _compose(project, variant="b")
    assert (arm.subject, "Dear Anna" in arm.text) == ("Or so", True)


def test_a_letter_goes_in_the_readers_language_where_there_is_one(tmp_path: Path) -> None:
    arabic = "{% block subject %}مرحبا & أهلا{% endblock %}" + LETTER.replace("Hello", "مرحبا")
    project = _shop(tmp_path, {"hello.ar.email.html": arabic})
    english, arab = _compose(project, locale="de-AT"), _compose(project, locale="ar-EG")
    assert english.subject == "Hello"
    assert arab.subject == "مرحبا & أهلا"
    assert arab.html is not None
    assert 'dir="rtl"' in arab.html
    assert 'lang="ar"' in arab.html
    assert _parsed(arab)["Subject"] == "مرحبا & أهلا"


def test_a_text_message_counts_its_parts(tmp_path: Path) -> None:
    text = "Hello {{ customer.first_name }}\n\n\nlook   here: https://shop.example/new\nReply STOP for no more"
    project = _shop(tmp_path, {"text.sms.txt": text}, steps=[sms_step()])
    composed = _compose(project)
    assert composed.text.startswith("Hello Anna\nlook here: https://mail.shop.example/c/")
    assert composed.outgoing.text == composed.text
    assert composed.segments is not None
    assert (composed.segments.encoding, composed.segments.count) == ("GSM-7", 1)
    assert (composed.html, composed.subject, composed.outgoing.content) == (None, "", b"")


def test_who_is_reached_on_the_other_channel_gets_its_template(tmp_path: Path) -> None:
    steps = [email_step(fallback={"channel": "sms", "template": "short"})]
    project = _shop(tmp_path, {"short.sms.txt": "Short. STOP ends it"}, steps=steps)
    assert _compose(project, channel=Channel.SMS).text == "Short. STOP ends it"


@pytest.mark.parametrize(
    ("letter", "purpose", "said"),
    [
        ("<p>Buy!</p>", "marketing", "does not say how to unsubscribe"),
        ("<p>Your order</p>", "service", None),
        ("<p>{{ nothing }}</p>", "marketing", "there is no variable 'nothing'"),
        ('<p><a href="{{ unsubscribe_url }}">x</a> <a href="">y</a></p>', "marketing", "leads nowhere"),
    ],
)
def test_a_letter_that_is_not_right_is_not_sent(tmp_path: Path, letter: str, purpose: str, said: str | None) -> None:
    project = _shop(tmp_path, {"hello.email.html": letter}, purpose=purpose)
    if said is None:
        assert _compose(project).html
        return
    with pytest.raises(RenderError, match=said) as caught:
        _compose(project)
    assert str(caught.value.file) == "templates/hello.email.html"


def test_an_empty_subject_is_not_sent(tmp_path: Path) -> None:
    project = _shop(tmp_path, steps=[email_step(subject="{% if customer.orders > 100 %}Wow{% endif %}")])
    with pytest.raises(RenderError, match="the subject is empty"):
        _compose(project)


def test_a_letter_without_words_still_has_a_text_part(tmp_path: Path) -> None:
    picture = '<p><img src="https://shop.example/x.png"><a href="{{ unsubscribe_url }}"></a></p>'
    text = _compose(_shop(tmp_path, {"hello.email.html": picture})).text
    assert "https://mail.shop.example/u/" in text
    assert text.strip()


def test_check_finds_what_breaks_for_some_people_only(tmp_path: Path) -> None:
    letters = {
        "hello.email.html": LETTER.replace("{{ customer.first_name | default('there', true) }}", "{{ customer.first_name }}"),
        "big.email.html": LETTER.replace("</body>", "x" * 95_000 + "</body>"),
        "text.sms.txt": "Ж" * 250 + " STOP",
    }
    steps = [email_step(), email_step("big", after="1d", template="big"), sms_step(after="2d")]
    problems = [str(problem).partition("templates/")[2] for problem in check_templates(_shop(tmp_path, letters, steps=steps))]
    assert problems[0].startswith("big.email.html: steps.big: the mail has 95 kB, and Gmail cuts off at 102 kB")
    assert problems[1].startswith("hello.email.html:6: steps.hello: what is to be printed here is empty")
    assert "(found with the sparse sample)" in problems[1]
    assert problems[2].startswith("text.sms.txt: steps.text: the text message costs 4 parts, because of 'Ж'")
    assert len(problems) == 3


def test_every_sample_can_be_composed(tmp_path: Path) -> None:
    project = _shop(tmp_path)
    wake = project.campaigns["wake"]
    for sample in Sample:
        recipient = sample_recipient(project, wake, wake.steps[0], sample=sample)
        composed = Composer(project).compose(wake, wake.steps[0], recipient, now=NOW, link_ids=_ids)
        assert _parsed(composed).defects == []


def test_tracking_can_be_switched_off(tmp_path: Path) -> None:
    project = _shop(tmp_path)
    settings = project.settings.model_copy(
        update={"tracking": project.settings.tracking.model_copy(update={"opens": False, "clicks": False, "utm": False})}
    )
    composed = _compose(replace(project, settings=settings))
    assert composed.html is not None
    assert 'href="https://shop.example/new"' in composed.html
    assert "/o/" not in composed.html
    assert "/c/" not in composed.html


def test_a_coupon_is_ones_own_and_always_the_same() -> None:
    codes = [coupon_code(b"key", "WAKE10", f"message {number}") for number in range(2000)]
    assert len(set(codes)) == 2000
    assert codes[0] == coupon_code(b"key", "WAKE10", "message 0")
    assert codes[0] != coupon_code(b"other key", "WAKE10", "message 0")
    assert all(len(code) == len("WAKE10-7KQ3PX-9DMRAC") and code.startswith("WAKE10-") for code in codes)
    assert not set("".join(codes).replace("WAKE10", "")) & set("0O1IL2Z5S8BU")
