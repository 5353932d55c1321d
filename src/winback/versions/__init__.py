"""Which files the shop runs by: versions that were applied, kept in the database with all that is in them."""

from winback.versions.differences import FileChange, KeyChange, Kind, differences
from winback.versions.record import Version, find, latest, record, snapshot_of
from winback.versions.running import Applied, hold, running, take_up

__all__ = [
    "Applied",
    "FileChange",
    "KeyChange",
    "Kind",
    "Version",
    "differences",
    "find",
    "hold",
    "latest",
    "record",
    "running",
    "snapshot_of",
    "take_up",
]
