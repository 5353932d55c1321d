"""Play the coming days, or a year, in a throw-away copy of the database: who would get what, and who would lose to whom."""

from winback.simulation.assumptions import Assumptions, load_assumptions
from winback.simulation.result import Simulated
from winback.simulation.run import Span, simulate

__all__ = ["Assumptions", "Simulated", "Span", "load_assumptions", "simulate"]
