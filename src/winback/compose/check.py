"""Every template rendered for made-up people, every key that signs letters read: what is wrong, as file, line and remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from winback.compose.composer import Composer
from winback.compose.html import LARGE
from winback.compose.message import Composed, LinkTarget
from winback.compose.samples import SAMPLE_NOW, Sample, sample_recipient, samples_for
from winback.errors import Problem, RenderError, SigningError
from winback.project import Campaign, Project, Step
from winback.project.load import CONFIG
from winback.project.toml import KeyPath, read_toml

#: A preview is never sent, so its links need no secret; a real one would have to be made in var/ by a command that only reads.
_SAMPLE_KEY = b"samples are never sent by anybody"[:32]

#: Longer text messages cost as much as three and read like a letter.
_MANY_SEGMENTS = 3


def check_templates(project: Project) -> list[Problem]:
    """Return every problem of every template that a campaign uses, in all arms, channels and languages, each once."""
    composer = Composer(project, links_key=_SAMPLE_KEY, signed=False)
    problems: set[Problem] = set()
    for campaign in project.campaigns.values():
        for step in campaign.steps:
            for variant in _arms(campaign):
                problems |= set(_step_problems(project, composer, campaign, step, variant))
    return sorted(problems)


def check_signing(project: Project) -> list[Problem]:
    """Return what is wrong with the keys that sign letters. A key that is not here is no problem: it may be where letters go."""
    file = read_toml(project.folder, project.folder / CONFIG)
    if not project.settings.dkim or isinstance(file, Problem):
        return []
    from winback.compose.dkim_keys import is_available, load_key  # the library for keys takes a while to load

    problems = []
    for place, key in enumerate(project.settings.dkim):
        if not is_available(key.private_key):
            continue
        try:
            load_key(project.settings, key)
        except SigningError as error:
            table: KeyPath = ("dkim", place) if isinstance(file.tables["dkim"], list) else ("dkim",)
            problems.append(file.problem((*table, "private_key"), error.message, error.remedy))
    return problems


def _arms(campaign: Campaign) -> list[str]:
    return ["a", *campaign.variants] if campaign.variants else [""]


def _step_problems(project: Project, composer: Composer, campaign: Campaign, step: Step, variant: str) -> Iterator[Problem]:
    key = f"steps.{step.name}"
    arm = step.for_variant(variant)
    for channel in (step.channel, *((step.fallback.channel,) if step.fallback else ())):
        template = (
            arm.fallback.template if arm.fallback and channel is not step.channel and arm.fallback.template else arm.template
        )
        for locale in (None, *composer.languages(template, channel)):
            for sample in samples_for(campaign):
                recipient = sample_recipient(project, campaign, step, sample=sample, channel=channel, locale=locale)
                try:
                    composed = composer.compose(campaign, step, recipient, variant=variant, now=SAMPLE_NOW, link_ids=_sample_ids)
                except RenderError as error:
                    remedy = error.remedy + (f" (found with the {sample} sample)" if sample is not Sample.USUAL else "")
                    yield Problem(_absolute(project, error.file or campaign.path), error.line, key, error.problem, remedy)
                    break  # the other samples mostly fail for the same reason
                if sample is Sample.USUAL:
                    yield from _warnings(project, composed, template, key)


def _warnings(project: Project, composed: Composed, template: str, key: str) -> Iterator[Problem]:
    """Yield what would be sent, but not read as it should be."""
    if composed.html is not None and composed.size >= LARGE:
        file = project.templates / f"{template}.email.html"
        kilobytes = composed.size // 1000
        yield Problem(file, 0, key, f"the mail has {kilobytes} kB, and Gmail cuts off at 102 kB", "shorten it")
    if composed.segments is not None and composed.segments.count > _MANY_SEGMENTS:
        file = project.templates / f"{template}.sms.txt"
        why = f", because of {composed.segments.offending!r}" if composed.segments.offending else ""
        yield Problem(file, 0, key, f"the text message costs {composed.segments.count} parts{why}", "shorten it")


def _absolute(project: Project, path: Path) -> Path:
    return path if path.is_absolute() else project.root / path


def _sample_ids(targets: Sequence[LinkTarget]) -> list[int]:
    return list(range(1, len(targets) + 1))
