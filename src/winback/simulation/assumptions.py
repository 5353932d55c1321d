"""How people are assumed to behave: the shares of those who open, click, order and unsubscribe, from a file of one's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from winback.errors import InputError, Problem, ProjectError
from winback.filemodel import FileModel, Name, Text, refused
from winback.project import Project
from winback.project.problems import explain
from winback.project.toml import read_toml
from winback.project.values import Share
from winback.store import Channel

_WHOLE = 10_000  # shares are in basis points


class Rates(FileModel):
    """Shares of those who get a message. Who orders has clicked, and who has clicked has opened it."""

    open: Share | None = Field(None, description="Share of people who open the letter.", examples=["35%"])
    click: Share | None = Field(None, description="Share of people who click in it.", examples=["4%"])
    order: Share | None = Field(None, description="Share of people who order because of it.", examples=["1.5%"])
    unsubscribe: Share | None = Field(None, description="Share of people who want no more.", examples=["0.2%"])

    def over(self, other: Rates) -> Rates:
        """Return these rates, and the other's where this says nothing."""
        return other.model_copy(update={key: value for key in Rates.model_fields if (value := getattr(self, key)) is not None})

    def share(self, what: str) -> float:
        """Return a share as a number from 0 to 1."""
        return (getattr(self, what) or 0) / _WHOLE


#: What letters and text messages of small shops to their own customers come to; docs/simulate.md says so.
_USUAL = {
    Channel.EMAIL: Rates.model_construct(open=3500, click=400, order=150, unsubscribe=20),
    Channel.SMS: Rates.model_construct(open=_WHOLE, click=800, order=200, unsubscribe=50),
}


class CampaignRates(FileModel):
    """How people behave towards one campaign, where that differs."""

    email: Rates = Field(Rates(), description="Its letters.")
    sms: Rates = Field(Rates(), description="Its text messages.")


class Orders(FileModel):
    """What people buy whatever we write."""

    as_last_year: bool = Field(
        True, description="Everybody orders again what they ordered in the 52 weeks before, 52 weeks later.", examples=[True]
    )


class Assumptions(FileModel):
    """Everything that is assumed. Every key has a default, so that there need be no file."""

    seed: int = Field(1, ge=0, description="Another number lets other people open, click and order.", examples=[1])
    email: Rates = Field(Rates(), description="How people behave towards letters.")
    sms: Rates = Field(Rates(), description="How people behave towards text messages.")
    campaigns: dict[Name, CampaignRates] = Field(
        default_factory=dict, description="Campaigns to which they behave otherwise.", examples=[{"birthday": {}}]
    )
    orders: Orders = Field(Orders(), description="What people buy whatever we write.")
    coupons: dict[Text, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="How many codes of a pool you want to give at most, by its name.",
        examples=[{"WAKE10": 500}],
    )

    def rates(self, campaign: str, channel: Channel) -> Rates:
        """Return how people behave towards a campaign's messages on a channel."""
        general = (self.email if channel is Channel.EMAIL else self.sms).over(_USUAL[channel])
        own = self.campaigns.get(campaign)
        if own is None:
            return general
        return (own.email if channel is Channel.EMAIL else own.sms).over(general)

    @model_validator(mode="after")
    def _one_follows_from_the_other(self) -> Self:
        for campaign in ("", *self.campaigns):
            for channel in Channel:
                rates = self.rates(campaign, channel)
                of = f"{channel.value} of campaign {campaign}" if campaign else channel.value
                for fewer, more in (("click", "open"), ("order", "click")):
                    if rates.share(fewer) > rates.share(more):
                        raise refused(
                            f"for {of} more people {fewer} than {more} ({rates.share(fewer):.2%} and {rates.share(more):.2%})",
                            f"lower `{fewer}` or raise `{more}`; who orders has clicked, and who clicks has opened",
                        )
        return self


def load_assumptions(path: Path, project: Project) -> Assumptions:
    """Read a file of assumptions. Raise ProjectError with every problem, InputError when there is no such file."""
    if not path.is_file():
        raise InputError(f"there is no file {path}", "docs/simulate.md shows what to write into it")
    file = read_toml(path.resolve().parent, path.resolve())
    if isinstance(file, Problem):
        raise ProjectError([file])
    try:
        assumed = _adapter().validate_python(file.tables)
    except ValidationError as error:
        raise ProjectError(list(explain(error, _adapter(), file))) from None
    unknown = sorted(set(assumed.campaigns) - set(project.campaigns))
    if unknown:
        there = ", ".join(sorted(project.campaigns)) or "none yet"
        raise ProjectError(
            [file.problem(("campaigns", name), f"there is no campaign {name!r}", f"there are: {there}") for name in unknown]
        )
    return assumed


@cache
def _adapter() -> TypeAdapter[Assumptions]:
    return TypeAdapter(Assumptions)
