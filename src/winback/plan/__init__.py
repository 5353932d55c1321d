"""Decide who gets what and when, and write it into the ledger; say why; show it beforehand."""

from winback.plan.explain import Check, EnrollmentNote, Explanation, StepNote, explain
from winback.plan.forecast import NextSend, forecast
from winback.plan.planner import THOROUGH_EVERY, CampaignPlan, PlanResult, plan
from winback.plan.preview import DayVolume, Person, Preview, Send, previewing
from winback.plan.steps import StepPlan

__all__ = [
    "THOROUGH_EVERY",
    "CampaignPlan",
    "Check",
    "DayVolume",
    "EnrollmentNote",
    "Explanation",
    "NextSend",
    "Person",
    "PlanResult",
    "Preview",
    "Send",
    "StepNote",
    "StepPlan",
    "explain",
    "forecast",
    "plan",
    "previewing",
]
