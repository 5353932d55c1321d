"""Since when a campaign is live and how far it has been planned: what happened before is no moment to write."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, String, bindparam, insert, select, update

from winback.project import Campaign
from winback.store import AnyRow, among, campaign_states

#: Orders and events often arrive days after they happened; each pass looks this far behind the one before. What was
#: seen is enrolled already, and what comes too late to be useful is skipped with that reason.
LOOKBACK = timedelta(days=7)

#: A pass in between looks this far behind the one before: for what was on its way while that one was made.
_OVERLAP = timedelta(minutes=15)

_named = campaign_states.c.name == bindparam("campaign")

#: Asked of every campaign in every pass.
_STATE = select(campaign_states).where(_named)
_FORGET = (
    update(campaign_states)
    .where(campaign_states.c.planned_until.is_not(None), ~among(campaign_states.c.name, bindparam("live", type_=String())))
    .values(planned_until=None)
)
_FINISH = update(campaign_states).where(_named).values(planned_until=bindparam("until"), definition_hash=bindparam("definition"))


def begin(connection: Connection, campaign: Campaign, now: datetime) -> AnyRow:
    """Return what the database knows of the campaign; a new one, or one switched on again, is live from now on."""
    state = _state(connection, campaign)
    if state is None:
        connection.execute(
            insert(campaign_states).values(name=campaign.name, live_since=now, definition_hash=campaign.definition_hash)
        )
    elif state.planned_until is None:
        connection.execute(update(campaign_states).where(campaign_states.c.name == campaign.name).values(live_since=now))
    else:
        return state
    return connection.execute(select(campaign_states).where(campaign_states.c.name == campaign.name)).one()


def is_planned(state: AnyRow, campaign: Campaign) -> bool:
    """Say whether the campaign, as the file stands now, has been planned before."""
    return state.planned_until is not None and state.definition_hash == campaign.definition_hash


def looks_back_to(connection: Connection, campaign: Campaign, now: datetime) -> datetime:
    """Return from when on a pass at `now` looks for occasions: from now on where the campaign was not planned before."""
    return back_from(_state(connection, campaign), now)


def back_from(state: AnyRow | None, now: datetime, *, thorough: bool = True) -> datetime:
    """Return the same by what the database knows of the campaign."""
    if state is None or state.planned_until is None:
        return now
    # A pass that was made as of a moment to come, to try things out, says nothing about what happened until now.
    until: datetime = min(state.planned_until, now)
    live_since: datetime = state.live_since if state.live_since <= now else until
    return max(live_since, until - (LOOKBACK if thorough else _OVERLAP))


def paused(connection: Connection, campaign: Campaign) -> str | None:
    """Return why a campaign is paused, '' for no reason in particular, None when it is not."""
    state = _state(connection, campaign)
    return None if state is None or state.paused_at is None else state.pause_reason or ""


def finish(connection: Connection, campaign: Campaign, now: datetime) -> None:
    """Note that the campaign has been planned up to now."""
    values = {"campaign": campaign.name, "until": now, "definition": campaign.definition_hash}
    connection.execute(_FINISH, values)


def forget(connection: Connection, live: Collection[str]) -> None:
    """Let campaigns that are switched off, or gone from the files, start afresh when they are back.

    What happened meanwhile is no moment to write.
    """
    connection.execute(_FORGET, {"live": json.dumps(sorted(live))})


def _state(connection: Connection, campaign: Campaign) -> AnyRow | None:
    return connection.execute(_STATE, {"campaign": campaign.name}).one_or_none()
