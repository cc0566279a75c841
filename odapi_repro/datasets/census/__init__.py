"""One pass over record files that leaves nothing out: what they hold, as columns in memory."""

from odapi_repro.datasets.census.record_columns import (
    MASK_EMPTY,
    MASK_NONE,
    MASK_OK,
    MASK_OTHER_SIZE,
    MASK_UNREADABLE,
    NO_LABEL,
    NO_NAME,
    BoxColumns,
    ImageColumns,
    Tally,
)
from odapi_repro.datasets.census.split_census import Census, FileFacts, SplitCensus
from odapi_repro.datasets.census.survey import take_census

__all__ = [
    "MASK_EMPTY",
    "MASK_NONE",
    "MASK_OK",
    "MASK_OTHER_SIZE",
    "MASK_UNREADABLE",
    "NO_LABEL",
    "NO_NAME",
    "BoxColumns",
    "Census",
    "FileFacts",
    "ImageColumns",
    "SplitCensus",
    "Tally",
    "take_census",
]
