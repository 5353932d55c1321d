"""Who a campaign is for: presets, fields, expressions, segments and scores, compiled to one SELECT."""

from winback.audience.catalogue import PREDICTED_FIELDS, STANDING_FIELDS, CatalogueEntry, catalogue
from winback.audience.context import AudienceContext, Clock
from winback.audience.doing import is_detractor
from winback.audience.hearing import unanswered_for
from winback.audience.holidays import has_public_holidays, public_holidays
from winback.audience.predictions import Prognosis, last_prognosis, predicted, prognosis, update_predictions
from winback.audience.presets import Audience, Preset
from winback.audience.rhythm import rhythm_of, update_rhythm
from winback.audience.score_statement import Statement, score_statement
from winback.audience.score_upkeep import update_scores
from winback.audience.scores import ScoreModel
from winback.audience.segments import Segment, update_segments
from winback.audience.selection import form_of, select_audience
from winback.audience.standings import Standing, update_standings
from winback.audience.syntax import fields_in
from winback.audience.where import check_expression, compile_condition, compile_fields

__all__ = [
    "PREDICTED_FIELDS",
    "STANDING_FIELDS",
    "Audience",
    "AudienceContext",
    "CatalogueEntry",
    "Clock",
    "Preset",
    "Prognosis",
    "ScoreModel",
    "Segment",
    "Standing",
    "Statement",
    "catalogue",
    "check_expression",
    "compile_condition",
    "compile_fields",
    "fields_in",
    "form_of",
    "has_public_holidays",
    "is_detractor",
    "last_prognosis",
    "predicted",
    "prognosis",
    "public_holidays",
    "rhythm_of",
    "score_statement",
    "select_audience",
    "unanswered_for",
    "update_predictions",
    "update_rhythm",
    "update_scores",
    "update_segments",
    "update_standings",
]
