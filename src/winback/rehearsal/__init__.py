"""Tests of campaigns: made-up customers and a clock, played through the real planner, rules and composer in memory."""

from winback.rehearsal.cases import CaseBook, find_files, read_tests
from winback.rehearsal.outcome import Failure, Outcome
from winback.rehearsal.run import rehearse

__all__ = ["CaseBook", "Failure", "Outcome", "find_files", "read_tests", "rehearse"]
