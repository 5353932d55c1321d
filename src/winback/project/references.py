"""Check what the files of a shop say of each other: templates, expressions, steps, campaigns, segments, scores, gateways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from winback.errors import ExpressionError, Problem
from winback.project.campaign import Campaign, Step
from winback.project.problems import suggestion
from winback.project.settings import Settings
from winback.project.signing import is_aligned
from winback.project.toml import KeyPath, TomlFile
from winback.project.values import TEMPLATE_ENDS
from winback.store import Channel

if TYPE_CHECKING:
    from winback.audience import ScoreModel, Segment

#: A step that comes longer than this after the one before is a slip of the finger.
_LONGEST_WAIT = timedelta(days=731)

#: A pass comes up to some minutes after a message was due; less would skip every message.
_SHORTEST_LATE = timedelta(minutes=10)

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")

#: The file a channel's template is in.
MAIN_END = {Channel.EMAIL: ".email.html", Channel.SMS: ".sms.txt"}

_SECRET_WORDS = re.compile(r"(?:^|_)(?:password|passwd|secret|token|api_?key|private_?key|auth_?key)$")

#: Calls of functions in expressions whose first argument names something of the files.
_CALL = re.compile(r"\b(\w+)\s*\(\s*'((?:[^']|'')*)'\s*([,)])")
_WRITTEN_TO = ("received", "opened", "clicked")


@dataclass
class Loaded:
    """What could be read of a shop. `broken` names what is there but could not be used, so that nobody calls it missing."""

    folder: Path  # of the files
    settings: Settings | None = None
    campaigns: dict[str, Campaign] = field(default_factory=dict)  # also what could be salvaged of broken ones
    scores: dict[str, ScoreModel] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    files: dict[str, TomlFile] = field(default_factory=dict)  # by campaign's or file's name
    broken: set[str] = field(default_factory=set)


def check_references(loaded: Loaded) -> list[Problem]:
    """Return everything that is wrong between the files of a shop, or within one file across its tables."""
    problems: list[Problem] = []
    if loaded.settings is not None:
        problems += _settings(loaded.settings, loaded.files["config.toml"])
    for name, segment in loaded.segments.items():
        problems += _expression(loaded, loaded.files["audiences.toml"], (name, "where"), segment.where)
    problems += _segment_cycles(loaded)
    templates = template_names(loaded.folder / "templates")
    for campaign in loaded.campaigns.values():
        problems += _Check(loaded, campaign, templates).problems()
    return problems


def _settings(settings: Settings, file: TomlFile) -> Iterator[Problem]:
    for channel in Channel:
        name = settings.deliver.for_channel(channel)
        if name not in settings.gateways:
            remedy = suggestion(name, settings.gateways) + f" Or add a table [gateways.{name}]"
            yield file.problem(("deliver", channel.value), f"there is no gateway {name!r}", remedy)
    for name, gateway in settings.gateways.items():
        yield from _literal_secrets(file, ("gateways", name), gateway.options)
    yield from _signing(settings, file)
    web = settings.web
    opened = web.host not in _LOCAL_HOSTS
    if opened and web.password is None and "password" not in file.tables["web"]:  # a wrong one has a problem of its own
        yield file.problem(
            ("web", "host"),
            f"{web.host!r} opens the pages to the network without a password",
            'set password = { env = "WINBACK_PASSWORD" } in [web], or host = "127.0.0.1"',
        )


def _signing(settings: Settings, file: TomlFile) -> Iterator[Problem]:
    """Find signatures that no receiver counts as the sender's, and two of one name."""
    shop = settings.shop
    written = file.tables.get("shop", {})
    if not isinstance(written, dict) or ("email_from" in written and "email_from" not in shop.model_fields_set):
        return  # where letters come from is not known; that has a problem of its own
    sender = shop.email_from.rpartition("@")[2]
    names = set()
    for place, key in enumerate(settings.dkim):
        path: KeyPath = ("dkim", place) if isinstance(file.tables["dkim"], list) else ("dkim",)
        domain = settings.signing_domain(key)
        if not is_aligned(domain, sender):
            message = f"letters come from {sender}, so that a signature of {domain} counts for nothing (DMARC)"
            yield file.problem((*path, "domain"), message, f'write domain = "{sender}", or take it out')
        if (domain, key.selector) in names:
            yield file.problem((*path, "selector"), "another key has this name", "give each key a selector of its own")
        names.add((domain, key.selector))


def _literal_secrets(file: TomlFile, path: KeyPath, table: Mapping[str, Any]) -> Iterator[Problem]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _literal_secrets(file, (*path, key), value)
        elif isinstance(value, str) and value and _SECRET_WORDS.search(key.lower()):
            yield file.problem(
                (*path, key),
                "a secret must not stand in the file",
                'write { env = "NAME" } to take it from the environment, or { file = "path" }',
            )


