"""Who may be written to, and when: consent, caps, quiet hours and the other rules, asked while planning and again at dispatch."""

from winback.policy.caps import COMING, GONE, LONGEST_DEFERRAL, messages_in_window
from winback.policy.countries import country_of
from winback.policy.fallback import FALLBACK_SUFFIX, plan_fallbacks, step_of
from winback.policy.pausing import BY_A_PERSON, Paused, pause, pause_by_results, resume
from winback.policy.quiet_hours import quiet_zones, wake_time
from winback.policy.recheck import WITHDRAWN, Action, Asked, Verdict, paused_campaigns, recheck, recheck_known
from winback.policy.rules import (
    REASONS,
    RULES,
    Ask,
    Rule,
    RuleName,
    Stage,
    audience_context,
    cooldown_of,
    first_failure,
    predicates,
    with_fallback,
)
from winback.policy.schedule import Slot, Timetable, after_date, after_moment
from winback.policy.zones import zone_of

__all__ = [
    "BY_A_PERSON",
    "COMING",
    "FALLBACK_SUFFIX",
    "GONE",
    "LONGEST_DEFERRAL",
    "REASONS",
    "RULES",
    "WITHDRAWN",
    "Action",
    "Ask",
    "Asked",
    "Paused",
    "Rule",
    "RuleName",
    "Slot",
    "Stage",
    "Timetable",
    "Verdict",
    "after_date",
    "after_moment",
    "audience_context",
    "cooldown_of",
    "country_of",
    "first_failure",
    "messages_in_window",
    "pause",
    "pause_by_results",
    "paused_campaigns",
    "plan_fallbacks",
    "predicates",
    "quiet_zones",
    "recheck",
    "recheck_known",
    "resume",
    "step_of",
    "wake_time",
    "with_fallback",
    "zone_of",
]
