"""Rules about the text of a config and about what must be filled in before anything runs."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.config.encoding import NotInUtf8
from odapi_repro.diagnosis.rules.config.eval_input import EvalInputNotConfigured
from odapi_repro.diagnosis.rules.config.feature_extractor import FeatureExtractorUnknown
from odapi_repro.diagnosis.rules.config.model_missing import ModelMissing
from odapi_repro.diagnosis.rules.config.placeholders import PlaceholderPath
from odapi_repro.diagnosis.rules.config.stack import ModelOnThisStack
from odapi_repro.diagnosis.rules.config.syntax import SyntaxErrors
from odapi_repro.diagnosis.rules.config.unknown_field import UnknownProtoField
from odapi_repro.diagnosis.rules.config.windows_path import WindowsPathEscape

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    SyntaxErrors(),
    UnknownProtoField(),
    WindowsPathEscape(),
    PlaceholderPath(),
    EvalInputNotConfigured(),
    FeatureExtractorUnknown(),
    ModelMissing(),
    NotInUtf8(),
    ModelOnThisStack(),
)
