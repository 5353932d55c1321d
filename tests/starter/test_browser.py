"""Every letter in a real browser: on a phone and on a desk, by day and by night."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.starter.test_copy import ROOT, written
from winback.compose.samples import Sample

pytestmark = pytest.mark.browser

CAMPAIGNS = sorted(file.stem for file in (ROOT / "campaigns").glob("*.toml") if file.stem not in ("scores", "audiences"))

#: How wide the page is, and the text that stands out least from its background, by WCAG 2.1's contrast ratio.
LOOK = """() => {
  const channel = (value) => { const v = value / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = numbers(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  let contrast = 21, faintest = "";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.offsetParent || element.offsetHeight <= 1) continue;
    const a = light(numbers(getComputedStyle(element).color)), b = light(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < contrast) { contrast = ratio; faintest = text.slice(0, 40); }
  }
  return { width: document.documentElement.scrollWidth, contrast, faintest };
}"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """Give one page for all letters; nothing may be loaded from anywhere."""
    context = browser.new_context()
    made = context.new_page()
    made.route("**/*", lambda route: route.abort())
    yield made
    context.close()


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_letters_fit_and_can_be_read(campaign: str, page: Page) -> None:
    own = [each for each in written() if each.campaign.name == campaign and each.sample in (Sample.USUAL, Sample.AWKWARD)]
    letters = {each.composed.html: each for each in own if each.composed.html}  # both arms of a test are mostly the same
    assert len(letters) >= 6
    for html, letter in letters.items():
        page.set_content(html, wait_until="domcontentloaded")
        for width in (360, 640):
            page.set_viewport_size({"width": width, "height": 800})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                seen = page.evaluate(LOOK)
                where = f"{letter}, {width} pixels, {scheme}"
                assert seen["width"] <= width, where
                assert seen["contrast"] >= 4.5, f"{where}: {seen['faintest']!r} has a contrast of {seen['contrast']:.1f}"
