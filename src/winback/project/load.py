"""Find a shop, read all of its files, and collect everything that is wrong with them before saying so once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from winback.errors import InputError, Problem, ProjectError
from winback.filemodel import is_name
from winback.project.campaign import Campaign, CampaignFile
from winback.project.problems import explain
from winback.project.project import SECRET_VARIABLE, SHORTEST_SECRET, Project
from winback.project.references import Loaded, check_references
from winback.project.salvage import salvage
from winback.project.settings import Settings
from winback.project.staging import STAGING_VARIABLE, Staging, read_variable
from winback.project.toml import TomlFile, read_toml
from winback.secrets import Secret, bind

if TYPE_CHECKING:
    from winback.audience import ScoreModel, Segment

CONFIG = "config.toml"
CAMPAIGNS = "campaigns"
SCORES = "scores.toml"
AUDIENCES = "audiences.toml"

DATABASE_VARIABLE = "WINBACK_DATABASE_URL"

_T = TypeVar("_T")


def find_root(start: Path) -> Path:
    """Return the nearest folder from `start` upward that has a config.toml. Raise InputError when there is none."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / CONFIG).is_file():
            return folder
    raise InputError(
        f"there is no shop in {start} or above it", "go to a shop's folder, name it with --shop, or make one: winback init DIR"
    )


def load_project(root: Path, *, copy: Path | None = None, environ: Mapping[str, str] | None = None) -> Project:
    """Return the shop's files as one checked value. Touches no database and imports no template engine.

    Raise ProjectError with every problem of every file, InputError when `root` is no shop. `environ` is looked up instead of the
    process's environment. The files are read from `copy` where there is one; what they name is still in `root`.
    """
    project, problems = inspect_project(root, copy=copy, environ=environ)
    if problems:
        raise ProjectError(problems)
    return project


def inspect_project(
    root: Path, *, copy: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Project, list[Problem]]:
    """Return what of the shop's files could be used, and every problem with the rest. Raise InputError when `root` is no shop."""
    root = root.resolve()
    if not ((copy or root) / CONFIG).is_file():
        raise InputError(f"{root} is not a shop: it has no {CONFIG}", "make a shop: winback init DIR")
    reader = _Reader(root, copy or root, os.environ if environ is None else environ)
    loaded = reader.read()
    secret, trial = reader.secret(), reader.trial()
    reader.problems += _not_yet_told(check_references(loaded), reader.problems)
    ordered = sorted(loaded.campaigns.values(), key=lambda campaign: (campaign.priority, campaign.name))
    project = Project(
        root=root,
        settings=loaded.settings or Settings(),
        campaigns={campaign.name: campaign for campaign in ordered},
        scores=loaded.scores,
        segments=loaded.segments,
        own_secret=secret,
        trial=trial,
        copy=copy,
    )
    return project, sorted(set(reader.problems))


def _not_yet_told(found: list[Problem], told: list[Problem]) -> list[Problem]:
    """Return the problems that are not about a key, or a part of it, which has a problem of its own already."""
    keys: dict[Path, set[str]] = {}
    for problem in told:
        keys.setdefault(problem.file, set()).add(problem.key)
    return [problem for problem in found if not any(_is_within(problem.key, key) for key in keys.get(problem.file, ()))]


def _is_within(key: str, outer: str) -> bool:
    return key == outer or key.startswith((f"{outer}.", f"{outer}["))


