"""Compose a step's message without sending it: for a made-up person, or for a customer as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select

from winback.compose import Composed, Composer, LinkTarget, Recipient, sample_recipient
from winback.compose.samples import Sample, samples_for
from winback.compose.tokens import read as read_token
from winback.dispatch.recipients import recipient_for_preview
from winback.errors import TokenError
from winback.plan.variants import BASE_ARM
from winback.project import Campaign, Project, Step
from winback.store import AnyRow, Channel, customers, enrollments
from winback.web.mail import first_words, with_plain_links

#: How many customers are suggested.
_SUGGESTED = 12


@dataclass(frozen=True)
class Ask:
    """Which message to compose: `person` is a customer's id, or empty for the made-up `sample`."""

    campaign: Campaign
    step: Step
    channel: Channel
    person: str = ""
    sample: Sample = Sample.USUAL
    arm: str = ""


@dataclass(frozen=True)
class Made:
    """A composed message: `html` with links that lead straight to their targets, `name` of the customer it is for, if any."""

    composed: Composed
    html: str
    first_words: str
    name: str


def samples(campaign: Campaign) -> list[Sample]:
    """Return the made-up people who could get a campaign's messages."""
    return list(samples_for(campaign))


def arms(campaign: Campaign) -> list[str]:
    """Return the arms of a campaign's test, the base first; nothing where there is no test."""
    return [BASE_ARM, *campaign.variants] if campaign.variants else []


def suggestions(connection: Connection, campaign: Campaign) -> list[AnyRow]:
    """Return customers to try: those who came in last, else any."""
    names = (customers.c.external_id, customers.c.first_name, customers.c.last_name)
    latest = (
        select(*names)
        .join(enrollments, enrollments.c.customer_id == customers.c.id)
        .where(enrollments.c.campaign == campaign.name)
        .order_by(enrollments.c.enrolled_at.desc(), enrollments.c.id.desc())
    )
    found = list(connection.execute(latest.limit(_SUGGESTED)))
    return found or list(connection.execute(select(*names).order_by(customers.c.id).limit(_SUGGESTED)))


def compose(connection: Connection, project: Project, ask: Ask, now: datetime) -> Made:
    """Return a message as it would be sent now. Raise RenderError when it cannot be made, InputError for an unknown customer.

    It carries the made-up person's message id, so that no link in it does anything to a customer.
    """
    recipient, name = _recipient(connection, project, ask, now)
    targets: list[LinkTarget] = []

    def number(found: Sequence[LinkTarget]) -> list[int]:
        targets.extend(found)
        return list(range(1, len(found) + 1))

    composer = Composer(project, signed=False)
    composed = composer.compose(ask.campaign, ask.step, recipient, variant=ask.arm, now=now, link_ids=number)
    key = project.key("links")

    def target(token: str) -> str | None:
        try:
            return targets[read_token(key, "click", token).number - 1].url
        except (TokenError, IndexError):
            return None

    html = with_plain_links(composed.html or "", project.settings.web.public_url, target)
    return Made(composed, html, first_words(html), name)


def _recipient(connection: Connection, project: Project, ask: Ask, now: datetime) -> tuple[Recipient, str]:
    made_up = sample_recipient(project, ask.campaign, ask.step, sample=ask.sample, channel=ask.channel)
    if not ask.person:
        return made_up, ""
    real = recipient_for_preview(connection, project, ask.campaign, ask.step, ask.person, ask.channel, now)
    name = " ".join(part for part in (real.customer["first_name"], real.customer["last_name"]) if part)
    # Somebody without an address on this channel can be looked at all the same.
    return replace(real, message_id=made_up.message_id, address=real.address or made_up.address), name or ask.person
