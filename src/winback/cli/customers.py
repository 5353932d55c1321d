"""`winback customer`: what is kept about one person, all of it to hand over, and having a person forgotten."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from winback.cli.base import Column, Output, OutputOption, Shop, ShopOption, as_json, open_shop, say, show, show_json
from winback.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from winback.ledger.forgetting import Forgotten
    from winback.project import Project

#: Who asked, in the suppression list and in the messages' history.
_SOURCE = "cli"

CustomerArgument = Annotated[
    str, typer.Argument(metavar="CUSTOMER", help="The customer's id in your own system, e-mail address, or phone number.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Look up one person, hand over what is kept about them, forget them.",
        short_help="Look up one person, or forget them.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("show", short_help="Show one person, and what they got.")(show_customer)
    group.command("export", short_help="Write down everything kept about a person.")(export)
    group.command("unblock", short_help="Write to an address again that bounced.")(unblock)
    group.command("erase", short_help="Forget a person; it cannot be undone.")(erase)
    app.add_typer(group, name="customer")


def show_customer(customer: CustomerArgument, shop: ShopOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show one person: profile, consent, orders in short, the campaigns they are in and the messages they got.

    \b
    Example: winback customer show C00021
    """
    from winback.store import reading
    from winback.store.dossier import campaigns, consent, message_rows, orders_in_short, profile, suppressed

    opened = open_shop(shop)
    with reading(opened.engine) as connection:
        person = find(connection, opened.project, customer)
        found = {
            "customer": profile(person),
            "consent": consent(person),
            "suppressed": suppressed(connection, person),
            "orders": orders_in_short(person),
            "enrollments": campaigns(connection, person.id),
            "messages": message_rows(connection, person.id),
        }
    if output is Output.JSON:
        show_json(found)
    elif output is Output.CSV:
        rows = [{"what": name, "value": value} for name, value in _flat(found)]
        show(rows, [Column("what", "what"), Column("value", "value")], output)
    else:
        _show(found, ZoneInfo(opened.project.settings.shop.zone))


def export(
    customer: CustomerArgument,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write into this file, which only you may read; else print it.")
    ] = None,
    shop: ShopOption = None,
) -> None:
    """Write down everything that is kept about a person, as JSON, to hand it over to them.

    That is the profile, all answers about consent, orders with their lines, events, messages with their history and what came of
    them, scores, coupons: what the law of many countries lets everybody ask for (GDPR, articles 15 and 20).

    \b
    Example: winback customer export C00021 --to var/C00021.json
    """
    from winback.store import reading
    from winback.store.dossier import dossier

    opened = open_shop(shop)
    with reading(opened.engine) as connection:
        found = dossier(connection, find(connection, opened.project, customer))
    if to is None:
        show_json(found)
        return
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(as_json(found) + "\n")
    except OSError as error:
        raise InputError(f"{to} cannot be written: {error.strerror}", "name another file") from error
    say(f"Everything that is kept about {found['customer']['id']} is in {to}.")


def unblock(
    customer: CustomerArgument,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who says that the address is good; else who is logged in.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", metavar="email|sms", help="Only the address of this channel; else both.")
    ] = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a person's address off the list of those never written to again, when it bounced but is good after all.

    Who did it and when is kept. Bounces from before no longer count; consent stays as it is, so somebody who complained gets
    marketing only after agreeing to it anew. Who asked to be forgotten stays so.

    \b
    Example: winback customer unblock C00021 --by Clara
    """
    from winback import clock
    from winback.store import Channel, writing
    from winback.store.consent import unsuppress
    from winback.store.refusals import answering

    opened = open_shop(shop)
    if channel is not None and channel not in list(Channel):
        raise InputError(f"{channel!r} is not a channel", "write --channel email or --channel sms")
    who = f"staff {(by or _logged_in()).strip()}"
    taken_back = []
    with answering(opened.engine), writing(opened.engine) as connection:
        person = find(connection, opened.project, customer)
        addresses = {Channel.EMAIL: person.email_hash, Channel.SMS: person.phone_hash}
        for each, address_hash in addresses.items():
            if address_hash is not None and channel in (None, each):
                done = unsuppress(connection, each, address_hash, clock.now(), who)
                taken_back += [] if done is None else [{"customer": person.external_id, "channel": each, **asdict(done)}]
    if output is not Output.TABLE:
        columns = ("customer", "channel", "reason", "blocked_at", "source", "at", "by")
        show(taken_back, [Column(name, name) for name in columns], output)
        return
    zone = ZoneInfo(opened.project.settings.shop.zone)
    for row in taken_back:
        what = "e-mail address" if row["channel"] is Channel.EMAIL else "phone number"
        since = _local(row["blocked_at"], zone)
        typer.echo(f"The {what} of {row['customer']} is written to again; it was blocked since {since} ({row['reason']}).")
        if row["reason"] == "complaint":
            typer.echo("  Marketing stays off until the person agrees to it anew: a complaint is a no.")
    if not taken_back:
        typer.echo(f"No address of {customer} is blocked.")


def _logged_in() -> str:
    """Return the name of who is logged in on this machine."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, in a container for example
        return "unknown"


