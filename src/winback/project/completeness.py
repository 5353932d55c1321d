"""What `winback check` asks of a shop beyond its files' own text: gateways that can be set up, steps that can be rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from winback.errors import GatewayError, Problem
from winback.project.campaign import Step
from winback.project.gateways import GatewaySettings
from winback.project.load import CONFIG
from winback.project.problems import explain, suggestion
from winback.project.project import Project
from winback.project.references import MAIN_END, template_names
from winback.project.toml import KeyPath, TomlFile, read_toml
from winback.store import Channel


def check_gateways(project: Project) -> list[Problem]:
    """Return what is wrong with the options of each gateway, and channels delivered by a gateway that does not carry them."""
    file = read_toml(project.folder, project.folder / CONFIG)
    if isinstance(file, Problem) or not isinstance(file.tables.get("gateways", {}), dict):
        return []
    problems: list[Problem] = []
    for name, settings in project.settings.gateways.items():
        problems += _check_gateway(project, file, name, settings)
    return problems


def _check_gateway(project: Project, file: TomlFile, name: str, settings: GatewaySettings) -> Iterator[Problem]:
    from winback.gateways.registry import available, configure

    path: KeyPath = ("gateways", name)
    gateway = available().get(settings.type)
    if gateway is None:
        remedy = suggestion(settings.type, available())
        yield file.problem((*path, "type"), f"there is no gateway of type {settings.type!r}", remedy)
        return
    if isinstance(gateway, GatewayError):
        yield file.problem((*path, "type"), gateway.message, gateway.remedy)
        return
    adapter: TypeAdapter[Any] = TypeAdapter(gateway.Options)
    try:
        adapter.validate_python(settings.options)
        configure(name, settings.table, root=project.root)
    except ValidationError as error:
        yield from explain(error, adapter, file, path)
    except GatewayError as error:
        yield file.problem(path, error.message, error.remedy)
    carries = sorted(str(channel) for channel in gateway.channels)
    for channel in Channel:
        if project.settings.deliver.for_channel(channel) == name and channel.value not in carries:
            remedy = f"name another one; {name!r} carries {', '.join(carries)}"
            yield file.problem(("deliver", channel.value), f"the gateway {name!r} does not carry {channel}", remedy)


def renderable(project: Project) -> Project:
    """Return the project with only those steps whose templates are there, so that the others are not reported twice."""
    names = template_names(project.templates)
    campaigns = {}
    for name, campaign in project.campaigns.items():
        steps = [_renderable_step(step, names) for step in campaign.steps]
        kept = tuple(step for step in steps if step is not None)
        if kept:
            campaigns[name] = campaign.model_copy(update={"steps": kept})
    return replace(project, campaigns=campaigns)


def _renderable_step(step: Step, names: Mapping[str, set[str]]) -> Step | None:
    known = names[MAIN_END[step.channel]]
    if step.template not in known or (step.channel is Channel.EMAIL and step.subject is None):
        return None
    fallback = step.fallback
    if fallback and (fallback.template or step.template) not in names[MAIN_END[fallback.channel]]:
        fallback = None
    variants = {name: own for name, own in step.variants.items() if own.template is None or own.template in known}
    return step.model_copy(update={"fallback": fallback, "variants": variants})


def count_templates(project: Project) -> int:
    """Count the template files of the shop."""
    return sum(len(names) for names in template_names(project.templates).values())
