"""Rules about the text of a config and about what must be filled in before anything runs."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.config.readable_text import (
    NotInUtf8,
    SyntaxErrors,
    UnknownProtoField,
    WindowsPathEscape,
)
from odapi_repro.diagnosis.rules.config.required_parts import (
    EvalInputNotConfigured,
    FeatureExtractorUnknown,
    ModelMissing,
    ModelOnThisStack,
    PlaceholderPath,
)

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