def erase(
    customer: CustomerArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Forget a person: name, addresses and everything else about them goes; what was planned for them is cancelled.

    Their orders and messages still count in reports, without the person. No import brings them back: of the addresses a trace
    stays that can be compared, not read. It cannot be undone.

    \b
    Example: winback customer erase C00021 --yes
    """
    from winback import clock
    from winback.ledger.forgetting import forget_customer
    from winback.store import reading, writing
    from winback.store.refusals import answering

    opened = open_shop(shop)
    project = opened.project
    with reading(opened.engine) as connection:
        person = find(connection, project, customer)
    if not yes:
        _confirm(person)
    with answering(opened.engine), writing(opened.engine) as connection:
        done = forget_customer(connection, person.id, now=clock.now(), key=project.key("address"), source=_SOURCE, worker=_SOURCE)
    # The files go after the database has let go of the person: a second try finds those that are still there.
    removed, left = _remove_files(opened, done)
    mentioned = list(_mentioned_in_rejects(project, person))
    if output is Output.TABLE:
        _tell(customer, person, done, removed, mentioned)
    else:
        row = {**asdict(done), "files_removed": removed, "files_left": left, "mentioned_in": mentioned}
        del row["message_ids"]
        row = {"customer": customer, "already": person.erased_at is not None, **row}
        if output is Output.JSON:
            show_json(row)
        else:
            lists = {name: " ".join(map(str, value)) for name, value in row.items() if isinstance(value, list | tuple)}
            show([row | lists], [Column(name, name) for name in row], output)
    for problem in left:
        say(f"winback: {problem}")
    if left:
        raise typer.Exit(1)


def find(connection: Connection, project: Project, given: str) -> Row[Any]:
    """Return a person by their id, e-mail address or phone number. Raise InputError when there is none."""
    from winback.store.dossier import find_person

    return find_person(connection, given, key=project.key("address"), region=project.settings.shop.region)


def _confirm(person: Row[Any]) -> None:
    if not sys.stdin.isatty():
        raise InputError("nobody is there to confirm it", "add --yes")
    name = " ".join(part for part in (person.first_name, person.last_name) if part)
    who = ", ".join(part for part in (person.external_id, name, person.email, person.phone) if part)
    if not typer.confirm(f"Forget {who}? It cannot be undone", err=True):
        say("Nothing was changed.")
        raise typer.Exit(1)


def _remove_files(shop: Shop, done: Forgotten) -> tuple[int, list[str]]:
    """Remove the person's messages from every outbox; return of how many, and what could not be removed."""
    from winback.gateways.outbox import OutboxGateway, OutboxOptions, remove_from_outbox

    removed, left = 0, []
    for gateway in shop.project.settings.gateways.values():
        if gateway.type == OutboxGateway.type:
            folder = shop.project.root / gateway.options.get("folder", OutboxOptions().folder)
            try:
                removed += remove_from_outbox(folder, done.message_ids)
            except OSError as error:
                left.append(f"{error.filename} cannot be removed: {error.strerror}")
    return removed, left


def _mentioned_in_rejects(project: Project, person: Row[Any]) -> Iterator[Path]:
    """Give the rejects files of imports that hold one of the person's addresses."""
    traces = [text.casefold() for text in (person.email, person.phone) if text]
    if not traces:
        return
    for file in sorted((project.var / "rejects").glob("*.csv")):
        with file.open(encoding="utf-8", errors="replace") as stream:
            if any(trace in line.casefold() for line in stream for trace in traces):
                yield file


def _tell(customer: str, person: Row[Any], done: Forgotten, removed: int, mentioned: Iterable[Path]) -> None:
    typer.echo(f"{customer} was forgotten before." if person.erased_at else f"{customer} is forgotten.")
    if done.suppressed:
        words = {"email": "e-mail address", "sms": "phone number"}
        typer.echo(f"  Never written to again: the {' and the '.join(words[channel] for channel in done.suppressed)}.")
    if done.cancelled:
        typer.echo(f"  Messages that were planned, now cancelled: {done.cancelled}")
    if done.left:
        typer.echo(f"  Campaigns that were running for this person, now ended: {done.left}")
    if done.in_flight:
        typer.echo(f"  Messages that may be going out this very moment: {done.in_flight}; run this again in a few minutes")
    if removed:
        typer.echo(f"  Messages removed from the outbox folder: {removed}")
    counted = [(done.orders, "order"), (done.events, "event"), (len(done.message_ids), "message")]
    kept = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counted if count)
    if kept:
        typer.echo(f"  Still counted in reports, without the person: {kept}")
    for file in mentioned:
        typer.echo(f"  Rows of this person that an import refused are still in {file}: delete that file.")
    typer.echo("  What winback cannot reach: your shop system, backups, and letters that people already have.")


