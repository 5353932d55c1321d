"""What campaigns did and what they earned, with every rate's denominator and no number that cannot be said."""

from winback.report.model import CampaignReport, Comparison, Funnel, Group, Rate, Report, Revenue, Verdict

__all__ = ["CampaignReport", "Comparison", "Funnel", "Group", "Rate", "Report", "Revenue", "Verdict"]