def _segment_cycles(loaded: Loaded) -> Iterator[Problem]:
    """Find segments that are defined by each other: nobody could ever say who is in them."""
    uses = {
        name: [called for function, called, _ in _calls(segment.where) if function in ("segment", "in_segment")]
        for name, segment in loaded.segments.items()
    }
    for name, used in uses.items():
        seen, todo = set(), list(used)
        while todo:
            other = todo.pop()
            if other == name:
                file = loaded.files["audiences.toml"]
                yield file.problem((name, "where"), f"{name!r} is defined by itself", "take out the reference back to it")
                break
            if other not in seen:
                seen.add(other)
                todo += uses.get(other, [])


class _Check:
    """Checks one campaign against the rest of the shop."""

    def __init__(self, loaded: Loaded, campaign: Campaign, templates: Mapping[str, set[str]]) -> None:
        self.loaded = loaded
        self.campaign = campaign
        self.file = loaded.files[campaign.name]
        self.templates = templates

    def problems(self) -> Iterator[Problem]:
        """Yield everything that is wrong, in the order of the file as far as that is easy."""
        yield from self._audience()
        yield from self._muted_by()
        yield from self._late()
        yield from self._variants()
        if self.campaign.exit.when is not None:
            yield from self._expression(("exit", "when"), self.campaign.exit.when)
        seen: set[str] = set()
        before: Step | None = None
        for place, step in enumerate(self.campaign.steps):
            path = ("steps", place)
            if step.name in seen:
                yield self.file.problem((*path, "name"), f"there are two steps {step.name!r}", "give each step a name of its own")
            seen.add(step.name)
            yield from self._step(path, step, before)
            before = step

    def _audience(self) -> Iterator[Problem]:
        audience = self.campaign.audience
        if audience.where is not None:
            yield from _expression(self.loaded, self.file, ("audience", "where"), audience.where)
        segment = getattr(audience, "segment", None)
        if isinstance(segment, str) and not self._known(segment, self.loaded.segments, "audiences.toml"):
            yield self.file.problem(
                ("audience", "segment"),
                f"there is no segment {segment!r}",
                suggestion(segment, self.loaded.segments) or "define it in campaigns/audiences.toml",
            )
        score = getattr(audience, "score", None)
        if isinstance(score, str):
            yield from self._score(score, getattr(audience, "level", None))

    def _score(self, score: str, level: str | None) -> Iterator[Problem]:
        if not self._known(score, self.loaded.scores, "scores.toml"):
            yield self.file.problem(
                ("audience", "score"),
                f"there is no score {score!r}",
                suggestion(score, self.loaded.scores) or "define it in campaigns/scores.toml",
            )
        model = self.loaded.scores.get(score)
        if model is not None and level is not None:
            levels = [each.name for each in model.levels]
            if level not in levels:
                yield self.file.problem(
                    ("audience", "level"), f"the score {score!r} has no level {level!r}", suggestion(level, levels)
                )

    def _known(self, name: str, found: Mapping[str, object], file: str) -> bool:
        return name in found or file in self.loaded.broken or f"{file}:{name}" in self.loaded.broken

    def _muted_by(self) -> Iterator[Problem]:
        others = {*self.loaded.campaigns, *self.loaded.broken} - {self.campaign.name}
        for name in self.campaign.limits.muted_by:
            if name == self.campaign.name:
                yield self.file.problem(("limits", "muted_by", name), "the campaign mutes itself", "that is what cooldown is for")
            elif name not in others:
                known = suggestion(name, others) or "name a file of campaigns/"
                yield self.file.problem(("limits", "muted_by", name), f"there is no campaign {name!r}", known)

    def _late(self) -> Iterator[Problem]:
        if self.campaign.schedule.late < _SHORTEST_LATE:
            yield self.file.problem(
                ("schedule", "late"), "is so short that every message would be skipped", "write at least '10min', better '2h'"
            )

    def _variants(self) -> Iterator[Problem]:
        shares = self.campaign.variants
        total = sum(shares.values())
        if total > 10_000:
            yield self.file.problem(("variants",), f"the arms make {total / 100:g} % together", "make them 100 % at most")
        elif "a" in shares and total < 10_000:
            yield self.file.problem(
                ("variants", "a"), f"the arms make only {total / 100:g} % together", 'take "a" out: it is the rest by itself'
            )
        used = {name for step in self.campaign.steps for name in step.variants}
        for name in shares:
            if name not in used and name != "a":
                yield self.file.problem(
                    ("variants", name),
                    f"arm {name!r} gets the same as everybody",
                    f"add a [steps.variants.{name}] table below a step",
                )

    def _step(self, path: KeyPath, step: Step, before: Step | None) -> Iterator[Problem]:
        if step.after > _LONGEST_WAIT:
            yield self.file.problem((*path, "after"), "is longer than two years", "write a shorter time")
        at = self.campaign.schedule.at
        together = (
            before is not None and not step.after and step.channel is before.channel and (step.at or at) == (before.at or at)
        )
        if together and before is not None and step.only_if is None and before.only_if is None:
            yield self.file.problem(
                (*path, "after"),
                f"goes at the same moment as {before.name!r}",
                'add after = "3d", or an only_if to one of the two',
            )
        if step.only_if is not None:
            yield from self._expression((*path, "only_if"), step.only_if)
        yield from self._subjects(path, step)
        yield from self._fallback(path, step)
        yield from self._template((*path, "template"), step.template, step.channel)
        for name, own in step.variants.items():
            yield from self._variant((*path, "variants", name), step, name, own.template, own.subject)

    def _subjects(self, path: KeyPath, step: Step) -> Iterator[Problem]:
        channels = {step.channel} | ({step.fallback.channel} if step.fallback else set())
        if Channel.EMAIL not in channels:
            for key in ("subject", "preheader"):
                if getattr(step, key) is not None:
                    yield self.file.problem((*path, key), f"an SMS has no {key}", "take it out")
        elif step.subject is None:
            yield self.file.problem((*path, "subject"), "is missing: an e-mail needs one", 'add subject = "…"')

    def _fallback(self, path: KeyPath, step: Step) -> Iterator[Problem]:
        fallback = step.fallback
        if fallback is None:
            return
        if fallback.channel is step.channel:
            other = next(channel for channel in Channel if channel is not step.channel)
            yield self.file.problem(
                (*path, "fallback", "channel"),
                f"the fallback is the step's own channel, {step.channel}",
                f'write channel = "{other}"',
            )
            return
        if "hard_bounce" in fallback.on and step.channel is Channel.SMS and len(fallback.on) == 1:
            yield self.file.problem(
                (*path, "fallback", "on"), "an SMS does not bounce hard", 'write on = ["no_address", "no_consent"]'
            )
        key = "template" if fallback.template else "channel"
        yield from self._template((*path, "fallback", key), fallback.template or step.template, fallback.channel)

    def _variant(self, path: KeyPath, step: Step, name: str, template: str | None, subject: str | None) -> Iterator[Problem]:
        if name not in self.campaign.variants and name != "a":
            known = suggestion(name, self.campaign.variants) or f'add {name} = "50%" to a [variants] table'
            yield self.file.problem(path, f"the campaign has no arm {name!r}", known)
        if template is not None:
            yield from self._template((*path, "template"), template, step.channel)
        if subject is not None and step.channel is Channel.SMS:
            yield self.file.problem((*path, "subject"), "an SMS has no subject", "take it out")

    def _template(self, path: KeyPath, template: str, channel: Channel) -> Iterator[Problem]:
        end = MAIN_END[channel]
        if template in self.templates[end]:
            return
        near = get_close_matches(template, sorted(self.templates[end]), n=1, cutoff=0.6)
        remedy = f"did you mean {near[0]!r}?" if near else "make the file"
        yield self.file.problem(path, f"there is no file templates/{template}{end}", remedy)

    def _expression(self, path: KeyPath, expression: str) -> Iterator[Problem]:
        """Check an expression about an enrollment: it may also ask about this campaign's own steps."""
        wrong = list(_expression(self.loaded, self.file, path, expression, scope="enrollment"))
        yield from wrong
        steps = [step.name for step in self.campaign.steps]
        for function, called, after in _calls(expression):
            if not wrong and function in _WRITTEN_TO and after == ")" and called not in steps:
                yield self.file.problem(path, f"this campaign has no step {called!r}", suggestion(called, steps))