class _Reader:
    """Reads the files of one shop and collects what is wrong with each alone."""

    def __init__(self, root: Path, folder: Path, environ: Mapping[str, str]) -> None:
        self.root = root
        self.folder = folder
        self.environ = environ
        self.problems: list[Problem] = []

    def read(self) -> Loaded:
        """Return everything that could be read."""
        loaded = Loaded(self.folder)
        config = self._toml(self.folder / CONFIG)
        if config is not None:
            loaded.files[CONFIG] = config
            loaded.settings = self._settings(config)
        folder = self.folder / CAMPAIGNS
        loaded.scores = self._named(folder / SCORES, _score_adapter, loaded)
        loaded.segments = self._named(folder / AUDIENCES, _segment_adapter, loaded)
        for path in sorted(folder.glob("*.toml")):
            if path.name not in (SCORES, AUDIENCES):
                self._campaign(path, loaded)
        return loaded

    def secret(self) -> Secret | None:
        """Return the secret that the environment gives, if it does."""
        given = self.environ.get(SECRET_VARIABLE)
        if given is None:
            return None
        if len(given.encode()) < SHORTEST_SECRET:
            self.problems.append(
                Problem(Path(SECRET_VARIABLE), 0, "", "the secret is too short", f"give it at least {SHORTEST_SECRET} characters")
            )
        return Secret(given)

    def trial(self) -> Staging | None:
        """Return to whom messages go by the environment, None where it says nothing."""
        given = self.environ.get(STAGING_VARIABLE)
        if given is None:
            return None
        try:
            return read_variable(given)
        except ValueError as error:
            message, _, remedy = str(error).partition("; ")
            self.problems.append(Problem(Path(STAGING_VARIABLE), 0, "", message, remedy))
            return Staging()  # nobody

    def _settings(self, file: TomlFile) -> Settings | None:
        tables = bind(file.tables, root=self.root, environ=self.environ)
        url = self.environ.get(DATABASE_VARIABLE)
        settings = self._valid(_settings_adapter(), file, tables) or salvage(_settings_adapter(), tables)
        if settings is None or not url:
            return settings
        database = settings.database.model_copy(update={"url": url})
        return settings.model_copy(update={"database": database})

    def _campaign(self, path: Path, loaded: Loaded) -> None:
        name = path.stem
        file = self._toml(path)
        if file is None:
            loaded.broken.add(name)
            return
        if not is_name(name):
            self.problems.append(
                Problem(
                    file.path, 0, "", f"{name!r} cannot be a campaign's name", "name the file with small letters, digits, - and _"
                )
            )
            return
        loaded.files[name] = file
        checked = self._valid(_campaign_adapter(), file, file.tables)
        if checked is None:
            loaded.broken.add(name)
            checked = salvage(_campaign_adapter(), file.tables)
        if checked is None:
            return
        fields = {key: getattr(checked, key) for key in CampaignFile.model_fields}
        loaded.campaigns[name] = Campaign.model_construct(
            **fields, name=name, path=self.root / file.path, definition_hash=_definition_hash(file.tables)
        )

    def _named(self, path: Path, adapter: Any, loaded: Loaded) -> dict[str, Any]:
        """Return the models of a file in which each table is one, by its name."""
        if not path.is_file():
            return {}
        file = self._toml(path)
        if file is None:
            loaded.broken.add(path.name)
            return {}
        loaded.files[path.name] = file
        found = {}
        for name, table in file.tables.items():
            if not is_name(name):
                self.problems.append(file.problem((name,), f"{name!r} cannot be a name", "use small letters, digits, - and _"))
                loaded.broken.add(f"{path.name}:{name}")
                continue
            if not isinstance(table, dict):
                self.problems.append(file.problem((name,), "stands outside of a table", "begin a table with [name] above it"))
                continue
            if "name" in table:
                self.problems.append(file.problem((name, "name"), "unknown key", f"take it out; [{name}] is its name"))
            model = self._valid(adapter(), file, {**table, "name": name}, base=(name,))
            if model is None:
                loaded.broken.add(f"{path.name}:{name}")
            else:
                found[name] = model
        return found

    def _toml(self, path: Path) -> TomlFile | None:
        file = read_toml(self.folder, path)
        if isinstance(file, Problem):
            self.problems.append(file)
            return None
        return file

    def _valid(self, adapter: TypeAdapter[_T], file: TomlFile, tables: Any, base: tuple[str, ...] = ()) -> _T | None:
        try:
            return adapter.validate_python(tables)
        except ValidationError as error:
            self.problems += explain(error, adapter, file, base)
            return None


def _definition_hash(tables: Mapping[str, Any]) -> str:
    """Return a digest of what a campaign file says; comments, order of keys and spacing do not change it."""
    canonical = json.dumps(tables, sort_keys=True, ensure_ascii=False, default=str, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


@cache
def _settings_adapter() -> TypeAdapter[Settings]:
    return TypeAdapter(Settings)


@cache
def _campaign_adapter() -> TypeAdapter[CampaignFile]:
    return TypeAdapter(CampaignFile)


@cache
def _score_adapter() -> TypeAdapter[ScoreModel]:
    from winback.audience import ScoreModel

    return TypeAdapter(ScoreModel)


@cache
def _segment_adapter() -> TypeAdapter[Segment]:
    from winback.audience import Segment

    return TypeAdapter(Segment)
