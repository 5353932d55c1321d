"""The few pages that customers see: unsubscribe, done, subscribed again, and a link that leads nowhere."""

from __future__ import annotations

from functools import cache
from typing import Literal

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from winback.project import Project
from winback.track.page_words import Words, words_for
from winback.track.unsubscribe import Subscription

#: The pages load nothing, run nothing, and are shown in nobody's frame. Referrers would carry the token.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}

Action = Literal["", "unsubscribe", "resubscribe"]


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("winback.track"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def ask_page(project: Project, about: Subscription) -> HTMLResponse:
    """Ask whether the person means it."""
    language, words = words_for(about.locale, project.settings.shop.locale)
    sentences = [_about(words.ask, words, project, about)]
    return _page(project, language, words, words.unsubscribe, sentences, action="unsubscribe")


def done_page(project: Project, about: Subscription) -> HTMLResponse:
    """Confirm, and offer the way back."""
    language, words = words_for(about.locale, project.settings.shop.locale)
    sentences = [_about(words.done, words, project, about)]
    if about.purpose == "marketing":
        sentences.append(words.service_note)
    return _page(project, language, words, words.done_title, sentences, action="resubscribe")


def back_page(project: Project, about: Subscription) -> HTMLResponse:
    """Confirm the way back."""
    language, words = words_for(about.locale, project.settings.shop.locale)
    return _page(project, language, words, words.back_title, [_about(words.back, words, project, about)])


def unknown_page(project: Project) -> HTMLResponse:
    """Say that a link leads nowhere, with status 404."""
    language, words = words_for(project.settings.shop.locale)
    return _page(project, language, words, words.unknown_title, [words.unknown], status=404)


def later_page(project: Project) -> HTMLResponse:
    """Say that the database does not answer now, with status 503."""
    language, words = words_for(project.settings.shop.locale)
    response = _page(project, language, words, words.later_title, [words.later], status=503)
    response.headers["Retry-After"] = "60"
    return response


def _about(sentence: str, words: Words, project: Project, about: Subscription) -> str:
    return sentence.format(what=words.kinds[f"{about.channel}_{about.purpose}"], shop=project.settings.shop.name)


def _page(  # noqa: PLR0917 - one template's values
    project: Project,
    language: str,
    words: Words,
    title: str,
    sentences: list[str],
    action: Action = "",
    status: int = 200,
) -> HTMLResponse:
    body = (
        _environment()
        .get_template("page.html")
        .render(
            language=language,
            words=words,
            title=title,
            sentences=sentences,
            action=action,
            shop=project.settings.shop,
        )
    )
    return HTMLResponse(body, status, headers=_HEADERS)
