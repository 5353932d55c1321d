"""A report as one HTML file: no request to anywhere, no script, everything escaped, charts inside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from winback.report import charts, words
from winback.report.charts import Row
from winback.report.model import CampaignReport, Comparison, Funnel, Group, Rate, Report
from winback.report.printing import NOTHING, Printer, plural

_TEMPLATES = Path(__file__).parent / "templates"


def to_html(report: Report) -> str:
    """Return the report as a complete HTML page that needs nothing else."""
    printer = Printer.of(report.zone, report.locale, report.currency)
    text: str = (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            sections=[_Section.of(report, campaign, number, printer) for number, campaign in enumerate(report.campaigns, 1)],
            totals=_Totals.of(report),
            print=printer,
            style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 our own file
        )
    )
    return text


@dataclass(frozen=True)
class _Compared:
    """One comparison with its charts."""

    comparison: Comparison
    groups: Markup
    interval: Markup


@dataclass(frozen=True)
class _Section:
    """One campaign with its charts; `anchor` is its place in the page."""

    campaign: CampaignReport
    anchor: str
    did: str
    successes: str
    funnel: Markup
    rates: Markup
    over_time: Markup
    point_is: str
    uplift: _Compared | None
    arms: tuple[_Compared, ...]

    @classmethod
    def of(cls, report: Report, campaign: CampaignReport, number: int, printer: Printer) -> _Section:
        anchor = f"c{number}"
        did = words.did(campaign.conversion)
        today = report.at.astimezone(ZoneInfo(report.zone)).date()
        return cls(
            campaign=campaign,
            anchor=anchor,
            did=did,
            successes=words.successes(campaign.conversion),
            funnel=charts.bars(f"{anchor}-funnel", "From planned to success", _funnel(campaign.total, did, printer)),
            rates=charts.bars(f"{anchor}-rates", "Rates", _rates(campaign, did, printer)),
            over_time=charts.over_time(f"{anchor}-time", campaign.days, today, words.first_upper(did), printer),
            point_is=charts.point_is(campaign.days, today),
            uplift=_compared(f"{anchor}-caused", campaign.uplift, printer) if campaign.uplift else None,
            arms=tuple(_compared(f"{anchor}-arm{each}", arm, printer) for each, arm in enumerate(campaign.variants, 1)),
        )


@dataclass(frozen=True)
class _Totals:
    """All campaigns together."""

    sent: int
    clicked: Rate
    planned: int

    @classmethod
    def of(cls, report: Report) -> _Totals:
        funnels = [campaign.total for campaign in report.campaigns]
        clicked, arrived = (sum(getattr(funnel, name) for funnel in funnels) for name in ("clicked", "arrived"))
        sent, planned = (sum(getattr(funnel, name) for funnel in funnels) for name in ("sent", "planned"))
        return cls(sent, Rate(clicked, arrived, "sent and not bounced"), planned)


def _funnel(total: Funnel, did: str, printer: Printer) -> list[Row]:
    counts = (
        ("Planned", total.planned),
        ("Sent", total.sent),
        ("Not bounced", total.arrived),
        ("Opened by a person", total.opened),
        ("Clicked by a person", total.clicked),
        (f"{words.first_upper(did)} afterwards", total.converted),
    )
    return [Row(text, printer.count(count), count / total.planned if total.planned else 0) for text, count in counts]


def _rates(campaign: CampaignReport, did: str, printer: Printer) -> list[Row]:
    rates = campaign.total.rates()
    named = (
        ("opened", "Opened by a person"),
        ("clicked", "Clicked by a person"),
        ("converted", words.first_upper(did)),
        ("unsubscribed", "Unsubscribed"),
    )
    return charts.rate_rows([(key, text, rates[key]) for key, text in named], campaign.references, printer)


def _compared(name: str, comparison: Comparison, printer: Printer) -> _Compared:
    groups = (comparison.group, comparison.against)
    longest = max(*(group.rate.value or 0 for group in groups), 0.0001)
    rows = [
        Row(
            words.first_upper(group.name),
            printer.rate(group.rate),
            (group.rate.value or 0) / longest,
            (f"{printer.count(group.converted)} of {printer.count(group.people)} {group.base}", *_spent(group, printer)),
            kind,
        )
        for group, kind in zip(groups, ("part", "other"), strict=True)
    ]
    title = f"{words.first_upper(groups[0].name)} and {groups[1].name}"
    return _Compared(comparison, charts.bars(f"{name}-groups", title, rows), charts.interval(name, comparison, printer))


def _spent(group: Group, printer: Printer) -> tuple[str, ...]:
    return (f"spent {printer.amounts(group.revenue)}",) if group.revenue else ()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals.update(
        NOTHING=NOTHING,
        plural=plural,
        reason_text=words.reason_text,
        channel_text=words.channel_text,
        step_text=words.step_text,
        first_upper=words.first_upper,
    )
    return made
