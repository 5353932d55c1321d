"""Bring customers, orders and events in from files and from the JSON API."""

from winback.importers.mapping import ImportMap, load_map, shipped_maps, with_options
from winback.importers.result import ImportResult, ImportSettings, Kind, Outcome, Progress, RowProblem
from winback.importers.run import import_file, write_rows

__all__ = [
    "ImportMap",
    "ImportResult",
    "ImportSettings",
    "Kind",
    "Outcome",
    "Progress",
    "RowProblem",
    "import_file",
    "load_map",
    "shipped_maps",
    "with_options",
    "write_rows",
]
