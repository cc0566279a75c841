"""The reference that a config names in a comment, which `fix` leaves where nobody would guess it.

A config that was led to a reference other than the nearest one would be held against the nearest
one afterwards, and be called wrong for what is right.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from odapi_repro.reference.catalogue import REFERENCES
from odapi_repro.reference.entry import Reference
from odapi_repro.reference.matching import nearest_reference

if TYPE_CHECKING:
    from odapi_repro.pipeline import Pipeline


_MARK = "# odapi_repro reference:"
_NAMED = re.compile(rf"^[ \t]*{re.escape(_MARK)}[ \t]*(\w+)[^\n]*\n?", re.MULTILINE)


def reference_for(text: str, pipeline: Pipeline) -> tuple[Reference, str]:
    """Gives the reference that the text names, else the nearest; and a sentence that says why."""
    named = _NAMED.search(text) if _MARK in text else None
    if named is not None and named[1] in REFERENCES:
        return REFERENCES[named[1]], "the config names it in a comment"
    return nearest_reference(pipeline)


def with_reference_named(text: str, pipeline: Pipeline, reference: Reference) -> str:
    """Gives a text for which `reference_for` gives this reference, by a first line if need be."""
    if reference_for(text, pipeline)[0].name == reference.name:
        return text
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{_MARK} {reference.name}{newline}{_NAMED.sub('', text)}"
