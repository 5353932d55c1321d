"""The files of a shop that runs: what `winback check` asks is asked before a change is taken over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sqlalchemy import Engine

from winback.errors import Problem
from winback.project import Project
from winback.project.completeness import check_gateways, renderable
from winback.project.watch import ShopFiles
from winback.versions import Applied


def running_files(root: Path, engine: Engine | None = None, *, host: str | None = None, port: int | None = None) -> ShopFiles:
    """Return the shop's files for the daemon: changes are taken over when nothing is wrong with them, templates included.

    With the database, `engine`, the applied version is what runs where changes wait for `winback apply`. `host` and `port` go
    before what the files say. Raise ProjectError when they cannot be read to begin with.
    """
    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}

    def adjust(project: Project) -> Project:
        web = project.settings.web.model_copy(update=given)
        return replace(project, settings=project.settings.model_copy(update={"web": web}))

    source = None if engine is None else Applied(engine, root.resolve())
    return ShopFiles(root, source=source, checks=(check_beyond_files,), adjust=adjust if given else None)


def check_beyond_files(project: Project) -> list[Problem]:
    """Return what is wrong with gateways, keys and templates, as far as the files could be used."""
    from winback.compose.check import check_signing, check_templates

    return [*check_gateways(project), *check_signing(project), *check_templates(renderable(project))]
