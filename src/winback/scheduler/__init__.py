"""The clock: passes, the daemon that makes them, and whether all is well."""

from winback.scheduler.health import HealthItem, health
from winback.scheduler.passes import PassOutcome, run_pass

__all__ = ["HealthItem", "PassOutcome", "health", "run_pass"]
