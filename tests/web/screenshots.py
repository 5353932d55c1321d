"""Take pictures of the pages of a filled demo shop: `make screenshots`, or `python -m tests.web.screenshots [FOLDER]`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.web.conftest import DESKTOP, PHONE, chromium, serving
from winback.web.app import create_app

_FOLDER = Path("var/screenshots")

#: Name of the picture → where the page is.
_PAGES = {
    "overview": "/",
    "campaign": "/campaigns/sleeping",
    "preview": "/campaigns/sleeping/preview/hello",
    "text-message": "/campaigns/thank_you/preview/thanks?channel=sms",
    "outbox": "/outbox",
    "report": "/report",
}

_SIZES = {"desk": DESKTOP, "phone": PHONE}


def main() -> None:
    """Fill a demo shop in a temporary folder, run its campaigns, and take the pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="winback-demo-") as made:
        winback = Path(sys.executable).parent / "winback"
        subprocess.run([winback, "demo", made], check=True)
        with serving(create_app(Path(made))) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            for size, viewport in _SIZES.items():
                _take(browser, address, folder, size, viewport, "light")
                _take(browser, address, folder, size, viewport, "dark")
            browser.close()
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")  # noqa: T201 - a command of its own


def _take(
    browser: Browser, address: str, folder: Path, size: str, viewport: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    page = context.new_page()
    for name, path in {**_PAGES, "customer": _somebody(page, address)}.items():
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
    context.close()


def _somebody(page: Page, address: str) -> str:
    """Return the page of the customer who ordered last."""
    page.goto(f"{address}/customers")
    return str(page.locator("#found tbody a").first.get_attribute("href")) + "?part=why"


if __name__ == "__main__":
    main()
