"""The HTML part: styles inlined for readers that drop <style>, a preview line, and the picture that counts opens."""

from __future__ import annotations

import re
from html import escape

import css_inline

from winback.errors import RenderError

#: From here on a mail is warned about: Gmail cuts off what is longer than 102 kB.
LARGE = 90_000  # bytes

_BODY = re.compile(r"<body\b(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>", re.IGNORECASE)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
#: Fills the preview line, so that a mailbox does not show the letter's first words after it.
_FILL = "&#847;&zwnj;&nbsp;" * 60

# At-rules stay in a <style> (media queries, dark colours), as does any block marked `data-css-inline="keep"`.
# Nothing is ever fetched: with load_remote_stylesheets=False neither from the network nor from the disk.
_INLINER = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False, keep_at_rules=True, keep_link_tags=True)


def inline_styles(html: str) -> str:
    """Return the document with its CSS rules as style attributes; raise RenderError for CSS that cannot be read."""
    try:
        return _INLINER.inline(html)
    except css_inline.InlineError as error:
        raise RenderError(
            f"the styles cannot be inlined: {error}", "look at the <style> blocks of the template and its base"
        ) from error


def with_preheader(html: str, preheader: str) -> str:
    """Return the document with the line that mailboxes show beside the subject, invisible in the letter itself."""
    if not preheader:
        return html
    # No font of 1 px, though many hide it that way: SpamAssassin takes tiny letters for a spammer's (FONT_INVIS_…).
    hidden = "display:none;max-height:0;max-width:0;opacity:0;overflow:hidden;mso-hide:all"
    block = f'<div aria-hidden="true" style="{hidden}">{escaped_preheader(preheader)}{_FILL}</div>'
    body = _BODY.search(html)
    position = body.end() if body else 0
    return html[:position] + block + html[position:]


def escaped_preheader(preheader: str) -> str:
    """Return the preview line as it stands in the document."""
    return escape(preheader, quote=False)


def with_pixel(html: str, address: str) -> str:
    """Return the document with the picture that counts opens at its end, where it moves nothing."""
    picture = f'<img src="{escape(address)}" alt="" width="1" height="1" style="display:block;width:1px;height:1px;border:0">'
    ends = list(_BODY_END.finditer(html))
    position = ends[-1].start() if ends else len(html)
    return html[:position] + picture + html[position:]
