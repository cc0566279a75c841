"""The data of a `data check`: what was named without a flag, and what is read once."""

from __future__ import annotations

from odapi_repro.diagnosis.checked_data.reading import CheckedData, check_data
from odapi_repro.diagnosis.checked_data.typed_names import named_without_flags, read_config

__all__ = ["CheckedData", "check_data", "named_without_flags", "read_config"]
