"""The demo shop's copy keeps the rules of good letters, in every arm, channel and language, for everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

from winback.compose.composer import Composer
from winback.compose.html import LARGE
from winback.compose.message import Composed
from winback.compose.samples import SAMPLE_NOW, Sample, sample_recipient, samples_for
from winback.project import Campaign, Project, Step, load_project
from winback.store import Channel, Purpose

ROOT = Path(__file__).resolve().parents[2]
PROJECT: Project = load_project(ROOT)
SHOP = PROJECT.settings.shop


@dataclass(frozen=True)
class Written:
    """One message of one step as somebody gets it."""

    campaign: Campaign
    step: Step
    sample: Sample
    channel: Channel
    composed: Composed

    def __str__(self) -> str:
        return f"{self.campaign.name}/{self.step.name} {self.channel} {self.sample}"


def written(*, locales: bool = True) -> Iterator[Written]:
    """Compose every message of the shop."""
    composer = Composer(PROJECT, links_key=b"k" * 32)
    for campaign in PROJECT.campaigns.values():
        for step in campaign.steps:
            for channel in (step.channel, *((step.fallback.channel,) if step.fallback else ())):
                template = step.fallback.template if step.fallback and channel is not step.channel else None
                languages = composer.languages(template or step.template, channel) if locales else []
                for locale in (None, *languages):
                    for sample in samples_for(campaign):
                        for variant in ("a", *campaign.variants):
                            recipient = sample_recipient(PROJECT, campaign, step, sample=sample, channel=channel, locale=locale)
                            composed = composer.compose(
                                campaign, step, recipient, variant=variant, now=SAMPLE_NOW,
                                link_ids=lambda targets: list(range(1, len(targets) + 1)),
                            )  # fmt: skip
                            yield Written(campaign, step, sample, channel, composed)


MESSAGES = list(written())
MAILS = [each for each in MESSAGES if each.channel is Channel.EMAIL]
TEXTS = [each for each in MESSAGES if each.channel is Channel.SMS]


def body(message: Written) -> LexborHTMLParser:
    return LexborHTMLParser(message.composed.html or "")


def test_there_is_something_to_look_at() -> None:
    assert {(each.campaign.name, each.step.name) for each in MESSAGES} == {
        (campaign.name, step.name) for campaign in PROJECT.campaigns.values() for step in campaign.steps
    }
    assert len(TEXTS) >= 10
    assert any('dir="rtl"' in (each.composed.html or "") for each in MAILS)


def test_nothing_is_addressed_to_nobody() -> None:
    for message in MESSAGES:
        text = f"{message.composed.subject}\n{message.composed.text}"
        assert not re.search(r"\bNone\b|\{\{|\}\}|\{%|undefined| ,|^,", text, re.MULTILINE), str(message)


def test_a_known_name_is_used_and_an_unknown_one_has_a_fallback() -> None:
    for message in MAILS:
        named = f"{message.composed.subject}\n{message.composed.text}"
        if message.sample is Sample.USUAL:
            assert "Anna" in named, str(message)
        elif message.sample is Sample.SPARSE:
            assert "Anna" not in named, str(message)


def test_subjects_are_short_and_promise_no_commercial_offer() -> None:
    for message in MAILS:
        subject = message.composed.subject
        if message.sample is Sample.USUAL:
            assert 8 <= len(subject) <= 60, f"{message}: {subject}"
        assert not re.search(r"commercial offer|newsletter|!!|\bfree\b|act now|last chance|100%|\$\$", subject, re.IGNORECASE)
        assert subject != subject.upper() or not subject.isascii()


def test_the_line_after_the_subject_says_something_new() -> None:
    for campaign in PROJECT.campaigns.values():
        for step in campaign.steps:
            if step.channel is not Channel.EMAIL:
                continue
            for arm in (step, *(step.for_variant(name) for name in step.variants)):
                assert arm.preheader, f"{campaign.name}/{step.name}"
                assert 30 <= len(arm.preheader) <= 110, arm.preheader
                assert arm.preheader != arm.subject


def test_there_is_one_clear_thing_to_do() -> None:
    for message in MAILS:
        labels = [node.text(strip=True) for node in body(message).css("table.button a")]
        assert len(labels) == 1, f"{message}: {labels}"
        assert 3 <= len(labels[0]) <= 30


def test_paragraphs_are_short() -> None:
    for message in MAILS:
        if message.sample is Sample.USUAL:
            for paragraph in body(message).css(".body p"):
                assert len(" ".join(paragraph.text().split())) <= 330, f"{message}: {paragraph.text()}"


def test_every_letter_has_a_postscript() -> None:
    for message in MAILS:
        postscripts = [" ".join(node.text().split()) for node in body(message).css("p.ps")]
        assert len(postscripts) == 1, str(message)
        assert 20 <= len(postscripts[0]) <= 140, postscripts


def test_every_message_has_a_phone_number_and_a_way_out() -> None:
    for message in MESSAGES:
        assert SHOP.phone in message.composed.text, str(message)
        assert "/u/" in message.composed.text, str(message)
    for message in MAILS:
        assert f'href="tel:{SHOP.phone.replace(" ", "")}"' in (message.composed.html or "")


def test_every_letter_says_who_writes_and_why_once() -> None:
    for message in MAILS:
        html = unescape(message.composed.html or "")
        assert html.count(SHOP.postal_address) == 1, str(message)
        assert message.composed.text.count(SHOP.postal_address) == 1, str(message)
        assert body(message).css_first(".foot p") is not None


def test_a_code_comes_with_its_deadline() -> None:
    seen = 0
    for message in MESSAGES:
        coupon = message.step.coupon
        if coupon is None:
            continue
        ends = (SAMPLE_NOW + coupon.expires).date()
        assert coupon.pool in message.composed.text, str(message)
        assert re.search(rf"\b{ends.day}\b", message.composed.text), f"{message} names no day"
        seen += 1
    assert seen


def test_useful_letters_come_between_selling_ones() -> None:
    """No campaign begins with a discount, but for birthdays, where it is a present; none sends two codes one after the other."""
    for campaign in PROJECT.campaigns.values():
        sells = [step.coupon is not None for step in campaign.steps]
        assert not sells[0] or campaign.audience.preset == "birthday", campaign.name
        assert (True, True) not in set(pairwise(sells)), campaign.name
        if campaign.purpose is Purpose.SERVICE:
            assert not any(sells), campaign.name


def test_codes_are_still_good_when_the_campaign_speaks_of_them_again() -> None:
    steps = PROJECT.campaigns["birthday"].steps
    greeting, reminder = steps
    assert greeting.coupon is not None
    left = greeting.coupon.expires - reminder.after
    assert left.days == 21  # "three more weeks"


def test_letters_show_the_products_of_the_real_order() -> None:
    for message in MAILS:
        about = (message.campaign.name, message.step.name)
        if about in {("sleeping", "hello"), ("thank_you", "thanks"), ("thank_you", "review")} and message.sample is Sample.USUAL:
            assert "Kind of Blue" in message.composed.text, str(message)
            assert "A Love Supreme" in message.composed.text, str(message)


def test_letters_are_light_and_have_a_text_part() -> None:
    for message in MAILS:
        assert message.composed.size < LARGE / 4, f"{message}: {message.composed.size}"
        assert len(message.composed.text) > 400, str(message)


@pytest.mark.parametrize("message", [each for each in TEXTS if each.sample is Sample.USUAL], ids=str)
def test_text_messages_cost_at_most_two_parts(message: Written) -> None:
    segments = message.composed.segments
    assert segments is not None
    assert segments.count <= 2
    assert segments.encoding == "GSM-7"


def test_everything_a_letter_promises_is_in_the_records_catalogue() -> None:
    from winback.starter.records import catalogue

    paths = {record.path for records in catalogue().values() for record in records}
    source = (ROOT / "templates/sleeping/best_of.email.html").read_text(encoding="utf-8")
    promised = re.findall(r"/records/[a-z0-9-]+", source)
    assert len(promised) == 3
    assert set(promised) <= paths
