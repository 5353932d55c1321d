"""Find and read tests of campaigns, and make sure that what they name is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from winback.errors import InputError, Problem
from winback.policy import FALLBACK_SUFFIX, REASONS
from winback.project import Campaign, Project
from winback.project.casefile import FOLDER, Case, CaseFile
from winback.project.problems import explain, suggestion
from winback.project.toml import KeyPath, TomlFile, read_toml

#: Why somebody gets nothing, besides the rules: words of `winback explain`.
_BESIDES = ("audience", "where", "already", "withdrawn")


@dataclass(frozen=True)
class CaseBook:
    """A file of tests."""

    file: TomlFile
    content: CaseFile

    def campaigns(self, case: Case) -> tuple[str, ...]:
        """Return the campaigns that run in a test."""
        return self.content.campaigns if case.campaigns is None else case.campaigns


def find_files(project: Project, given: Sequence[Path] = ()) -> list[Path]:
    """Return the files of tests: those given, everything in folders that are given, else all below campaigns/tests/.

    Raise InputError for a file that is not there.
    """
    found = []
    for path in given or [project.root / "campaigns" / FOLDER]:
        if path.is_dir():
            found += sorted(path.rglob("*.toml"))
        elif path.is_file():
            found.append(path)
        elif given:
            raise InputError(f"there is no file {path}", "tests of campaigns are in campaigns/tests/, or name a file")
    return found


def read_tests(project: Project, paths: Sequence[Path]) -> tuple[list[CaseBook], list[Problem]]:
    """Return the tests that can be run, and every problem with the others."""
    found, problems = [], []
    for path in (path.resolve() for path in paths):
        file = read_toml(project.root if path.is_relative_to(project.root) else path.parent, path)
        if isinstance(file, Problem):
            problems.append(file)
            continue
        try:
            content = _adapter().validate_python(file.tables)
        except ValidationError as error:
            problems += explain(error, _adapter(), file)
            continue
        wrong = list(_dangling(project, file, content))
        problems += wrong
        if not wrong:
            found.append(CaseBook(file, content))
    return found, problems


@cache
def _adapter() -> TypeAdapter[CaseFile]:
    return TypeAdapter(CaseFile)


def _dangling(project: Project, file: TomlFile, content: CaseFile) -> Iterator[Problem]:
    """Yield what names something that is not there."""
    yield from _campaigns(project, file, ("campaigns",), content.campaigns)
    yield from _people(file, (), content, content.customers)
    for place, case in enumerate(content.tests):
        path: KeyPath = ("tests", place)
        if case.campaigns is not None:
            yield from _campaigns(project, file, (*path, "campaigns"), case.campaigns)
        elif not content.campaigns:
            yield file.problem(path, "does not say which campaigns run", 'write campaigns = ["birthday"] at the top of the file')
        yield from _people(file, path, case, {**content.customers, **case.customers})
        names = content.campaigns if case.campaigns is None else case.campaigns
        running = [project.campaigns[name] for name in names if name in project.campaigns]
        for number, expected in enumerate(case.expect):
            yield from _expected(file, (*path, "expect", number), expected, running)
        for number, reaction in enumerate(case.reactions):
            yield from _step(file, (*path, "reactions", number, "step"), reaction.step, running)


def _campaigns(project: Project, file: TomlFile, path: KeyPath, names: Sequence[str]) -> Iterator[Problem]:
    for place, name in enumerate(names):
        if name not in project.campaigns:
            yield file.problem((*path, place), f"there is no campaign {name!r}", suggestion(name, project.campaigns))


def _people(file: TomlFile, path: KeyPath, tables: Any, known: Any) -> Iterator[Problem]:
    for key in ("orders", "events", "changes", "reactions", "expect"):
        for place, each in enumerate(getattr(tables, key, ())):
            if each.customer not in known:
                where = (*path, key, place, "customer")
                yield file.problem(where, f"there is no customer {each.customer!r}", suggestion(each.customer, known))


def _expected(file: TomlFile, path: KeyPath, expected: Any, running: Sequence[Campaign]) -> Iterator[Problem]:
    names = [campaign.name for campaign in running]
    if expected.campaign is not None and expected.campaign not in names:
        yield file.problem(
            (*path, "campaign"), f"{expected.campaign!r} does not run in this test", suggestion(expected.campaign, names)
        )
    elif expected.campaign is None and len(running) > 1:
        yield file.problem(path, "does not say which campaign", f"add campaign = one of {', '.join(names)}")
    if expected.step is not None:
        yield from _step(file, (*path, "step"), expected.step, running)
    elif expected.skipped is None:
        yield file.problem(
            path, "does not say which message", 'add step = "…", or skipped = "…" for somebody who does not come in'
        )
    if expected.skipped is not None and expected.skipped not in (*REASONS, *_BESIDES):
        yield file.problem(
            (*path, "skipped"), f"{expected.skipped!r} is no reason", suggestion(expected.skipped, (*REASONS, *_BESIDES))
        )


def _step(file: TomlFile, path: KeyPath, name: str, running: Sequence[Campaign]) -> Iterator[Problem]:
    steps = [step.name for campaign in running for step in campaign.steps]
    if steps and name.removesuffix(FALLBACK_SUFFIX) not in steps:
        yield file.problem(path, f"no campaign of this test has a step {name!r}", suggestion(name, steps))
