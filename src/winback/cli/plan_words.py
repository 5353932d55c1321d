"""What `winback plan` found, for people: as text for the terminal, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from winback.plan.changes import AudienceChange, Effects, Fate, Running, Waiting
from winback.versions import FileChange, KeyChange, Kind, Version

if TYPE_CHECKING:
    from winback.project import Project

#: Letters of a value and lines of a template that are shown; JSON has all of them.
_VALUE, _LINES = 90, 40

_SIGNS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}

NEVER_AGAIN = "Nobody gets a step again that they have had."


def as_text(base: Version | None, files: Sequence[FileChange], effects: Effects, project: Project) -> Iterator[str]:
    """Yield lines for the terminal."""
    yield f"{_count(len(files), 'file')} changed against {base_words(base, project)}"
    for change in files:
        if change.kind is Kind.CHANGED:
            yield ""
        yield from file_lines(change)
    if effects.audiences:
        yield "\nWho it is for"
        for audience in effects.audiences:
            yield from _audience_lines(audience)
    if effects.running:
        yield "\nWho is in it now"
        for running in effects.running:
            yield from running_lines(running)
        yield f"  {NEVER_AGAIN}"


def file_lines(change: FileChange) -> Iterator[str]:
    """Yield what changed in one file."""
    yield f"{change.path}: {change.kind}{_only_comments(change)}"
    if change.kind is Kind.CHANGED and change.keys:
        width = min(40, max(len(key.key) for key in change.keys))
        for key in change.keys:
            yield f"  {_SIGNS[key.kind]} {key.key:<{width}}  {_values(key)}"
    elif change.kind is Kind.CHANGED:
        yield from (f"    {line}" for line in _shown(change.lines))


def running_lines(running: Running) -> Iterator[str]:
    """Yield what becomes of the people in one campaign."""
    yield f"  {running.campaign}: {_people(running.people)}"
    for waiting in running.waiting:
        yield f"    {_number(waiting.count)} {_fate(waiting)} ({_some(waiting.samples, waiting.count)})"
    if running.messages_go:
        yield f"    {_count(running.messages_go, 'message')} written for the next day: made from the new files"
    if running.messages_cancelled:
        yield f"    {_count(running.messages_cancelled, 'message')} written for the next day: cancelled"


def _audience_lines(audience: AudienceChange) -> Iterator[str]:
    yield f"  {audience.campaign}: {_number(audience.before)} → {_people(audience.after)}"
    for count, samples, words in (
        (audience.joining, audience.joining_samples, "more"),
        (audience.leaving, audience.leaving_samples, "no longer"),
    ):
        if count:
            yield f"    {_number(count)} {words} ({_some(samples, count)})"
    yield f"    the next pass lets in {_number(audience.comes_in_after)}, by the files before {_number(audience.comes_in_before)}"


def as_markdown(base: Version | None, files: Sequence[FileChange], effects: Effects, project: Project) -> Iterator[str]:
    """Yield lines of a comment on a pull request."""
    yield f"### winback plan: {_count(len(files), 'file')} changed\n"
    yield f"Against {base_words(base, project)}.\n"
    for change in files:
        yield f"**`{change.path}`** {change.kind}{_only_comments(change)}\n"
        if change.kind is Kind.CHANGED and change.keys:
            yield "| | key | before | after |\n|---|---|---|---|"
            for key in change.keys:
                yield f"| {_SIGNS[key.kind]} | `{key.key}` | {_cell(key.before)} | {_cell(key.after)} |"
            yield ""
        elif change.kind is Kind.CHANGED and change.lines:
            yield "````diff"
            yield from _shown(change.lines)
            yield "````\n"
    if effects.audiences:
        yield "#### Who it is for\n"
        yield "| campaign | before | after | more | no longer | next pass lets in |\n|---|--:|--:|---|---|--:|"
        for each in effects.audiences:
            more, fewer = _joined(each.joining, each.joining_samples), _joined(each.leaving, each.leaving_samples)
            numbers = f"{_number(each.before)} | {_number(each.after)}"
            yield f"| {each.campaign} | {numbers} | {more} | {fewer} | {_number(each.comes_in_after)} |"
        yield ""
    if effects.running:
        yield "#### Who is in it now\n"
        yield "| campaign | people | what becomes of them |\n|---|--:|---|"
        for running in effects.running:
            for waiting in running.waiting:
                yield f"| {running.campaign} | {_number(waiting.count)} | {_fate(waiting)} |"
            if running.messages_go or running.messages_cancelled:
                written = (
                    f"messages written for the next day: {running.messages_go} go, {running.messages_cancelled} are cancelled"
                )
                yield f"| {running.campaign} | | {written} |"
        yield f"\n{NEVER_AGAIN}"


def base_words(base: Version | None, project: Project) -> str:
    """Name what the files are compared with."""
    if base is None:
        return "nothing: no files have been applied yet"
    zone = ZoneInfo(project.settings.shop.zone)
    by = "by itself" if base.automatic else f"by {base.applied_by}"
    return f"{base}, applied {base.applied_at.astimezone(zone):%Y-%m-%d %H:%M} {by}"


def _fate(waiting: Waiting) -> str:
    match waiting.fate:
        case Fate.STOPS:
            return f"wait for {waiting.step}, and the campaign is off: nothing goes until it is back"
        case Fate.LEAVES:
            renamed = f"; {waiting.renamed} has its letter: under the old name they would get it" if waiting.renamed else ""
            return f"wait for {waiting.step}, which is gone: they leave the campaign and get nothing more of it{renamed}"
        case Fate.GOES_ON:
            later = f", and later {', '.join(waiting.gets)}" if waiting.gets else ""
            missed = f"; not {', '.join(waiting.misses)}, for which it is too late" if waiting.misses else ""
            return f"wait for {waiting.step}: they get it when it is due, as before{later}{missed}"


def _values(change: KeyChange) -> str:
    if change.kind is Kind.CHANGED:
        return f"{_cut(change.before)} → {_cut(change.after)}"
    return _cut(change.before or change.after)


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE else text[: _VALUE - 1] + "…"


def _cell(text: str) -> str:
    """Return a value as code in a cell of a table, where | would end it."""
    return "" if not text else f"`` {_cut(text).replace('|', chr(92) + '|')} ``"


def _shown(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_LINES]
    if len(lines) > _LINES:
        yield f"… {len(lines) - _LINES} more lines"


def _only_comments(change: FileChange) -> str:
    empty = change.kind is Kind.CHANGED and not change.keys and not change.lines
    return ", but only in comments or the order of keys" if empty else ""


def _some(samples: Sequence[str], count: int) -> str:
    return ", ".join(samples) + (", …" if count > len(samples) else "")


def _joined(count: int, samples: Sequence[str]) -> str:
    return f"{_number(count)}: {_some(samples, count)}" if count else "0"


def _people(count: int) -> str:
    return f"{_number(count)} {'person' if count == 1 else 'people'}"


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _count(count: int, noun: str) -> str:
    return f"{_number(count)} {noun}{'' if count == 1 else 's'}"
