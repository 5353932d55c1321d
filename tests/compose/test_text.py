"""The text part that is made from the HTML."""

from __future__ import annotations

import pytest

from winback.compose.text import text_from_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two</p>", "One\n\nTwo"),
        ("<div>One</div><div>Two</div>", "One\nTwo"),
        ("One<br>Two", "One\nTwo"),
        ("<h1>Title</h1><p>Text</p>", "Title\n\nText"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ('<p><a href="https://x.example/a">Read on</a></p>', "Read on: https://x.example/a"),
        ('<a href="https://x.example/a">https://x.example/a</a>', "https://x.example/a"),
        ('<a href="tel:+493012345">+49 30 12345</a>', "+49 30 12345"),
        ('<a href="tel:+493012345">Call us</a>', "Call us: +493012345"),
        ('<a href="mailto:a@x.example?subject=x">a@x.example</a>', "a@x.example"),
        ('<a href="#top">up</a>', "up"),
        ('<img src="x" alt="A record">', "A record"),
        ('<img src="x">', ""),
        ('<p>a</p><div style="display:none">hidden</div><p>b</p>', "a\n\nb"),
        ('<p aria-hidden="true">hidden</p>seen', "seen"),
        ("<style>p { color: red }</style><script>x</script><p>seen</p>", "seen"),
        ("<table role='presentation'><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("<p>a</p><hr><p>b</p>", "a\n\n----------------------------------------\n\nb"),
        ("<p>a  \n  b&nbsp;c</p>", "a b c"),
        ("<p>&lt;b&gt; &amp; more</p>", "<b> & more"),
        ("<p>שלום</p>", "שלום"),
        ("", ""),
    ],
)
def test_readable_text(html: str, text: str) -> None:
    found = text_from_html(f"<html><head><title>t</title></head><body>{html}</body></html>")
    assert found.replace("- a\n- b", "- a\n- b") == text
