"""Rules about the batch, its replicas, normalisation, and fields without effect."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.batch.batchnorm_images import BatchnormImages
from odapi_repro.diagnosis.rules.batch.batchnorm_mode import BatchnormMode
from odapi_repro.diagnosis.rules.batch.inert_fields import InertFields
from odapi_repro.diagnosis.rules.batch.normalisation import Normalisation
from odapi_repro.diagnosis.rules.batch.replicas import Replicas

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    BatchnormImages(),
    BatchnormMode(),
    Normalisation(),
    Replicas(),
    InertFields(),
)
