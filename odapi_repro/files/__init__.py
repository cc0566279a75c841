"""One way to write a file, whole or not at all, and one strict reader of our own JSON."""

from odapi_repro.files.own_json import (
    damaged,
    digest_of,
    json_text,
    read_json,
    read_record,
    record_text,
    typed,
    write_json,
    write_record,
)
from odapi_repro.files.writing import (
    NO_SPACE,
    Busy,
    append_to,
    cannot_write,
    is_held,
    locked,
    put_in_place,
    remove_leftovers,
    replacing,
    sync_files,
    write_whole,
)

__all__ = [
    "NO_SPACE",
    "Busy",
    "append_to",
    "cannot_write",
    "damaged",
    "digest_of",
    "is_held",
    "json_text",
    "locked",
    "put_in_place",
    "read_json",
    "read_record",
    "record_text",
    "remove_leftovers",
    "replacing",
    "sync_files",
    "typed",
    "write_json",
    "write_record",
    "write_whole",
]
