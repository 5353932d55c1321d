"""Tables in a terminal: words stay whole, and what does not fit beside goes underneath."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

PRINTS = """
from winback.cli.tables import Strip, print_table
print_table({strips}, title={title!r})
"""

Printed = Callable[..., list[str]]

COUNTS = """[
    Strip("campaign, step", ["thank_you", "  thanks"]),
    *(Strip(name, ["12", "3"], right=True) for name in ("planned", "sent", "opened")),
    Strip("", ["50.0%", ""], right=True),
    *(Strip(name, ["12", "3"], right=True) for name in ("bounced", "held out")),
]"""


@pytest.fixture
def printed() -> Printed:
    """Give a function that prints columns in a terminal so wide, and returns the lines."""

    def run(strips: str, width: int, title: str | None = None) -> list[str]:
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
        command = [sys.executable, "-c", PRINTS.format(strips=strips, title=title)]
        subprocess.run(command, stdout=theirs, env=environment, check=True, timeout=60, cwd=Path(__file__).parents[2])
        os.close(theirs)
        output = b""
        while True:
            try:
                piece = os.read(mine, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not piece:
                break
            output += piece
        os.close(mine)
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).splitlines()]

    return run


def test_a_table_that_fits_is_one_table(printed: Printed) -> None:
    lines = printed(COUNTS, 80, "Counts")
    assert lines[0] == "Counts"
    assert lines[1].split() == ["campaign,", "step", "planned", "sent", "opened", "bounced", "held", "out"]
    assert [line.split() for line in lines[3:5]] == [
        ["thank_you", "12", "12", "12", "50.0%", "12", "12"],
        ["thanks", "3", "3", "3", "3", "3"],
    ]


def test_what_does_not_fit_goes_underneath_with_the_first_column_again(printed: Printed) -> None:
    lines = printed(COUNTS, 42)
    heads = [line.split()[-2:] for line in lines if "step" in line]
    # A share stands beside what it is a share of.
    assert heads == [["sent", "opened"], ["held", "out"]]
    assert [line.split() for line in lines if "thank_you" in line] == [
        ["thank_you", "12", "12", "12", "50.0%"],
        ["thank_you", "12", "12"],
    ]
    assert max(map(len, lines)) <= 42


def test_words_are_not_broken_and_empty_columns_are_left_out(printed: Printed) -> None:
    strips = """[
        Strip("customer", ["C1", "C2"]),
        Strip("variant", ["", ""]),
        Strip("name", ["Jürgen Müller-Doppelt", "Élodie"]),
        Strip("why", ["did not consent to this channel and purpose", ""]),
    ]"""
    lines = printed(strips, 40)
    assert not any("variant" in line for line in lines)
    words = " ".join(lines).split()
    assert {"Müller-Doppelt", "consent", "purpose", "customer"} <= set(words)
    assert max(map(len, lines)) <= 40
