"""Training records with damage planted on purpose: label noise, fewer images, duplicates."""

from odapi_repro.datasets.damage.edited_records import (
    EditCounts,
    EditedRecords,
    make_edited_records,
    write_edited_records,
)

__all__ = ["EditCounts", "EditedRecords", "make_edited_records", "write_edited_records"]
