"""A message's id follows from what it is about, so the same message can never be written twice."""

from __future__ import annotations

from uuid import UUID, uuid5

#: winback's own namespace for message ids (RFC 9562, section 5.5).
_NAMESPACE = UUID("6a5b1f0e-8f0c-5b59-9d0f-3c6f6d2b7a51")

#: Separates the parts of a key; it occurs in none of them.
_SEPARATOR = "\x1f"


def message_id(campaign: str, customer: str, occasion: str, step: str) -> str:
    """Return the id of a step's message to a customer (external id) for an occasion."""
    return str(uuid5(_NAMESPACE, _SEPARATOR.join((campaign, customer, occasion, step))))
