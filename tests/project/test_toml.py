"""Every key is found on its line, however the file is laid out."""

from __future__ import annotations

from pathlib import Path

import pytest

from winback.errors import Problem
from winback.project.toml import KeyPath, TomlFile, read_toml

TEXT = """\
# a comment
title = "x"

[audience] # where
preset = "sleeping"
"odd key" = 3

[a.b]
c.d = 1

[[steps]]
name = "one"
coupon = { pool = "X", expires = "14d" }
list = [
  "first", # why
  { inner = 1 },
]

[steps.variants.b]
subject = "B"

[[steps]]
# no name
after = "3d"
"""


@pytest.fixture
def file(tmp_path: Path) -> TomlFile:
    path = tmp_path / "case.toml"
    path.write_text(TEXT)
    read = read_toml(tmp_path, path)
    assert isinstance(read, TomlFile)
    return read


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("audience",), 4),
        (("audience", "preset"), 5),
        (("audience", "odd key"), 6),
        (("a", "b", "c", "d"), 9),
        (("steps",), 11),
        (("steps", 0, "name"), 12),
        (("steps", 0, "coupon", "expires"), 13),
        (("steps", 0, "list", 0), 15),
        (("steps", 0, "list", 1, "inner"), 16),
        (("steps", 0, "variants", "b", "subject"), 20),
        (("steps", 1), 22),
        (("steps", 1, "after"), 24),
        (("steps", 1, "missing"), 22),  # what is not there is missed where its table begins
        (("nowhere",), 1),
    ],
)
def test_a_key_is_found_on_its_line(file: TomlFile, path: KeyPath, line: int) -> None:
    assert file.line(path) == line


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (("audience", "preset"), "audience.preset"),
        (("steps", 0, "coupon", "expires"), "steps.one.coupon.expires"),
        (("steps", 1, "after"), "steps[2].after"),
        (("steps", 0, "list", 0), "steps.one.list[1]"),
    ],
)
def test_a_key_is_shown_as_people_would_name_it(file: TomlFile, path: KeyPath, shown: str) -> None:
    assert file.key(path) == shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('a = "x"\nb = \n', "case.toml:2: b: the value cannot be read; put texts, times and durations in quotes"),
        ('a = "x"\nb "y"\n', 'case.toml:2: there is no = after the key; write key = "value"'),
        ("at = 9:30\n", 'case.toml:1: at: a time is not in quotes; write "09:30"'),
        ("a = 1\na = 2\n", "case.toml:2: a: this key is written twice; keep one of them"),
        ('a = ["x",\n', "case.toml:1: a: the file ends within a value; close a list with ], a table with }, a text with quotes"),
        ('a = ["x"\nb = 1\n', "case.toml:2: b: a list is not closed; add ] and separate its items with commas"),
        ('a = { b = "x"\n', "case.toml:1: a: a { } table is not closed; add } and separate its keys with commas"),
        ('a = "x" "y"\n', "case.toml:1: a: there is something after the value; put the value in quotes, or begin a new line"),
        (
            'a = "c:\\x"\n',
            "case.toml:1: a: a backslash in a text means something special; double it, or put the text in single quotes",
        ),
        ('a = """x\n', "case.toml:1: a: a text is not closed; close it with the same quotes it began with"),
    ],
)
def test_what_is_no_toml_is_said_in_plain_words(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    path.write_text(text)
    found = read_toml(tmp_path, path)
    assert isinstance(found, Problem)
    assert str(found) == problem
