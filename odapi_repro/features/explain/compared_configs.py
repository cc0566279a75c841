"""The two configs of an explanation: the user's, and what it is compared with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from odapi_repro.errors import UserError
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.reference import ReportedMetric, nearest_reference, reference_named, reference_of
from odapi_repro.reference.entry import Reference as CatalogueEntry


@dataclass(frozen=True)
class Reference:
    """What a config is compared with.

    Attributes:
        name: of the catalogue entry, or the file's without its ending.
        pipeline: at its own scale.
        reported: published for it; empty for a config of one's own.
        why: why this one, where nobody named it.
    """

    name: str
    pipeline: Pipeline
    reported: tuple[ReportedMetric, ...]
    why: str = ""


def user_pipeline(paths: Sequence[str]) -> Pipeline:
    """Reads the user's config.

    Raises:
        UserError: none or several were named.
        ConfigError: it cannot be read.
    """
    if len(paths) != 1:
        raise UserError(
            f"{len(paths)} configs were named" if paths else "no config was named",
            expected="one pipeline.config",
            mend="python -m odapi_repro.explain my.config --reference efficientdet_d3",
        )
    return load_pipeline(paths[0])


def named_reference(name: str | None, user: Pipeline) -> Reference:
    """Gives the reference: a catalogue entry, a config's file, or the nearest entry.

    Raises:
        UserError: no such entry and no such file.
    """
    if name is None:
        entry, why = nearest_reference(user)
        return _of_entry(entry, why)
    if os.path.isfile(name):
        pipeline = load_pipeline(name)
        entry_of = reference_of(pipeline)
        if entry_of is not None and entry_of.pipeline().proto == pipeline.proto:
            return _of_entry(entry_of)
        return Reference(os.path.splitext(os.path.basename(name))[0], pipeline, ())
    return _of_entry(reference_named(name))


def _of_entry(entry: CatalogueEntry, why: str = "") -> Reference:
    numbers = tuple(one for one in entry.reported)
    return Reference(entry.name, entry.pipeline(), numbers, why)
