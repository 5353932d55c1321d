"""One step for one recipient: templates rendered, links signed, parts built into what a gateway sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from winback.compose import html as html_part
from winback.compose import mime, sms
from winback.compose.dkim import Signer
from winback.compose.links import LinkIds, Links, Rewriter, Tagging
from winback.compose.message import Composed, LinkTarget, Recipient
from winback.compose.outline import Given
from winback.compose.outlines import Outlines
from winback.compose.place import Place, choose_place, parse_locale
from winback.compose.render import Renderer
from winback.compose.text import text_from_html
from winback.compose.tokens import Clicks, sign
from winback.errors import RenderError
from winback.gateways.base import Outgoing
from winback.project import Campaign, Project, Step
from winback.store import Channel, Purpose


@dataclass(frozen=True)
class _Plan:
    """What is the same for all messages of one step, variant and channel."""

    campaign: Campaign
    given: Step
    step: Step  # as the variant has it
    template: str  # without its ends
    tagging: Tagging
    about: dict[str, str]  # what templates know of the campaign


@dataclass(slots=True)  # not frozen: thousands are made a second, and each of their parts would take five times as long
class _Letter:
    """What one composition works with; every part of it is about one recipient."""

    campaign: Campaign
    step: Step
    recipient: Recipient
    template: str  # without its ends
    language: str  # "" or ".de": which language's files are used
    variables: dict[str, Any]
    place: Place
    tagging: Tagging
    unsubscribe_url: str


class Composer:
    """Composes messages of one shop. Templates are compiled once, so make a new one when the shop's files have changed.

    `links_key` signs links, the shop's own when it is not given. What is only looked at need not be `signed`: the keys of
    `[dkim]` are where letters are sent, and perhaps nowhere else. With `outlined`, letters that differ in nothing but values are
    put together from pieces prepared once, for thousands of them in one thread; they are the same letters, to the byte.
    """

    def __init__(self, project: Project, *, links_key: bytes | None = None, signed: bool = True, outlined: bool = False) -> None:
        self._settings = project.settings
        self._is_signed = signed and bool(project.settings.dkim)
        self._root = project.root
        self._renderer = Renderer(project.root, project.templates)
        self._key = project.key("links") if links_key is None else links_key
        self._clicks = Clicks(self._key)
        self._plans: dict[tuple[str, str, str, Channel], _Plan] = {}
        self._languages: dict[tuple[str, str, str | None], str] = {}
        shop = project.settings.shop
        self._shop = {
            "name": shop.name,
            "website": shop.website,
            "phone": shop.phone,
            "email": shop.reply_to or shop.email_from,
            "postal_address": shop.postal_address,
            "brand": {"color": shop.brand.color, "logo_text": shop.brand.logo_text},
        }
        self._outlines = Outlines(self._renderer) if outlined else None
        self.outlined = 0  # letters that were put together from an outline
        self._own_host = (urlsplit(shop.website).hostname or "").removeprefix("www.")

    def compose(
        self,
        campaign: Campaign,
        step: Step,
        recipient: Recipient,
        *,
        variant: str = "",
        now: datetime,
        link_ids: LinkIds,
        shown: bool = True,
    ) -> Composed:
        """Return the finished message of one step for one recipient; raise RenderError when it cannot be sent as it should be.
        Raise SigningError when no letter can be signed that should be.

        `recipient.channel` may be the step's fallback. `link_ids` is called once, with all links that are counted, and returns
        their ids in the same order; it is not called when there are none. What nobody will look at need not be `shown`: page,
        text and size may be left out then.
        """
        letter = self._letter(self._plan(campaign, step, variant, recipient.channel), recipient, now)
        if recipient.channel is Channel.SMS:
            return self._text_message(letter, now, link_ids)
        return self._email(letter, now, link_ids, shown)

    def languages(self, template: str, channel: Channel) -> list[str]:
        """Return the languages beside the shop's own in which a template exists, as BCP 47 tags."""
        end = _END[channel]
        folder = (self._renderer.folder / template).parent
        stem = Path(template).name
        found = (path.name[len(stem) + 1 : -len(end)] for path in folder.glob(f"{stem}.*{end}"))
        return sorted(tag for tag in found if parse_locale(tag))

    def _plan(self, campaign: Campaign, step: Step, variant: str, channel: Channel) -> _Plan:
        key = (campaign.name, step.name, variant, channel)
        plan = self._plans.get(key)
        if plan is None or plan.campaign is not campaign or plan.given is not step:
            plan = self._plans[key] = self._made_plan(campaign, step, variant, channel)
        return plan

    def _made_plan(self, campaign: Campaign, given: Step, variant: str, channel: Channel) -> _Plan:
        step = given.for_variant(variant)
        template = step.template
        if step.fallback and channel is not step.channel and step.fallback.template:
            template = step.fallback.template
        utm = (
            ("utm_source", "winback"),
            ("utm_medium", channel.value),
            ("utm_campaign", campaign.name),
            ("utm_content", step.name),
        )
        tracking = self._settings.tracking
        tagging = Tagging(self._settings.web.public_url, self._own_host, utm if tracking.utm else (), tracking.clicks)
        about = {
            "name": campaign.name,
            "title": campaign.title,
            "purpose": campaign.purpose.value,
            "step": step.name,
            "variant": variant,
        }
        return _Plan(campaign, given, step, template, tagging, about)

    def _letter(self, plan: _Plan, recipient: Recipient, now: datetime) -> _Letter:
        customer = recipient.customer
        locale = customer.get("locale")
        language = self._language(plan.template, recipient.channel, locale)
        shop = self._settings.shop
        place = choose_place(language[1:] or shop.locale, locale, customer.get("country"), customer.get("zone") or shop.zone)
        token = sign(self._key, "unsubscribe", recipient.message_id)
        unsubscribe_url = f"{plan.tagging.public_url}/u/{token}"
        variables: dict[str, Any] = {
            "customer": customer,
            "order": recipient.order,
            "last_order": recipient.last_order,
            "coupon": recipient.coupon,
            "score": recipient.score,
            "shop": self._shop,
            "campaign": plan.about,
            "unsubscribe_url": unsubscribe_url,
            "today": now.astimezone(place.zone).date(),
            "lang": place.lang,
            "dir": place.direction,
        }
        return _Letter(
            plan.campaign, plan.step, recipient, plan.template, language, variables, place, plan.tagging, unsubscribe_url
        )

    def _language(self, template: str, channel: Channel, locale: str | None) -> str:
        """Return `.de-AT` or `.de` when the template exists in the customer's language, else nothing."""
        key = (template, channel.value, locale)
        found = self._languages.get(key)
        if found is None:
            parsed = parse_locale(locale)
            tags = [] if locale is None or parsed is None else [locale.replace("_", "-"), parsed.language]
            found = next((f".{tag}" for tag in tags if self._renderer.has(f"{template}.{tag}{_END[channel]}")), "")
            self._languages[key] = found
        return found

    def _email(self, letter: _Letter, now: datetime, link_ids: LinkIds, shown: bool) -> Composed:
        name = f"{letter.template}{letter.language}.email.html"
        subject = self._line(letter, "subject", name)
        if not subject:
            raise RenderError(
                "the subject is empty",
                f"write subject in step {letter.step.name}",
                file=self._relative(letter.campaign.path),
            )
        letter.variables["subject"] = subject
        preheader = self._line(letter, "preheader", name)
        letter.variables["preheader"] = preheader

        picture = ""
        if self._settings.tracking.opens:
            token = sign(self._key, "open", letter.recipient.message_id)
            picture = f"{self._settings.web.public_url}/o/{token}.gif"
        try:
            must_hold = letter.unsubscribe_url if letter.campaign.purpose is Purpose.MARKETING else ""
            page, text = self._parts(letter, name, Given(preheader, picture, must_hold), link_ids, shown)
        except RenderError as error:
            raise self._in_file(error, name) from error
        content = self._mail(letter, subject, page, text, now)
        outgoing = Outgoing(
            message_id=letter.recipient.message_id,
            channel="email",
            recipient=letter.recipient.address,
            sender=self._settings.shop.email_from,
            content=content,
            text="",
            envelope_from=self._settings.shop.email_from,
            subject=subject,
            at=now,
        )
        if isinstance(page, bytes) or isinstance(text, bytes):
            return Composed(outgoing, subject, None, "", None, 0)
        return Composed(outgoing, subject, page, text, None, len(page.encode("utf-8", "replace")))

    def _parts(
        self, letter: _Letter, name: str, given: Given, link_ids: LinkIds, shown: bool
    ) -> tuple[str, str] | tuple[bytes, bytes]:
        """Return the HTML part and the text part: from the letter's outline if there is one, else by the whole way."""
        own_text = f"{letter.template}{letter.language}.email.txt"
        text_name = own_text if self._renderer.has(own_text) else None
        tagging, attempt = letter.tagging, None
        if self._outlines is not None:
            attempt = self._outlines.attempt(name, text_name, letter.variables, letter.place, tagging=tagging, given=given)
            if attempt is not None:
                message_id = letter.recipient.message_id

                def signed(targets: Sequence[LinkTarget]) -> Sequence[str]:
                    return self._clicks.sign(message_id, link_ids(targets))

                encoded = None if shown else attempt.encoded(signed)
                if encoded is not None:
                    self.outlined += 1
                    return encoded
                parts = attempt.filled(signed)
                if parts is not None:
                    self._must_offer_unsubscribing(letter, *parts)
                    self.outlined += 1
                    return parts
        rendered = self._renderer.render(name, letter.variables, letter.place)
        written = "" if text_name is None else self._renderer.render(text_name, letter.variables, letter.place).strip()
        page = html_part.inline_styles(rendered)
        links = Links(tagging)
        rewriter = self._signed(links, letter, link_ids, html=page, text=written or None)
        page = rewriter.html(page)
        text = rewriter.text(written) if written else text_from_html(page)
        self._must_offer_unsubscribing(letter, page, text)
        if not text:
            shop = self._settings.shop
            text = f"{letter.variables['subject']}\n\n{shop.name}: {shop.website}\n\n{letter.unsubscribe_url}"
        page = html_part.with_preheader(page, given.preheader)
        if given.picture:
            page = html_part.with_pixel(page, given.picture)
        if attempt is not None:
            attempt.learn((page, text), list(links.targets.values()), rewriter.signed)
        return page, text

    def _mail(self, letter: _Letter, subject: str, page: str | bytes, text: str | bytes, now: datetime) -> bytes:
        shop, recipient = self._settings.shop, letter.recipient
        content = mime.build(
            mime.Letter(
                message_id=recipient.message_id,
                sender_name=shop.name,
                sender=shop.email_from,
                recipient=recipient.address,
                reply_to=shop.reply_to,
                subject=subject,
                text=text,
                html=page,
                date=now,
                unsubscribe_url=letter.unsubscribe_url,
                list_name=shop.name,
                list_label=letter.campaign.purpose.value,
                feedback=(letter.campaign.name, letter.step.name, letter.campaign.purpose.value),
            )
        )
        return self._signer.sign(content, now) if self._is_signed else content

    @cached_property
    def _signer(self) -> Signer:
        from winback.compose.dkim_keys import load_signer  # the library for keys takes a while to load

        return load_signer(self._settings)

    def _text_message(self, letter: _Letter, now: datetime, link_ids: LinkIds) -> Composed:
        name = f"{letter.template}{letter.language}.sms.txt"
        letter.variables.update(subject="", preheader="")
        text = sms.folded(self._renderer.render(name, letter.variables, letter.place))
        try:
            if not text:
                raise RenderError("the text message is empty", "write something outside the {% if … %}")
            text = self._signed(Links(letter.tagging), letter, link_ids, text=text).text(text)
            self._must_offer_unsubscribing(letter, text)
        except RenderError as error:
            raise self._in_file(error, name) from error
        recipient = letter.recipient
        outgoing = Outgoing(
            message_id=recipient.message_id,
            channel="sms",
            recipient=recipient.address,
            sender="",
            content=b"",
            text=text,
            envelope_from="",
            subject="",
            at=now,
        )
        return Composed(outgoing, "", None, text, sms.count_segments(text), len(text.encode("utf-8", "replace")))

    def _line(self, letter: _Letter, key: str, template: str) -> str:
        """Return subject or preheader: the block of a template in the customer's language, else the step's, else the block."""
        source: str | None = getattr(letter.step, key)
        if letter.language or source is None:
            block = self._renderer.render_block(template, key, letter.variables, letter.place)
            if block is not None:
                return mime.single_line(block)
        if source is None:
            return ""
        where = f"steps.{letter.step.name}.{key}"
        line = self._renderer.render_text(source, letter.variables, letter.place, file=letter.campaign.path, key=where)
        return mime.single_line(line)

    def _signed(
        self, links: Links, letter: _Letter, link_ids: LinkIds, *, html: str | None = None, text: str | None = None
    ) -> Rewriter:
        if html is not None:
            links.collect_html(html)
        if text is not None:
            links.collect_text(text)
        return links.sign(self._clicks, letter.recipient.message_id, link_ids)

    def _must_offer_unsubscribing(self, letter: _Letter, *parts: str) -> None:
        """Raise RenderError for advertising that does not say how to stop it."""
        if letter.campaign.purpose is not Purpose.MARKETING:
            return
        is_sms = letter.recipient.channel is Channel.SMS
        for part in parts:
            if letter.unsubscribe_url not in part and not (is_sms and sms.names_stop(part)):
                remedy = "add {{ unsubscribe_url }}, or: Reply STOP to opt out" if is_sms else "link to {{ unsubscribe_url }}"
                raise RenderError("a marketing message does not say how to unsubscribe", remedy)

    def _in_file(self, error: RenderError, name: str) -> RenderError:
        """Return the error with the template it is about, unless it names one."""
        if error.file is not None:
            return error
        return RenderError(error.problem, error.remedy, file=self._relative(self._renderer.folder / name))

    def _relative(self, path: Path) -> Path:
        return path.relative_to(self._root) if path.is_relative_to(self._root) else path


_END: Mapping[Channel, str] = {Channel.EMAIL: ".email.html", Channel.SMS: ".sms.txt"}
