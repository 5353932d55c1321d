"""Who a campaign is for: presets, fields, expressions, segments and scores, compiled to one SELECT."""

from winback.audience.context import AudienceContext
from winback.audience.fields import CatalogueEntry, catalogue
from winback.audience.presets import Audience, Preset
from winback.audience.score_upkeep import update_scores
from winback.audience.scores import ScoreModel
from winback.audience.segments import Segment, update_segments
from winback.audience.selection import select_audience
from winback.audience.where import check_expression, compile_condition, compile_fields

__all__ = [
    "Audience",
    "AudienceContext",
    "CatalogueEntry",
    "Preset",
    "ScoreModel",
    "Segment",
    "catalogue",
    "check_expression",
    "compile_condition",
    "compile_fields",
    "select_audience",
    "update_scores",
    "update_segments",
]
