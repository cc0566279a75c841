"""What the rules look at: a config, its reference, what both amount to, and files that are here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

from odapi_repro.datasets.label_map import LabelMap, read_label_map
from odapi_repro.diagnosis.config_text import ConfigText
from odapi_repro.errors import DataError
from odapi_repro.pipeline import (
    Circumstances,
    Pipeline,
    Quantities,
    Schedule,
    derive_quantities,
    flatten_fields,
    read_schedule,
)
from odapi_repro.pipeline.named_paths import folder_of
from odapi_repro.reference import Reference


@dataclass(frozen=True)
class Files:
    """The files that a config names, looked at when they are asked for and when they are here.

    Attributes:
        pipeline: the config.
        look: whether the disk may be looked at, at all.
    """

    pipeline: Pipeline
    look: bool = True

    @cached_property
    def label_map(self) -> LabelMap | None:
        """The training label map; None when it is not here or does not parse."""
        outcome = self._read_label_map
        return outcome if isinstance(outcome, LabelMap) else None

    @cached_property
    def label_map_error(self) -> DataError | None:
        """Why the training label map, which is here, cannot be used."""
        outcome = self._read_label_map
        return outcome if isinstance(outcome, DataError) else None

    @cached_property
    def _read_label_map(self) -> LabelMap | DataError | None:
        path = self.pipeline.proto.train_input_reader.label_map_path
        if folder_of(path, look=self.look) is None or not os.path.isfile(path):
            return None
        try:
            return read_label_map(path)
        except DataError as error:
            return error


@dataclass(frozen=True)
class Subject:
    """One config under diagnosis.

    Attributes:
        text: the text as it was read, with what did not parse.
        pipeline: the parsed config; what could be parsed where something could not.
        reference: the catalogue entry that it is compared with.
        circumstances: what the config cannot know.
        reference_why: why this reference was inferred; empty where the user named it.
    """

    text: ConfigText
    pipeline: Pipeline
    reference: Reference
    circumstances: Circumstances
    reference_why: str = ""

    @cached_property
    def quantities(self) -> Quantities:
        """What the config amounts to."""
        return derive_quantities(self.pipeline, self.circumstances)

    @cached_property
    def reference_pipeline(self) -> Pipeline:
        """The reference's own config."""
        return self.reference.pipeline()

    @cached_property
    def reference_quantities(self) -> Quantities:
        """What the reference amounts to, on its own hardware."""
        own = Circumstances(num_replicas=self.reference.num_replicas, look_at_disk=False)
        return derive_quantities(self.reference_pipeline, own)

    @cached_property
    def schedule(self) -> Schedule:
        """The config's learning rate over steps."""
        return read_schedule(self.pipeline.proto)

    @cached_property
    def fields(self) -> dict[str, object]:
        """Every set scalar of the config under its dotted path."""
        return flatten_fields(self.pipeline.proto)

    @cached_property
    def reference_fields(self) -> dict[str, object]:
        """Every set scalar of the reference under its dotted path."""
        return flatten_fields(self.reference_pipeline.proto)

    @cached_property
    def files(self) -> Files:
        """The files that the config names."""
        return Files(self.pipeline, self.circumstances.look_at_disk)

    @property
    def is_fine_tuning(self) -> bool:
        """Whether it starts from a detection (or full) checkpoint rather than a backbone."""
        return self.quantities.checkpoint_restore in ("detection", "full", "fine_tune")

    @property
    def same_architecture(self) -> bool:
        """Whether the config builds the reference's meta-architecture."""
        return self.pipeline.meta_architecture == self.reference_pipeline.meta_architecture