def _show(found: dict[str, Any], zone: ZoneInfo) -> None:
    person, orders = found["customer"], found["orders"]
    name = " ".join(part for part in (person["first_name"], person["last_name"]) if part)
    typer.echo(f"{person['id']}{f': {name}' if name else ''}")
    if person["erased_at"]:
        typer.echo(f"Was forgotten on {_local(person['erased_at'], zone)}: only counts are left.")
    rows = [
        ("e-mail", person["email"]),
        ("phone", person["phone"]),
        ("lives in", ", ".join(part for part in (person["city"], person["country"]) if part)),
        ("language", person["locale"]),
        ("time zone", person["local_zone"] + ("" if person["zone"] else " (not said by the profile)")),
        ("birthday", person["birthday"]),
        *((name, value) for name, value in person["attributes"].items()),
        *(
            (_CONSENT_WORDS[name], {True: "yes", False: "no", None: "never asked"}[value])
            for name, value in found["consent"].items()
        ),
        *((f"{each['channel']} blocked", f"{each['reason']}, {_local(each['at'], zone)}") for each in found["suppressed"]),
        ("orders", _orders_line(orders, zone)),
    ]
    show(
        [{"what": what, "value": str(value)} for what, value in rows if value not in (None, "")],
        [Column("what", "what"), Column("value", "")],
        Output.TABLE,
    )
    if found["enrollments"]:
        show(found["enrollments"], _campaign_columns(zone), Output.TABLE, title="Campaigns")
    if found["messages"]:
        show(found["messages"], _message_columns(zone), Output.TABLE, title="Messages")
    else:
        typer.echo("No messages yet.")


_CONSENT_WORDS = {
    "email_marketing": "e-mail: marketing",
    "email_service": "e-mail: service",
    "sms_marketing": "SMS: marketing",
    "sms_service": "SMS: service",
}


_ANSWERS = {True: "yes", False: "no", None: "never asked"}


def _orders_line(orders: dict[str, Any], zone: ZoneInfo) -> str:
    if not orders["count"]:
        return "none that count"
    line = f"{orders['count']}, {orders['spent']} {orders['currency']} in all, the last on {_local(orders['last_at'], zone)}"
    rhythm = orders["median_gap_days"]
    return line if rhythm is None else f"{line}, mostly {rhythm:g} days apart"


def _campaign_columns(zone: ZoneInfo) -> list[Column]:
    def when(value: Any) -> str:
        return _local(value, zone) if value else ""

    return [
        Column("enrolled_at", "since", format=when),
        Column("campaign", "campaign"),
        Column("occasion", "for"),
        Column("state", "state"),
        Column("exit_reason", "left because", format=_why),
        Column("held_out", "held out", format=lambda value: "yes" if value else ""),
        Column("step", "next step"),
        Column("due_at", "due", format=when),
    ]


def _message_columns(zone: ZoneInfo) -> list[Column]:
    def when(value: Any) -> str:
        return _local(value, zone) if value else ""

    return [
        Column("due_at", "due", format=when),
        Column("sent_at", "sent", format=when),
        Column("campaign", "campaign"),
        Column("step", "step"),
        Column("channel", "channel"),
        Column("state", "state", format=_state),
        Column("reason", "why", format=_why),
        Column("version_id", "version", right=True),
        Column("subject", "subject"),
    ]


def _state(value: str) -> str:
    return value.replace("_", " ")


def _why(reason: str | None) -> str:
    from winback.scheduler.standing import reason_text

    return reason_text(reason) if reason else ""


def _flat(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the profile, the consent and the orders as name and value, for a spreadsheet."""
    for part in ("customer", "consent", "orders"):
        for name, value in found[part].items():
            if name == "attributes":
                yield from ((f"attributes.{each}", value[each]) for each in value)
            else:
                yield (f"orders.{name}" if part == "orders" else name), value


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