def _expression(
    loaded: Loaded, file: TomlFile, path: KeyPath, expression: str, *, scope: Literal["customer", "enrollment"] = "customer"
) -> Iterator[Problem]:
    from winback.audience import check_expression

    try:
        check_expression(expression, scope=scope, segments=loaded.segments, scores=loaded.scores)
    except ExpressionError as error:
        where = f"at character {error.column}: " if error.column else ""
        yield file.problem(path, f"{where}{error.message}", error.remedy)
        return
    known = {*loaded.campaigns, *loaded.broken}
    for function, called, after in _calls(expression):
        names_a_campaign = function in _WRITTEN_TO and (scope == "customer" or after == ",")
        if names_a_campaign and called not in known:
            yield file.problem(path, f"there is no campaign {called!r}", suggestion(called, loaded.campaigns))


def _calls(expression: str) -> Iterable[tuple[str, str, str]]:
    """Yield the function, its first text and what follows it, for each call in an expression that begins with a text."""
    for found in _CALL.finditer(expression):
        yield found[1].lower(), found[2].replace("''", "'"), found[3]


def template_names(folder: Path) -> dict[str, set[str]]:
    """Return the templates there are, by the end of their file's name."""
    names: dict[str, set[str]] = {end: set() for end in TEMPLATE_ENDS}
    if folder.is_dir():
        for path in folder.rglob("*.*"):
            name = path.relative_to(folder).as_posix()
            for end in TEMPLATE_ENDS:
                if name.endswith(end):
                    names[end].add(name.removesuffix(end))
    return names


__all__ = ["MAIN_END", "Loaded", "check_references", "template_names"]
