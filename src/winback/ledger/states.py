"""The states of a message and the edges between them: written once, here."""

from __future__ import annotations

from winback.store import MessageState as State

#: Every edge a message may take. There is no other; `moves` refuses it before and the conditional UPDATE refuses it in SQL.
EDGES: frozenset[tuple[State, State]] = frozenset(
    {
        (State.PLANNED, State.SENDING),  # a dispatcher claimed it
        (State.SENDING, State.SENT),  # the gateway accepted it
        (State.SENDING, State.PLANNED),  # put off: a retry later, a rule that says "not now", or claimed and never handed over
        (State.SENDING, State.FAILED),  # refused for good, or all attempts used up
        (State.SENDING, State.UNCERTAIN),  # handed over, and the answer never came
        (State.SENDING, State.SKIPPED),  # a rule said no right before it would have gone, or it could not be rendered
        (State.SENDING, State.CANCELLED),  # the exit was reached, or the campaign withdrawn, right before
        (State.PLANNED, State.SKIPPED),  # a rule said no before anybody claimed it
        (State.PLANNED, State.CANCELLED),  # the exit was reached, or the campaign withdrawn
        (State.SENT, State.DELIVERED),  # the other side reported arrival
        (State.SENT, State.BOUNCED),  # the other side reported that it did not arrive
        (State.DELIVERED, State.BOUNCED),  # some servers accept first and bounce later
        (State.UNCERTAIN, State.SENT),  # the gateway was asked afterwards and knows it
        (State.UNCERTAIN, State.DELIVERED),  # a receipt came for it, so it had gone
        (State.UNCERTAIN, State.BOUNCED),  # likewise
        (State.UNCERTAIN, State.PLANNED),  # to be sent again: a person asked for it, or the campaign's `on_uncertain` says so
        (State.FAILED, State.PLANNED),  # a person asked to send it again
    }
)

#: A message in one of these is not done.
OPEN = (State.PLANNED, State.SENDING)


def is_edge(source: State | str, target: State | str) -> bool:
    """Say whether a message may go from one state to the other."""
    return (State(source), State(target)) in EDGES
