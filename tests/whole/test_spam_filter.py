"""What a spam filter says of the demo shop's letters: SpamAssassin, as Debian has it, without asking the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from winback.compose.composer import Composer
from winback.compose.samples import SAMPLE_NOW, sample_recipient
from winback.project import Project, load_project
from winback.starter import copy_shop
from winback.store import Channel

LIMIT = 2.0

#: What rules may say of a good letter; they score nothing. Any other, about MIME, headers or words, is one too many.
HARMLESS = {"HTML_MESSAGE", "NO_RECEIVED", "NO_RELAYS"}

_HIT = re.compile(r"^ *(-?\d+\.\d) ([A-Z][A-Z0-9_]+) ", re.MULTILINE)
_REPORT = re.compile(r"^Content analysis details:\s+\((-?\d+\.\d) points", re.MULTILINE)


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """Give the demo shop, with a public address as a shop that sends has one."""
    root = tmp_path / "shop"
    copy_shop(root)
    config = root / "config.toml"
    config.write_text(config.read_text().replace("http://127.0.0.1:8025", "https://mail.halfnote.example"))
    return load_project(root, environ={})


def _letters(project: Project) -> Iterator[tuple[str, bytes]]:
    """Yield every letter of every campaign in every language, each with its name."""
    composer = Composer(project, links_key=b"0" * 32, signed=False)
    for campaign in project.campaigns.values():
        for step in campaign.steps:
            if step.channel is not Channel.EMAIL:
                continue
            for locale in (None, *composer.languages(step.template, Channel.EMAIL)):
                recipient = sample_recipient(project, campaign, step, locale=locale)
                composed = composer.compose(
                    campaign,
                    step,
                    recipient,
                    variant="a" if campaign.variants else "",
                    now=SAMPLE_NOW,
                    link_ids=lambda targets: list(range(1, len(targets) + 1)),
                )
                yield f"{campaign.name}-{step.name}-{locale or 'own'}", composed.outgoing.content


def test_no_letter_of_the_demo_shop_looks_like_spam(shop: Project, tmp_path: Path) -> None:
    if shutil.which("spamassassin") is None:
        reason = "Debian's spamassassin is not here"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    files = []
    for name, content in _letters(shop):
        files.append(tmp_path / f"{name}.eml")
        files[-1].write_bytes(content)
    assert len(files) >= len(shop.campaigns)
    # Its settings and what it has learned before are of no interest here: a home of its own.
    home = tmp_path / "home"
    home.mkdir()
    command = ["spamassassin", "--local", "--test-mode", *(str(file) for file in files)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, timeout=300, check=False, env=environment)
    said = done.stdout.decode("utf-8", "replace")
    _, *reports = _REPORT.split(said)
    assert len(reports) == 2 * len(files), done.stderr.decode("utf-8", "replace")
    for file, points, report in zip(files, reports[::2], reports[1::2], strict=True):
        hits = _HIT.findall(report)
        assert float(points) < LIMIT, (file.name, hits)
        assert {name for _, name in hits} <= HARMLESS, (file.name, hits)
