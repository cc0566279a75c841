"""Mending: the config that keeps what the user keeps, and trains as the reference otherwise."""

from odapi_repro.diagnosis.mending.mend import Mended, mend_config
from odapi_repro.diagnosis.mending.mend_request import (
    FINE_TUNE,
    GOALS,
    REPRODUCE,
    Change,
    Constraints,
    FieldChange,
    NotMendable,
    kept_factor,
)

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
