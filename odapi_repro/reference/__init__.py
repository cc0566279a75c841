"""The catalogue of references: what was reported, where, and under which protocol."""

from odapi_repro.reference.catalogue import REFERENCES, Reference, ReportedMetric, reference_of

__all__ = ["REFERENCES", "Reference", "ReportedMetric", "reference_of"]
