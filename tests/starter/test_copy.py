"""The demo shop's copy keeps the rules of good letters, in every arm, channel and language, for everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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


@cache
def written() -> tuple[Written, ...]:
    """Compose every message of the shop: each step, arm, channel and language, for each made-up person."""
    project = load_project(ROOT)
    composer = Composer(project, links_key=b"k" * 32)
    found = []
    for campaign in project.campaigns.values():
        for step in campaign.steps:
            for channel in (step.channel, *((step.fallback.channel,) if step.fallback else ())):
                found += list(_of_step(project, composer, campaign, step, channel))
    return tuple(found)


def _of_step(project: Project, composer: Composer, campaign: Campaign, step: Step, channel: Channel) -> Iterator[Written]:
    own = step.fallback.template if step.fallback and channel is not step.channel else None
    for locale in (None, *composer.languages(own or step.template, channel)):
        for sample in samples_for(campaign):
            for variant in ("a", *campaign.variants):
                recipient = sample_recipient(project, campaign, step, sample=sample, channel=channel, locale=locale)
                composed = composer.compose(
                    campaign,
                    step,
                    recipient,
                    variant=variant,
                    now=SAMPLE_NOW,
                    link_ids=lambda links: list(range(1, len(links) + 1)),
                )
                yield Written(campaign, step, sample, channel, composed)


@pytest.fixture
def project() -> Project:
    return load_project(ROOT)


@pytest.fixture
def messages() -> tuple[Written, ...]:
    return written()


@pytest.fixture
def mails() -> list[Written]:
    return [each for each in written() if each.channel is Channel.EMAIL]


@pytest.fixture
def texts() -> list[Written]:
    return [each for each in written() if each.channel is Channel.SMS]


def body(message: Written) -> LexborHTMLParser:
    return LexborHTMLParser(message.composed.html or "")


def test_there_is_something_to_look_at(
    messages: tuple[Written, ...], mails: list[Written], texts: list[Written], project: Project
) -> None:
    assert {(each.campaign.name, each.step.name) for each in messages} == {
        (campaign.name, step.name) for campaign in project.campaigns.values() for step in campaign.steps
    }
    assert len(texts) >= 10
    assert any('dir="rtl"' in (each.composed.html or "") for each in mails)


def test_nothing_is_addressed_to_nobody(messages: tuple[Written, ...]) -> None:
    for message in messages:
        text = f"{message.composed.subject}\n{message.composed.text}"
        assert not re.search(r"\bNone\b|\{\{|\}\}|\{%|undefined| ,|^,", text, re.MULTILINE), str(message)


def test_a_known_name_is_used_and_an_unknown_one_has_a_fallback(mails: list[Written]) -> None:
    for message in mails:
        named = f"{message.composed.subject}\n{message.composed.text}"
        if message.sample is Sample.USUAL:
            assert "Anna" in named, str(message)
        elif message.sample is Sample.SPARSE:
            assert "Anna" not in named, str(message)


def test_subjects_are_short_and_promise_no_commercial_offer(mails: list[Written]) -> None:
    for message in mails:
        subject = message.composed.subject
        if message.sample is Sample.USUAL:
            assert 8 <= len(subject) <= 60, f"{message}: {subject}"
        assert not re.search(r"commercial offer|newsletter|!!|\bfree\b|act now|last chance|100%|\$\$", subject, re.IGNORECASE)
        assert subject != subject.upper() or not subject.isascii()


def test_the_line_after_the_subject_says_something_new(project: Project) -> None:
    for campaign in project.campaigns.values():
        for step in campaign.steps:
            if step.channel is not Channel.EMAIL:
                continue
            for arm in (step, *(step.for_variant(name) for name in step.variants)):
                assert arm.preheader, f"{campaign.name}/{step.name}"
                assert 30 <= len(arm.preheader) <= 110, arm.preheader
                assert arm.preheader != arm.subject


def test_there_is_one_clear_thing_to_do(mails: list[Written]) -> None:
    for message in mails:
        labels = [node.text(strip=True) for node in body(message).css("table.button a")]
        assert len(labels) == 1, f"{message}: {labels}"
        assert 3 <= len(labels[0]) <= 30


def test_paragraphs_are_short(mails: list[Written]) -> None:
    for message in mails:
        if message.sample is Sample.USUAL:
            for paragraph in body(message).css(".body p"):
                assert len(" ".join(paragraph.text().split())) <= 330, f"{message}: {paragraph.text()}"


def test_every_letter_has_a_postscript(mails: list[Written]) -> None:
    for message in mails:
        postscripts = [" ".join(node.text().split()) for node in body(message).css("p.ps")]
        assert len(postscripts) == 1, str(message)
        assert 20 <= len(postscripts[0]) <= 140, postscripts


def test_every_message_has_a_phone_number_and_a_way_out(
    messages: tuple[Written, ...], mails: list[Written], project: Project
) -> None:
    for message in messages:
        assert project.settings.shop.phone in message.composed.text, str(message)
        assert "/u/" in message.composed.text, str(message)
    for message in mails:
        assert f'href="tel:{project.settings.shop.phone.replace(" ", "")}"' in (message.composed.html or "")


def test_every_letter_says_who_writes_and_why_once(mails: list[Written], project: Project) -> None:
    for message in mails:
        html = unescape(message.composed.html or "")
        assert html.count(project.settings.shop.postal_address) == 1, str(message)
        assert message.composed.text.count(project.settings.shop.postal_address) == 1, str(message)
        assert body(message).css_first(".foot p") is not None


def test_a_code_comes_with_its_deadline(messages: tuple[Written, ...]) -> None:
    seen = 0
    for message in messages:
        coupon = message.step.coupon
        if coupon is None:
            continue
        ends = (SAMPLE_NOW + coupon.expires).date()
        assert coupon.pool in message.composed.text, str(message)
        assert re.search(rf"\b{ends.day}\b", message.composed.text), f"{message} names no day"
        seen += 1
    assert seen


def test_useful_letters_come_between_selling_ones(project: Project) -> None:
    """No campaign begins with a discount, but for birthdays, where it is a present; none sends two codes one after the other."""
    for campaign in project.campaigns.values():
        sells = [step.coupon is not None for step in campaign.steps]
        assert not sells[0] or campaign.audience.preset == "birthday", campaign.name
        assert (True, True) not in set(pairwise(sells)), campaign.name
        if campaign.purpose is Purpose.SERVICE:
            assert not any(sells), campaign.name


def test_codes_are_still_good_when_the_campaign_speaks_of_them_again(project: Project) -> None:
    steps = project.campaigns["birthday"].steps
    greeting, reminder = steps
    assert greeting.coupon is not None
    left = greeting.coupon.expires - reminder.after
    assert left.days == 21  # "three more weeks"


def test_letters_show_the_products_of_the_real_order(mails: list[Written]) -> None:
    for message in mails:
        about = (message.campaign.name, message.step.name)
        if about in {("sleeping", "hello"), ("thank_you", "thanks"), ("thank_you", "review")} and message.sample is Sample.USUAL:
            assert "Kind of Blue" in message.composed.text, str(message)
            assert "A Love Supreme" in message.composed.text, str(message)


def test_letters_are_light_and_have_a_text_part(mails: list[Written]) -> None:
    for message in mails:
        assert message.composed.size < LARGE / 4, f"{message}: {message.composed.size}"
        assert len(message.composed.text) > 400, str(message)


def test_text_messages_cost_at_most_two_parts(texts: list[Written]) -> None:
    for message in texts:
        if message.sample is Sample.USUAL:
            segments = message.composed.segments
            assert segments is not None
            assert (segments.encoding, segments.count <= 2) == ("GSM-7", True), f"{message}: {segments}"


def test_everything_a_letter_promises_is_in_the_records_catalogue() -> None:
    from winback.starter.records import catalogue

    paths = {record.path for records in catalogue().values() for record in records}
    source = (ROOT / "templates/sleeping/best_of.email.html").read_text(encoding="utf-8")
    promised = re.findall(r"/records/[a-z0-9-]+", source)
    assert len(promised) == 3
    assert set(promised) <= paths
