"""Links: UTM parameters for the shop's own pages, and signed short addresses so that clicks are counted.

A target keeps every byte the template wrote: parameters are only added, before the fragment, and only where the name is not there
yet. Addresses of other sites get none, because a foreign signed address breaks when it is changed. What is no web page (mailto,
tel, sms, data, fragments) and our own addresses (unsubscribe) stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from winback.compose.message import LinkTarget
from winback.compose.tokens import Clicks
from winback.errors import RenderError

LinkIds = Callable[[Sequence[LinkTarget]], Sequence[int]]

#: What the database keeps; a longer address goes out untracked.
_LONGEST = 8000
_LABEL = 100

# An attribute's value may hold ">", so a tag is read attribute by attribute.
_ATTRIBUTES = r"""(?:[^<>"']|"[^"]*"|'[^']*')*"""
#: Anchors with their text; areas of image maps and Outlook's VML buttons have none. Comments only where Outlook reads them.
_TAG = re.compile(
    rf"<!--(?!\[if\b|<!\[endif)(?:.*?)-->|<(?P<name>a|area|v:\w+)(?P<attributes>\s{_ATTRIBUTES})>(?:(?P<content>(?:(?!<a\b).)*?)</a>)?",
    re.IGNORECASE | re.DOTALL,
)
_HREF = re.compile(r"""(?P<before>\shref\s*=\s*)(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')""", re.IGNORECASE)
_OURS = re.compile(
    r"""\s+data-(?:link|untracked)(?:\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'))?(?=\s|/|$)""", re.IGNORECASE
)
_LABEL_ATTRIBUTE = re.compile(r"""\sdata-link\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_UNTRACKED = re.compile(r"""\sdata-untracked(?=[\s=/]|$)""", re.IGNORECASE)
_ALT = re.compile(r"""<img\b[^>]*?\salt\s*=\s*"([^"]*)\"""", re.IGNORECASE)
_MARKUP = re.compile(r"<[^>]*>")
_ENTITY = re.compile(r"&(amp|quot|apos|lt|gt|nbsp|#39|#34|#x27);")
_ENTITIES = {"amp": "&", "quot": '"', "apos": "'", "lt": "<", "gt": ">", "nbsp": "\xa0", "#39": "'", "#34": '"', "#x27": "'"}
_WEB = re.compile(r"https?://", re.IGNORECASE)
_TEMPLATE_CODE = re.compile(r"\{\{|\{%[-\s]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: In running text an address ends before white space, quotes, angle brackets; punctuation at the end belongs to the sentence.
IN_TEXT = re.compile(r"https?://[^\s<>\"“”„«»]+", re.IGNORECASE)
_SENTENCE_END = ".,;:!?…'’»”"


@dataclass(frozen=True)
class Tagging:
    """What the links of one message get: where we answer clicks, the shop's own host, and the UTM parameters."""

    public_url: str
    own_host: str
    utm: tuple[tuple[str, str], ...]
    track: bool

    @property
    def clicks_url(self) -> str:
        """Return what the address of each counted link begins with; its token follows."""
        return f"{self.public_url}/c/"


@dataclass
class Links:
    """The links of one message, numbered in order of appearance once all its parts have been read."""

    tagging: Tagging
    targets: dict[str, LinkTarget] = field(default_factory=dict)

    def collect_html(self, html: str) -> None:
        """Remember the targets of an HTML part."""
        rewrite_tags(html, self._remember_tag)

    def collect_text(self, text: str) -> None:
        """Remember the targets of a text part."""
        rewrite_words(text, self._remember_word)

    def sign(self, clicks: Clicks, message_id: str, link_ids: LinkIds) -> Rewriter:
        """Ask for the ids of all targets at once and return what puts the signed addresses in."""
        return Rewriter(self.tagging, signed_addresses(list(self.targets.values()), self.tagging, clicks, message_id, link_ids))

    def _remember_tag(self, url: str, label: str | None, named: bool) -> str | None:
        refuse_broken(url)
        self._remember(tagged(url, self.tagging, label if named else None), label)
        return None

    def _remember_word(self, word: str) -> str | None:
        url, _ = without_sentence(word)
        refuse_template_code(url)
        self._remember(tagged(url, self.tagging), None)
        return None

    def _remember(self, url: str | None, label: str | None) -> None:
        if url is not None and is_counted(url, self.tagging):
            self.targets.setdefault(url, labelled(url, label))


@dataclass(frozen=True)
class Rewriter:
    """Puts the signed address of each target in its place; a target that is not counted gets its UTM parameters only."""

    tagging: Tagging
    signed: dict[str, str]

    def html(self, html: str) -> str:
        """Return an HTML part with its links rewritten, and without ordinary comments and our own attributes."""
        return rewrite_tags(html, self._replace_tag)

    def text(self, text: str) -> str:
        """Return a text part with its links rewritten."""
        return rewrite_words(text, self._replace_word)

    def _replace_tag(self, url: str, label: str | None, named: bool) -> str | None:
        target = tagged(url, self.tagging, label if named else None)
        return None if target is None else self.signed.get(target, target)

    def _replace_word(self, word: str) -> str | None:
        url, tail = without_sentence(word)
        target = tagged(url, self.tagging)
        return None if target is None else self.signed.get(target, target) + tail


def signed_addresses(
    targets: Sequence[LinkTarget], tagging: Tagging, clicks: Clicks, message_id: str, link_ids: LinkIds
) -> dict[str, str]:
    """Return the signed address of each target, whose ids are asked for at once; nothing is asked when there are none."""
    start = tagging.clicks_url
    tokens = clicks.sign(message_id, link_ids(targets)) if targets else []
    return {target.url: start + token for target, token in zip(targets, tokens, strict=True)}


def is_counted(url: str, tagging: Tagging) -> bool:
    """Say whether the clicks on a target, with its parameters, are counted."""
    return tagging.track and len(url) <= _LONGEST


def labelled(url: str, label: str | None) -> LinkTarget:
    """Return a target with what the report calls it."""
    return LinkTarget(url, label[:_LABEL] if label else None)


def tagged(url: str, tagging: Tagging, name: str | None = None) -> str | None:
    """Return the web address with UTM parameters, or None when it is none, or is one of ours.

    `name` is the link's data-link, added to utm_content.
    """
    if url == tagging.public_url or url.startswith(f"{tagging.public_url}/"):
        return None
    host = _host(url)
    if not host:
        return None
    own = tagging.own_host
    if not own or (host != own and not host.endswith(f".{own}")):
        return url
    return _with_parameters(url, tagging.utm, name)


def _host(url: str) -> str:
    """Return the host of a web address, empty for everything else."""
    try:
        return (urlsplit(url).hostname or "").lower() if _WEB.match(url) else ""
    except ValueError:
        return ""


def refuse_broken(url: str) -> None:
    """Raise RenderError for a link that cannot work in a mail."""
    if not url:
        raise RenderError("a link leads nowhere: its href is empty", "give it an address, or leave the link out with {% if … %}")
    refuse_template_code(url)
    if url.startswith("#"):
        return
    if not _SCHEME.match(url):
        raise RenderError(f"a link has no host: {url[:80]}", "write the whole address: {{ shop.website }}/…")
    if _WEB.match(url) and not _host(url):
        raise RenderError(f"a link is no address: {url[:80]}", "write it as https://host/path")


def refuse_template_code(url: str) -> None:
    if _TEMPLATE_CODE.search(url):
        raise RenderError(
            f"a link still holds template code: {url[:80]}", "is it inside {% raw %}, or did it come with the data?"
        )


def _with_parameters(url: str, parameters: Sequence[tuple[str, str]], name: str | None) -> str:
    address, hash_sign, fragment = url.partition("#")
    path, _, query = address.partition("?")
    there = {part.partition("=")[0] for part in query.split("&")}
    added = "&".join(
        f"{key}={quote(f'{value}.{name}' if key == 'utm_content' and name else value, safe='')}"
        for key, value in parameters
        if key not in there
    )
    if not added:
        return url
    joint = "" if query == "" or query.endswith("&") else "&"
    return f"{path}?{query}{joint}{added}{hash_sign}{fragment}"


#: What a link's address becomes, None to leave it: of an address, its label, and whether the template named it.
_ReplaceTag = Callable[[str, str | None, bool], str | None]
#: Likewise, of an address in running text with whatever ends its sentence.
_ReplaceWord = Callable[[str], str | None]


def rewrite_tags(html: str, replace: _ReplaceTag) -> str:
    """Return an HTML part with other addresses in its links, and without ordinary comments and our own attributes."""

    def rewritten(match: re.Match[str]) -> str:
        if match["name"] is None:
            return ""
        attributes, content = match["attributes"], match["content"]
        href = _HREF.search(attributes)
        kept = _OURS.sub("", attributes)
        rest = "" if content is None else f"{content}</a>"
        if href is None or _UNTRACKED.search(attributes):
            return f"<{match['name']}{kept}>{rest}"
        url = _unescaped(href["double"] if href["double"] is not None else href["single"]).strip()
        label, named = _label(attributes, content)
        short = replace(url, label, named)
        if short is not None:
            kept = _HREF.sub(lambda found: f'{found["before"]}"{escaped(short)}"', kept, count=1)
        return f"<{match['name']}{kept}>{rest}"

    return _TAG.sub(rewritten, html)


def rewrite_words(text: str, replace: _ReplaceWord) -> str:
    """Return a text part with other addresses in it."""

    def rewritten(match: re.Match[str]) -> str:
        short = replace(match[0])
        return match[0] if short is None else short

    return IN_TEXT.sub(rewritten, text)


def without_sentence(url: str) -> tuple[str, str]:
    """Split off the punctuation that ends a sentence, and a closing bracket that was opened before the address."""
    end = len(url)
    while end:
        last = url[end - 1]
        unopened = (last == ")" and url.count(")", 0, end) > url.count("(", 0, end)) or (
            last == "]" and url.count("]", 0, end) > url.count("[", 0, end)
        )
        if last not in _SENTENCE_END and not unopened:
            break
        end -= 1
    return url[:end], url[end:]


def _label(attributes: str, content: str | None) -> tuple[str | None, bool]:
    """Return what the report calls a link, and whether the template said so itself (data-link)."""
    given = _LABEL_ATTRIBUTE.search(attributes)
    if given:
        return _unescaped(given[1] if given[1] is not None else given[2]) or None, True
    words = " ".join(_unescaped(_MARKUP.sub(" ", content or "")).split())
    alt = _ALT.search(content or "")
    return words or (" ".join(_unescaped(alt[1]).split()) if alt else None) or None, False


def _unescaped(value: str) -> str:
    """Decode what an HTML serializer writes; `&copy=1` without a semicolon is a parameter, as browsers read it in attributes."""
    return _ENTITY.sub(lambda match: _ENTITIES[match[1]], value)


def escaped(value: str) -> str:
    """Return an attribute's value as an HTML serializer writes it."""
    return value.replace("&", "&amp;").replace('"', "&quot;").replace("\xa0", "&nbsp;")
