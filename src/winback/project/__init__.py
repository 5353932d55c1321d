"""The shop's files as checked objects: config.toml, campaigns/ and the names of templates."""

from winback.project.campaign import Campaign, Coupon, Exit, Fallback, Limits, Measure, Schedule, Step, StepVariant
from winback.project.load import find_root, inspect_project, load_project
from winback.project.project import Project
from winback.project.quiet_hours import FreeTime
from winback.project.settings import Settings
from winback.project.values import Cap, QuietHours, is_quiet

__all__ = [
    "Campaign",
    "Cap",
    "Coupon",
    "Exit",
    "Fallback",
    "FreeTime",
    "Limits",
    "Measure",
    "Project",
    "QuietHours",
    "Schedule",
    "Settings",
    "Step",
    "StepVariant",
    "find_root",
    "inspect_project",
    "is_quiet",
    "load_project",
]
