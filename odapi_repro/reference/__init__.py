"""The catalogue: reference pipelines, what was reported for them, and published effect sizes."""

from odapi_repro.reference.catalogue import (
    REFERENCES,
    nearest_reference,
    reference_for,
    reference_named,
    reference_of,
    with_reference_named,
)
from odapi_repro.reference.entry import Dispute, Reference, ReportedMetric, Unexpressed

__all__ = [
    "REFERENCES",
    "Dispute",
    "Reference",
    "ReportedMetric",
    "Unexpressed",
    "nearest_reference",
    "reference_for",
    "reference_named",
    "reference_of",
    "with_reference_named",
]
