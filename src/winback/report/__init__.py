"""What campaigns did and what they earned, with every rate's denominator and no number that cannot be said."""

from winback.report.build import build_report
from winback.report.export import ROW_KEYS, to_json, to_rows
from winback.report.html import to_html
from winback.report.model import (
    CampaignReport,
    Comparison,
    Day,
    Funnel,
    Gain,
    Group,
    LinkClicks,
    Rate,
    Reference,
    Report,
    Revenue,
    Verdict,
)

__all__ = [
    "ROW_KEYS",
    "CampaignReport",
    "Comparison",
    "Day",
    "Funnel",
    "Gain",
    "Group",
    "LinkClicks",
    "Rate",
    "Reference",
    "Report",
    "Revenue",
    "Verdict",
    "build_report",
    "to_html",
    "to_json",
    "to_rows",
]
