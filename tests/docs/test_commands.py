"""Every command of the README and of docs/ runs, page by page, in a copy of the filled demo shop."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.console import ROOT, Command, commands, pages
from winback.cli import main

#: Commands that set up or check a clone of the repository; `make test` is what runs this very test.
_OF_THE_CLONE = ("git clone", "cd winback", "make ")

_TIMEOUT = 120  # seconds

#: What only a shell understands.
_SHELL = set("|<>&;$`*\n")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_of_the_page_runs(
    page: Path, filled_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(filled_shop, shop)
    monkeypatch.chdir(shop)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TZ", "UTC")
    # A copy sends nothing until somebody says that it should.
    assert _run("winback adopt --yes", monkeypatch) == 0
    for command in commands(page):
        if command.script.startswith(_OF_THE_CLONE):
            continue
        where = f"{page.name}:{command.line}: {command.script}"
        if command.script.startswith("winback daemon"):
            _start_and_stop(command, shop, where)
            continue
        script, expected = _expectation(command.script)
        capfd.readouterr()
        code = _run(script, monkeypatch)
        said = capfd.readouterr()
        assert code == expected, f"{where}\n{said.out[-2000:]}\n{said.err[-2000:]}"


def _run(script: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command and return its exit code: winback here, which saves a second each time, and with more than that a shell."""
    if not script.startswith("winback ") or _SHELL & set(script):
        shell = ["bash", "-euo", "pipefail", "-c", script]
        return subprocess.run(shell, timeout=_TIMEOUT, stdin=subprocess.DEVNULL, check=False).returncode
    monkeypatch.setattr(sys, "argv", shlex.split(script, comments=True))
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_make_targets_that_the_pages_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        word
        for page in pages()
        for command in commands(page)
        if command.script.startswith("make ")
        for word in command.script.split()[1:]
        if "=" not in word
    }
    assert {"demo", "test"} <= named
    for target in named:
        assert f"\n{target}:" in makefile, f"make {target}"


def _expectation(script: str) -> tuple[str, int]:
    """Split off the exit code that a page promises with `# exit 1`."""
    command, mark, code = script.partition("# exit ")
    return command, int(code) if mark else 0


def _start_and_stop(command: Command, shop: Path, where: str) -> None:
    """Start a daemon, wait until it says that it is running, and stop it as an operator would."""
    log = shop / "daemon.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command.script}"],
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            until = time.monotonic() + 60
            while "pass" not in log.read_text() and time.monotonic() < until and process.poll() is None:
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0, f"{where}\n{log.read_text()[-2000:]}"
        finally:
            if process.poll() is None:
                process.kill()
