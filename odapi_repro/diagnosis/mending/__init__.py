"""Mending: the config that keeps what the user keeps, and trains as the reference otherwise."""

from odapi_repro.diagnosis.mending.changes import Change, FieldChange, NotMendable
from odapi_repro.diagnosis.mending.constraints import (
    FINE_TUNE,
    GOALS,
    REPRODUCE,
    Constraints,
    kept_factor,
)
from odapi_repro.diagnosis.mending.mend import Mended, mend_config

__all__ = [
    "FINE_TUNE",
    "GOALS",
    "REPRODUCE",
    "Change",
    "Constraints",
    "FieldChange",
    "Mended",
    "NotMendable",
    "kept_factor",
    "mend_config",
]
