"""The catalogue: every field and function that an expression may name, with its type, meaning, example and cost, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from winback.audience import buying, doing, hearing, standing, who
from winback.audience.entries import Cost, Field, Function, Kind, Scope

FIELDS: dict[str, Field] = {each.name: each for area in (who, buying, doing, hearing, standing) for each in area.FIELDS}

FUNCTIONS: dict[str, Function] = {each.name: each for area in (buying, doing, hearing, standing) for each in area.FUNCTIONS}

#: Fields that stand still until `update_standings`, and `update_predictions`, is called.
STANDING_FIELDS = frozenset(each.name for each in standing.STANDINGS)
PREDICTED_FIELDS = frozenset(each.name for each in standing.PREDICTED)

#: Known only where an enrollment is looked at: in only_if and exit.when.
ENROLLMENT_FIELDS: dict[str, Field] = {each.name: each for each in buying.ENROLLMENT_FIELDS}

ENROLLMENT_FUNCTIONS: dict[str, Function] = {each.name: each for each in hearing.ENROLLMENT_FUNCTIONS}


def fields_of(scope: Scope) -> dict[str, Field]:
    """Return the fields that an expression may name."""
    return FIELDS if scope.enrollment is None else FIELDS | ENROLLMENT_FIELDS


@dataclass(frozen=True)
class CatalogueEntry:
    """A line of `winback fields`."""

    name: str
    kind: str  # field | function
    type: str
    meaning: str
    example: str
    cost: str
    scope: str  # everywhere | campaign: only in only_if and exit.when


def catalogue() -> list[CatalogueEntry]:
    """Return every field and function of expressions, for `winback fields` and the documentation."""
    attribute = CatalogueEntry(
        "attributes.NAME",
        "field",
        Kind.ANY.value,
        "your own field NAME, as imported",
        "attributes.pet = 'cat'",
        Cost.ROW.value,
        "everywhere",
    )
    return [
        *(_entry(each, "everywhere") for each in FIELDS.values()),
        *(_entry(each, "campaign") for each in ENROLLMENT_FIELDS.values()),
        attribute,
        *(_entry(each, "everywhere") for each in FUNCTIONS.values()),
        *(_entry(each, "campaign") for each in ENROLLMENT_FUNCTIONS.values()),
    ]


def _entry(each: Field | Function, scope: str) -> CatalogueEntry:
    name, kind = (each.name, "field") if isinstance(each, Field) else (each.signature, "function")
    return CatalogueEntry(name, kind, each.kind.value, each.meaning, each.example, each.cost.value, scope)
