"""The text part, made from the HTML where the template has none: paragraphs, lists, and links written out."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

#: Blocks set off by an empty line; other blocks only begin a new one.
_PARAGRAPHS = frozenset(("blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"))
_LINES = frozenset(
    (
        *("address", "article", "aside", "center", "dd", "div", "dt", "fieldset", "figcaption", "figure", "footer", "form"),
        *("header", "li", "main", "nav", "section", "tbody", "tfoot", "thead", "tr"),
    )
)
_SKIPPED = frozenset(("head", "noscript", "script", "style", "template", "title"))
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all)", re.IGNORECASE)
#: Invisible characters that fill up the preview line in a mailbox, and soft hyphens.
_INVISIBLE = re.compile("[\u00ad\u034f\u200b\u200c\u2007\ufeff]")
_SPACE = re.compile(r"[ \t\r\n\f\xa0\u202f]+")
_EMPTY_LINES = re.compile(r"\n{3,}")
#: Marks where a line has to begin: two blocks side by side are two lines, with no empty one between them.
_NEW_LINE = "\v"
_NEW_LINES = re.compile(r"\v(?:[ \t]*\v)*")
_DIVIDER = "-" * 40
_LINKED = ("http:", "https:", "mailto:", "tel:", "sms:")


def text_from_html(html: str) -> str:
    """Return the readable text of an HTML document; images by their alt text, links as `text: address`.

    What is hidden by a style of its own, or marked aria-hidden, is left out. The text may be empty when the HTML has none.
    """
    body = LexborHTMLParser(html).body
    if body is None:
        return ""
    pieces: list[str] = []
    _walk(body, pieces)
    text = _NEW_LINES.sub("\n", _INVISIBLE.sub("", "".join(pieces)))
    lines = (_SPACE.sub(" ", line).strip() for line in text.split("\n"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def _walk(node: LexborNode, pieces: list[str]) -> None:
    for child in node.iter(include_text=True):
        tag = child.tag or ""
        if tag == "-text":
            pieces.append(_SPACE.sub(" ", child.text(deep=False)))
        elif not _unseen(child, tag):
            _element(child, tag, pieces)


def _element(node: LexborNode, tag: str, pieces: list[str]) -> None:
    if tag == "br":
        pieces.append("\n")
    elif tag == "hr":
        pieces.append(f"\n\n{_DIVIDER}\n\n")
    elif tag == "img":
        pieces.append(node.attributes.get("alt") or "")
    elif tag == "a":
        pieces.append(_link(node))
    elif tag in _PARAGRAPHS or tag in _LINES:
        gap = "\n\n" if tag in _PARAGRAPHS and not _is_layout(node, tag) else _NEW_LINE
        pieces.append(gap + ("- " if tag == "li" else ""))
        _walk(node, pieces)
        pieces.append(gap)
    elif tag in {"td", "th"}:
        _walk(node, pieces)
        pieces.append(" ")
    else:
        _walk(node, pieces)


def _link(node: LexborNode) -> str:
    inside: list[str] = []
    _walk(node, inside)
    words = _SPACE.sub(" ", "".join(inside)).strip()
    address = (node.attributes.get("href") or "").strip()
    if not address.lower().startswith(_LINKED):
        return words
    bare = re.sub(r"^(?:mailto|tel|sms):", "", address, flags=re.IGNORECASE).partition("?")[0] if ":" in address else address
    # A telephone number or an address that is its own label needs no repeating.
    if address.lower().startswith(("tel:", "sms:", "mailto:")):
        same = re.sub(r"[^\w@.+]", "", words) == re.sub(r"[^\w@.+]", "", bare)
        return words if same else f"{words}: {bare}" if words else bare
    return address if not words or words == address else f"{words}: {address}"


def _unseen(node: LexborNode, tag: str) -> bool:
    if tag in _SKIPPED or tag.startswith("-"):
        return True
    attributes = node.attributes
    return (
        "hidden" in attributes or attributes.get("aria-hidden") == "true" or bool(_HIDDEN.search(attributes.get("style") or ""))
    )


def _is_layout(node: LexborNode, tag: str) -> bool:
    return tag == "table" and node.attributes.get("role") in {"presentation", "none"}
