"""Links: what is tracked and tagged, and what survives byte for byte."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.compose.links import Links, Tagging
from winback.compose.message import LinkTarget
from winback.compose.tokens import Clicks, read
from winback.errors import RenderError

KEY = b"k" * 32
MESSAGE = "6a5b1f0e-8f0c-5b59-9d0f-3c6f6d2b7a51"
PUBLIC = "https://mail.shop.example"
UTM = (("utm_source", "winback"), ("utm_medium", "email"), ("utm_campaign", "wake"), ("utm_content", "hello"))
TAGS = "utm_source=winback&utm_medium=email&utm_campaign=wake&utm_content=hello"


def _rewritten(html: str, *, track: bool = True, utm: bool = True, host: str = "shop.example") -> tuple[str, list[LinkTarget]]:
    links = Links(Tagging(PUBLIC, host, UTM if utm else (), track))
    links.collect_html(html)
    asked: list[LinkTarget] = []

    def ids(targets: Sequence[LinkTarget]) -> list[int]:
        asked.extend(targets)
        return list(range(1, len(targets) + 1))

    return links.sign(Clicks(KEY), MESSAGE, ids).html(html), asked


def _href(html: str) -> str:
    found = re.search(r'href\s*=\s*"([^"]*)"', html)
    assert found, html
    return unescape(found[1])


def _target(html: str, targets: list[LinkTarget]) -> str:
    """Follow the first link of a rewritten text to its target."""
    token = _href(html).removeprefix(f"{PUBLIC}/c/")
    return targets[read(KEY, "click", token).number - 1].url


@pytest.mark.parametrize(
    "href",
    [
        "mailto:hello@shop.example",
        "mailto:hello@shop.example?subject=My%20order&body=1.%0A2.%0A",
        "tel:+493012345",
        "sms:+493012345?body=STOP",
        "whatsapp://send?text=hello",
        "#top",
        "data:text/plain;base64,SGVsbG8=",
        "webcal://shop.example/events.ics",
        "geo:52.5,13.4",
        "intent://scan/#Intent;scheme=zxing;end",
        f"{PUBLIC}/u/some-token",
        f"{PUBLIC}/c/some-token",
        PUBLIC,
        "ftp://shop.example/list.txt",
        "x-apple-reminder://1",
    ],
)
def test_what_is_no_page_or_ours_is_untouched(href: str) -> None:
    html = f'<p><a class="x" href="{href.replace("&", "&amp;")}" title="t">text</a></p>'
    assert _rewritten(html) == (html, [])


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://shop.example", f"https://shop.example?{TAGS}"),
        ("https://shop.example/", f"https://shop.example/?{TAGS}"),
        ("https://shop.example/new", f"https://shop.example/new?{TAGS}"),
        ("https://shop.example/new?a=1", f"https://shop.example/new?a=1&{TAGS}"),
        ("https://shop.example/new?a=1&", f"https://shop.example/new?a=1&{TAGS}"),
        ("https://shop.example/new?", f"https://shop.example/new?{TAGS}"),
        ("https://shop.example/new#part", f"https://shop.example/new?{TAGS}#part"),
        ("https://shop.example/new?a=1#/route?b=2", f"https://shop.example/new?a=1&{TAGS}#/route?b=2"),
        ("https://www.shop.example/x", f"https://www.shop.example/x?{TAGS}"),
        ("https://blog.shop.example/x", f"https://blog.shop.example/x?{TAGS}"),
        ("HTTPS://SHOP.example/X", f"HTTPS://SHOP.example/X?{TAGS}"),
        ("http://shop.example:8080/x", f"http://shop.example:8080/x?{TAGS}"),
        ("https://user@shop.example/x", f"https://user@shop.example/x?{TAGS}"),
        ("https://shop.example/a%20b/ü?q=%C3%BC+x", f"https://shop.example/a%20b/ü?q=%C3%BC+x&{TAGS}"),
        ("https://shop.example/x;jsessionid=1?a", f"https://shop.example/x;jsessionid=1?a&{TAGS}"),
        ("https://shop.example/x?utm_source=print", "https://shop.example/x?utm_source=print&" + TAGS.partition("&")[2]),
        (f"https://shop.example/x?{TAGS}", f"https://shop.example/x?{TAGS}"),
        ("https://shop.example/x?a=1&amp=2", f"https://shop.example/x?a=1&amp=2&{TAGS}"),
        ("https://shop.example/x?copy=1", f"https://shop.example/x?copy=1&{TAGS}"),
        ("https://shop.example/(brackets)", f"https://shop.example/(brackets)?{TAGS}"),
        ("https://elsewhere.example/x?sig=abc%2Fdef", "https://elsewhere.example/x?sig=abc%2Fdef"),
        ("https://elsewhere.example/?a=b#c", "https://elsewhere.example/?a=b#c"),
        ("https://notshop.example/x", "https://notshop.example/x"),
        ("https://xn--bcher-kva.example/x", "https://xn--bcher-kva.example/x"),
        ("https://bücher.example/x", "https://bücher.example/x"),
        ("https://[2001:db8::1]/x", "https://[2001:db8::1]/x"),
    ],
)
def test_a_page_is_counted_and_tagged(url: str, target: str) -> None:
    html, targets = _rewritten(f'<a href="{url.replace("&", "&amp;")}">text</a>')
    assert _target(html, targets) == target
    plain, _ = _rewritten(f'<a href="{url.replace("&", "&amp;")}">text</a>', track=False)
    assert _href(plain) == target
    bare, nothing = _rewritten(f'<a href="{url.replace("&", "&amp;")}">text</a>', track=False, utm=False)
    assert (_href(bare), nothing) == (url, [])


@pytest.mark.parametrize(
    ("html", "label"),
    [
        ('<a href="https://shop.example/a" data-link="top">x</a>', "top"),
        ("<a data-link='bottom' href=\"https://shop.example/a\">x</a>", "bottom"),
        ('<a href="https://shop.example/a">See <b>what</b>\n is new</a>', "See what is new"),
        ('<a href="https://shop.example/a"><img src="x.png" alt="A record"></a>', "A record"),
        ("<a href='https://shop.example/a'>x</a>", "x"),
        ('<a\nhref = "https://shop.example/a"\n>x</a>', "x"),
        ('<area href="https://shop.example/a" alt="map">', None),
        ('<v:roundrect href="https://shop.example/a" style="x">button</v:roundrect>', None),
        ('<!--[if mso]><v:rect href="https://shop.example/a"></v:rect><![endif]-->', None),
        ('<a title="a > b" href="https://shop.example/a">x</a>', "x"),
    ],
)
def test_links_of_every_shape_have_a_label(html: str, label: str | None) -> None:
    rewritten, targets = _rewritten(html)
    assert [target.label for target in targets] == [label]
    assert "data-link" not in rewritten
    assert _target(rewritten, targets).startswith("https://shop.example/a?utm_source=winback")


def test_a_link_with_a_name_says_so_to_the_shops_statistics() -> None:
    html, targets = _rewritten('<a href="https://shop.example/a" data-link="top">x</a><a href="https://shop.example/a">y</a>')
    assert [target.url.rpartition("=")[2] for target in targets] == ["hello.top", "hello"]
    assert html.count(f"{PUBLIC}/c/") == 2


def test_a_link_can_be_left_alone() -> None:
    html = '<a href="https://shop.example/a" data-untracked>x</a>'
    assert _rewritten(html) == ('<a href="https://shop.example/a">x</a>', [])


def test_ordinary_comments_go_and_outlooks_stay() -> None:
    html, _ = _rewritten("<!-- a note --><!--[if mso]><p>x</p><![endif]--><p>y</p>")
    assert html == "<!--[if mso]><p>x</p><![endif]--><p>y</p>"


@pytest.mark.parametrize(
    ("href", "said"),
    [
        ("", "leads nowhere"),
        ("/new", "has no host"),
        ("shop.example/new", "has no host"),
        ("https://", "is no address"),
        ("https://shop.example/{{ code }}", "template code"),
    ],
)
def test_a_link_that_cannot_work_is_refused(href: str, said: str) -> None:
    with pytest.raises(RenderError, match=said):
        _rewritten(f'<a href="{href}">x</a>')


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("See https://shop.example/new.", "https://shop.example/new"),
        ("(https://shop.example/new)", "https://shop.example/new"),
        ("https://shop.example/a_(b) is it", "https://shop.example/a_(b)"),
        ("<https://shop.example/new>", "https://shop.example/new"),
        ("Really: https://shop.example/new?!", "https://shop.example/new"),
        ("„https://shop.example/new“", "https://shop.example/new"),
        ("https://shop.example/new, https", "https://shop.example/new"),
    ],
)
def test_addresses_in_running_text_end_where_the_sentence_does(text: str, address: str) -> None:
    links = Links(Tagging(PUBLIC, "elsewhere.example", UTM, True))
    links.collect_text(text)
    assert list(links.targets) == [address]
    rewritten = links.sign(Clicks(KEY), MESSAGE, lambda targets: [1]).text(text)
    assert re.sub(rf"{PUBLIC}/c/[\w-]+", address, rewritten) == text


@given(
    st.lists(st.sampled_from(["a", "b", "ü", "&", "=", "?", "/", "#", "%20", "+", ";", "(", ")", "'"]), max_size=25).map("".join)
)
def test_any_path_of_another_site_arrives_as_it_was_written(path: str) -> None:
    url = f"https://elsewhere.example/{path}"
    escaped = url.replace("&", "&amp;")
    html, targets = _rewritten(f'<a href="{escaped}">x</a>')
    assert _target(html, targets) == url
