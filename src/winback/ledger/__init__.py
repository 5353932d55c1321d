"""The ledger: every intended message, the states it may take, and the history of those it took."""

from winback.ledger.claims import Claimed, claim
from winback.ledger.keys import message_id
from winback.ledger.moves import Move, Selected, apply, insert, insert_selected
from winback.ledger.states import EDGES, OPEN, is_edge

__all__ = ["EDGES", "OPEN", "Claimed", "Move", "Selected", "apply", "claim", "insert", "insert_selected", "is_edge", "message_id"]
