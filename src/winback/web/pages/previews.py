"""A step's message as it would look: for a made-up person, or for any customer; nothing is sent and nothing is kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from winback.compose.samples import Sample
from winback.errors import InputError, RenderError
from winback.project import Project, Step
from winback.store import Channel, reading
from winback.web.mail import to_look_at
from winback.web.queries import previews as read
from winback.web.render import page
from winback.web.security import MAIL_POLICY
from winback.web.shop import Shop

router = APIRouter()

_SAMPLES = {
    Sample.USUAL: "ordinary",
    Sample.SPARSE: "barely known",
    Sample.NEWCOMER: "never ordered",
    Sample.AWKWARD: "awkward names",
}


def _ask(  # noqa: PLR0917 - what an address may say
    request: Request, name: str, step_name: str, customer: str = "", sample: str = "", variant: str = "", channel: str = ""
) -> read.Ask:
    """Return which message an address asks for; what it names that does not exist is 404 or the default."""
    project: Project = request.state.project
    campaign = project.campaigns.get(name)
    step = campaign.find_step(step_name) if campaign else None
    if campaign is None or step is None:
        what = f"no campaign {name!r}" if campaign is None else f"no step {step_name!r} in {name}"
        raise HTTPException(404, f"There is {what}. It may have been renamed in the shop's files.")
    arms = read.arms(campaign)
    made_up = read.samples(campaign)
    return read.Ask(
        campaign=campaign,
        step=step,
        channel=Channel(channel) if channel in _channels(step) else step.channel,
        person=customer.strip(),
        sample=next((one for one in made_up if one.value == sample), made_up[0]),
        arm=variant if variant in arms else next(iter(arms), ""),
    )


Asked = Annotated[read.Ask, Depends(_ask)]


@router.get("/campaigns/{name}/preview/{step_name}")
def preview(request: Request, ask: Asked) -> Response:
    """Show a step's message in a window and on a phone, or as a text message."""
    shop: Shop = request.app.state.shop
    now = shop.now()
    made: read.Made | None = None
    problem = ""
    with reading(shop.engine) as connection:
        suggestions = read.suggestions(connection, ask.campaign)
        try:
            made = read.compose(connection, request.state.project, ask, now)
        except (RenderError, InputError) as error:
            problem = str(error)
    return page(
        request,
        "preview.html",
        section="overview",
        now=now,
        ask=ask,
        campaign=ask.campaign,
        step=ask.step,
        channels=_channels(ask.step),
        arms=read.arms(ask.campaign),
        samples={one.value: _SAMPLES[one] for one in read.samples(ask.campaign)},
        suggestions=suggestions,
        made=made,
        problem=problem,
    )


@router.get("/campaigns/{name}/preview/{step_name}/mail")
def mail(request: Request, ask: Asked) -> Response:
    """Return the e-mail's HTML for the frames of the preview."""
    shop: Shop = request.app.state.shop
    with reading(shop.engine) as connection:
        try:
            made = read.compose(connection, request.state.project, ask, shop.now())
        except (RenderError, InputError) as error:
            raise HTTPException(404, str(error)) from error
    headers = {"content-security-policy": MAIL_POLICY, "referrer-policy": "no-referrer"}
    return HTMLResponse(to_look_at(made.html), headers=headers)


def _channels(step: Step) -> list[str]:
    return [step.channel.value] + ([step.fallback.channel.value] if step.fallback else [])
