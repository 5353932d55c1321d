"""`winback preview` and `winback explain`: who would get what, when and why, before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from winback.cli.base import AtOption, Column, Output, OutputOption, ShopOption, moment, open_shop, say, show, show_json
from winback.errors import InputError

if TYPE_CHECKING:
    from winback.plan import DayVolume, Explanation, Preview, Send

CampaignArgument = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Name of the campaign: its file without .toml.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("preview", short_help="Show who would get what, and why; send nothing.")(preview)
    app.command("explain", short_help="Say why a customer gets a campaign, or not.")(explain)


def preview(
    campaign: CampaignArgument,
    at: AtOption = None,
    customer: Annotated[str | None, typer.Option("--customer", metavar="ID", help="Only this customer's messages.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Render the first message into a file.")] = None,
    people: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write every customer: what they get and when, or the first rule against."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many messages to list.")] = 10,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what a campaign would send now: how many people and why not the others, the first messages, one of them rendered.

    The planner itself runs, in a transaction that is undone: nothing is kept and nothing is sent.

    \b
    Example: winback preview sleeping --html var/sleeping.html
    """
    from winback.plan import previewing

    opened = open_shop(shop)
    now = moment(at, opened.project)
    said = []
    with previewing(opened.engine, opened.project, campaign, now) as seen:
        shown = _Shown(
            seen, seen.sends(limit, customer=customer), seen.volume(), seen.hours(), seen.everybody(), _text_messages(seen)
        )
        if people is not None:
            said.append(f"{_write_people(people, seen)} people in {people}")
        if html is not None:
            said.append(_write_html(html, seen, customer))
    # Printed when the transaction is over: whoever reads it page by page would hold up the daemon.
    if output is Output.TABLE:
        _show_preview(shown)
    elif output is Output.CSV:
        show([_send_row(seen, send) for send in shown.sends], _SEND_COLUMNS, output)
    else:
        show_json(_preview_json(shown))
    for line in said:
        say(line)
    if seen.outcome.error:
        say(f"winback: the campaign cannot be planned: {seen.outcome.error}")
        raise SystemExit(1)


