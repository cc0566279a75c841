"""A trial and its identity: everything that decides its outcome, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.files import read_record

if TYPE_CHECKING:
    from odapi_repro.datasets.record_damage import EditedRecords


SPEC_VERSION = 1


@dataclass(frozen=True)
class Stack:
    """The versions that decide a training's numbers."""

    tensorflow: str
    keras: str
    object_detection: str


@dataclass(frozen=True)
class TrialSpec:
    """What decides the outcome of a trial; its hash is the trial's identity.

    Attributes:
        pipeline_text: the rendered pipeline, with records, label map and checkpoint replaced by
            the digests below, so that moving a folder changes nothing.
        extensions: names of training extensions.
        seed: of Python, NumPy and TensorFlow.
        num_replicas: replicas that share the global batch.
        device: `cpu`, `gpu` or `tpu`.
        deterministic: whether ops were deterministic (another order of summation).
        train_records, eval_records: digests of the record manifests; of records that are made
            from others, of what they are made of.
        label_map: digest of the label map's items.
        checkpoint: digest of `fine_tune_checkpoint`, empty without one.
        stack: versions.
    """

    pipeline_text: str
    extensions: tuple[str, ...]
    seed: int
    num_replicas: int
    device: str
    deterministic: bool
    train_records: str
    eval_records: str
    label_map: str
    checkpoint: str
    stack: Stack

    @property
    def trial_id(self) -> str:
        """Twelve hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, with the version of this layout."""
        fields = {"version": SPEC_VERSION, **dataclasses.asdict(self)}
        return json.dumps(fields, sort_keys=True, indent=1)

    @staticmethod
    def read(path: Path, *, mend: str) -> TrialSpec:
        """Reads a file that holds what `to_json` gives.

        Raises:
            FileNotFoundError: there is none.
            DamagedFile: it does not read, or a newer version wrote it.
        """
        return read_record(path, TrialSpec, version=SPEC_VERSION, mend=mend)


@dataclass(frozen=True)
class Trial:
    """A trial as a study sees it.

    Attributes:
        spec: what it is made of.
        cell: factor name -> level label.
        pipeline_text: the rendered pipeline with the paths of this machine.
        num_steps, global_batch_size, base_lr: of that pipeline, for plans and tables.
        with_masks: whether instance masks are detected and scored.
        edited_records: training records to be made before it runs; None where they are there.
        data: where its records come from; noted in its provenance, and decides nothing.
    """

    spec: TrialSpec
    cell: Mapping[str, str]
    pipeline_text: str
    num_steps: int
    global_batch_size: int
    base_lr: float
    with_masks: bool
    edited_records: EditedRecords | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trial_id(self) -> str:
        """Identity of the spec."""
        return self.spec.trial_id

    @property
    def images_seen(self) -> int:
        """Training images, repeats counted."""
        return self.num_steps * self.global_batch_size
