"""The data of a `data check`: what was named, found, and read once, for rules and for the table."""

from __future__ import annotations

from odapi_repro.diagnosis.checked_data.named_data import NamedData, name_data
from odapi_repro.diagnosis.checked_data.reading import CheckedData, check_data
from odapi_repro.diagnosis.checked_data.typed_names import (
    TypedNames,
    named_without_flags,
    read_config,
)

__all__ = [
    "CheckedData",
    "NamedData",
    "TypedNames",
    "check_data",
    "name_data",
    "named_without_flags",
    "read_config",
]