def explain(
    campaign: CampaignArgument,
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="The customer's id in your own system.")],
    at: AtOption = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say rule by rule why a customer gets a campaign's messages, or why not, and what they got before.

    \b
    Example: winback explain sleeping C00021 --at 2026-12-24
    """
    from winback.plan import explain as ask
    from winback.store import reading

    opened = open_shop(shop)
    now = moment(at, opened.project)
    with reading(opened.engine) as connection:
        answer = ask(connection, opened.project, campaign, customer, now)
    if output is Output.JSON:
        show_json({**asdict(answer), "first_failure": answer.first_failure and answer.first_failure.rule})
        return
    zone = ZoneInfo(opened.project.settings.shop.zone)
    # The reason of a rule that is met would read as if it were not.
    rows = [
        {**asdict(check), "values": _words(check.values, zone), "reason": "" if check.passed else check.reason}
        for check in answer.checks
    ]
    if output is Output.CSV:
        show(rows, _CHECK_COLUMNS, output)
        return
    _show_explanation(answer, rows, zone)


_SEND_COLUMNS = [
    Column("local", "local time"),
    Column("zone", "zone"),
    Column("step", "step"),
    Column("channel", "channel"),
    Column("customer", "customer"),
    Column("name", "name"),
    Column("variant", "variant"),
    Column("note", ""),
]

_CHECK_COLUMNS = [
    Column("rule", "rule"),
    Column("passed", "", format=lambda passed: "ok" if passed else "NO"),
    Column("values", "looked at"),
    Column("reason", "why not"),
]


@dataclass(frozen=True)
class _Shown:
    """What was read of a preview while its transaction was open."""

    seen: Preview
    sends: list[Send]
    volume: list[DayVolume]
    hours: dict[int, int]
    customers: int
    texts: dict[int, int]  # text messages by how many parts they take

    @property
    def parts(self) -> int:
        return sum(parts * count for parts, count in self.texts.items())


def _text_messages(seen: Preview) -> dict[int, int]:
    """Compose every text message that would go, and count them by the parts they take."""
    from winback.store import Channel

    sends = [send for send in seen.sends(None, channel=Channel.SMS) if not send.held_out]
    if not sends:
        return {}
    from winback import ledger
    from winback.dispatch.recipients import Addressee
    from winback.dispatch.sizing import Parts, TextMessage

    campaign, sizes, counts = seen.campaign, Parts(seen.project), Counter[int]()
    for start in range(0, len(sends), _TOGETHER):
        texts = []
        for send in sends[start : start + _TOGETHER]:
            number = send.message_id or ledger.message_id(
                campaign.name, send.customer, f"preview {send.enrollment_id}", send.step
            )
            about = Addressee(number, campaign, campaign.step(send.step), send.customer_id, send.order_id, Channel.SMS)
            texts.append(TextMessage(about, send.variant))
        counts.update(sizes.count(seen.connection, texts, seen.now).values())
    return dict(sorted(counts.items()))


#: Text messages composed together.
_TOGETHER = 2_000


def _show_preview(shown: _Shown) -> None:
    seen, sends = shown.seen, shown.sends
    campaign, outcome = seen.campaign, seen.outcome
    zone = ZoneInfo(seen.project.settings.shop.zone)
    typer.echo(f"{campaign.name}: {campaign.title}, as of {_local(seen.now, zone)}")
    if not seen.enabled:
        typer.echo("The campaign is switched off (enabled = false); this is what it would do.")
    if outcome.paused:
        because = f" {outcome.pause_reason}" if outcome.pause_reason else ""
        typer.echo(f"The campaign is paused{because}: it enrolls nobody and plans nothing until it is resumed.")
    show(
        [{"what": "customers", "count": shown.customers}, *_funnel_rows(seen)],
        [Column("what", "people"), Column("count", "", right=True), Column("why", "")],
        Output.TABLE,
    )
    volume = [asdict(day) for day in shown.volume]
    if volume:
        columns = [
            Column("on", "local date"),
            Column("step", "step"),
            Column("channel", "channel"),
            Column("count", "messages", True),
        ]
        show(volume, columns, Output.TABLE, title="When they go, without the holdout")
        _show_hours(shown.hours)
    if shown.texts:
        _show_texts(shown)
    if sends:
        show([_send_row(seen, send) for send in sends], _SEND_COLUMNS, Output.TABLE, title="The first of them")
    else:
        typer.echo("Nobody would get a message.")


def _show_hours(hours: dict[int, int]) -> None:
    """Show how many go at which hour, as bars."""
    most = max(hours.values())
    rows = [
        {"hour": f"{hour:02}:00", "count": hours.get(hour, 0), "bar": "█" * round(_BAR * hours.get(hour, 0) / most)}
        for hour in range(min(hours), max(hours) + 1)
    ]
    columns = [Column("hour", "local time"), Column("count", "messages", True), Column("bar", "")]
    show(rows, columns, Output.TABLE, title="At which hour, on the clock where each person lives")


#: Letters of the longest bar.
_BAR = 40


def _show_texts(shown: _Shown) -> None:
    from winback.compose import Money
    from winback.dispatch.sizing import cost_of

    rows = [{"parts": parts, "count": count} for parts, count in shown.texts.items()]
    columns = [Column("parts", "parts each", True), Column("count", "text messages", True)]
    show(rows, columns, Output.TABLE, title="Text messages")
    settings = shown.seen.project.settings
    cost = cost_of(shown.seen.project, shown.parts)
    price = "set sms_price in [deliver] of config.toml to see what they cost"
    known = f"they cost {Money(cost, settings.shop.currency)}" if cost is not None else price
    typer.echo(f"{shown.parts} parts in all; {known}.\n")


def _funnel_rows(seen: Preview) -> Iterable[dict[str, Any]]:
    from winback.policy import REASONS

    outcome = seen.outcome
    yield {"what": "in the audience", "count": outcome.audience}
    if outcome.already:
        yield {"what": "  - already", "count": -outcome.already, "why": "in the campaign for this occasion"}
    for rule in REASONS:
        if rule in outcome.turned_away:
            yield {"what": f"  - {rule}", "count": -outcome.turned_away[rule], "why": REASONS[rule]}
    yield {"what": "come in now", "count": outcome.enrolled}
    for step in outcome.steps:
        if not step.due:
            continue
        yield {"what": f"step {step.step}: due within a day", "count": step.due}
        for reason, count in step.skipped.items():
            yield {"what": f"  - {reason}", "count": -count, "why": REASONS.get(reason, "")}
        if step.deferred:
            yield {"what": "  - put off", "count": -step.deferred, "why": "would get too many messages in a short time"}
        if step.exited:
            yield {"what": "  - exit", "count": -step.exited, "why": REASONS["exit"]}
        if step.held_out:
            yield {"what": "  - held out", "count": -step.held_out, "why": "left alone, to measure what the campaign causes"}
        yield {"what": f"step {step.step}: messages", "count": step.planned}


def _preview_json(shown: _Shown) -> dict[str, Any]:
    from winback.dispatch.sizing import cost_of

    seen, outcome = shown.seen, shown.seen.outcome
    return {
        "campaign": seen.campaign.name,
        "at": seen.now,
        "paused": outcome.paused,
        "pause_reason": outcome.pause_reason,
        "error": outcome.error,
        "customers": shown.customers,
        "audience": outcome.audience,
        "already": outcome.already,
        "turned_away": outcome.turned_away,
        "enrolled": outcome.enrolled,
        "steps": [asdict(step) for step in outcome.steps],
        "volume": [asdict(day) for day in shown.volume],
        "hours": shown.hours,
        "text_messages": {
            "by_parts": shown.texts,
            "parts": shown.parts,
            "cost_minor": cost_of(seen.project, shown.parts),
        },
        "sends": [{**asdict(send), "local": _local_time(seen, send.due_at, send.zone)} for send in shown.sends],
    }


def _local_time(seen: Preview, at: datetime, zone: str) -> str:
    from winback.policy import zone_of

    return _local(at, zone_of(zone, seen.project))


def _send_row(seen: Preview, send: Send) -> dict[str, Any]:
    return {
        **asdict(send),
        "local": _local_time(seen, send.due_at, send.zone),
        "note": "held out" if send.held_out else "",
    }


def _write_people(file: Path, seen: Preview) -> int:
    import csv

    count = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["customer", "occasion", "chosen", "reason", "held_out", "step", "channel", "local_time", "zone", "note"])
        for person in chain(seen.people(), seen.others()):
            due = _local_time(seen, person.due_at, person.zone) if person.due_at and person.zone else ""
            note = "put off: capped" if person.put_off else f"skipped: {person.skipped}" if person.skipped else ""
            writer.writerow(
                [
                    *(person.customer, person.occasion, person.chosen, person.reason or "", person.held_out),
                    *(person.step or "", person.channel or "", due, person.zone or "", note),
                ]
            )
            count += 1
    return count


def _write_html(file: Path, seen: Preview, customer: str | None) -> str:
    """Render the first message into a file, its links as they were written: nothing in it acts on anybody; say which it is."""
    from dataclasses import replace

    from winback.compose import Composer
    from winback.dispatch.recipients import recipient_for_preview
    from winback.store import Channel

    send = next((send for send in seen.sends(_LOOKED_AT, customer=customer) if not send.held_out), None)
    if send is None:
        whom = f" for {customer}" if customer else ""
        raise InputError(f"there is no message{whom} to render", "winback explain says why; --at shows another day")
    settings = seen.project.settings
    untracked = settings.tracking.model_copy(update={"opens": False, "clicks": False})
    project = replace(seen.project, settings=settings.model_copy(update={"tracking": untracked}))
    step, channel = seen.campaign.step(send.step), Channel(send.channel)
    recipient = recipient_for_preview(seen.connection, project, seen.campaign, step, send.customer, channel, seen.now)
    composed = Composer(project, signed=False).compose(
        seen.campaign, step, recipient, variant=send.variant, now=seen.now, link_ids=lambda targets: [0] * len(targets)
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(composed.html or _as_page(composed.text), encoding="utf-8")
    about = f", {composed.subject!r}" if composed.subject else ""
    return f"{send.step} for {send.customer} by {send.channel}{about}: {file}"


#: The holdout gets nothing; among so many messages there is one that goes.
_LOOKED_AT = 200


def _as_page(text: str) -> str:
    """Return a text message as a page."""
    from html import escape

    return f'<!doctype html>\n<meta charset="utf-8">\n<pre style="white-space: pre-wrap">{escape(text)}</pre>\n'


def _show_explanation(answer: Explanation, rows: list[dict[str, Any]], zone: ZoneInfo) -> None:
    from winback.scheduler.standing import reason_text

    failure = answer.first_failure
    running = next((note for note in answer.enrollments if note.state == "active"), None)
    if failure is None:
        verdict = "would come in now"
    elif running is not None:
        verdict = "is in the campaign" + (" (held out)" if running.held_out else "")
    elif failure.rule == "holdout":
        verdict = "would come in, held out: no message, only counted"
    else:
        verdict = f"gets nothing: {failure.reason}"
    typer.echo(f"{answer.customer} and {answer.campaign}, as of {_local(answer.at, zone)}: {verdict}")
    show(rows, _CHECK_COLUMNS, Output.TABLE)
    for note in answer.enrollments:
        ended = f" ({reason_text(note.exit_reason)})" if note.exit_reason else ""
        typer.echo(f"In it since {_local(note.enrolled_at, zone)} for {note.occasion}: {note.state}{ended}")
        for step in note.steps:
            when = _local(step.sent_at or step.due_at, zone)
            state = step.state.replace("_", " ") + (f" ({reason_text(step.reason)})" if step.reason else "")
            typer.echo(f"  {step.step}: {state}, {step.channel}, {when}")
        if note.next_step and note.due_at:
            waiting = f", put off: {reason_text(note.waiting)}" if note.waiting else ""
            typer.echo(f"  next: {note.next_step} at {_local(note.due_at, zone)}{waiting}")


def _words(values: dict[str, Any], zone: ZoneInfo) -> str:
    return ", ".join(f"{name}: {_word(value, zone)}" for name, value in values.items() if value is not None)


def _word(value: Any, zone: ZoneInfo) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(zone):%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%a %Y-%m-%d %H:%M}"
