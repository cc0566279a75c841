"""The report of a sweep: what it is made of, and how it is made of its cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from odapi_repro import __version__
from odapi_repro.analysis.level_effects import ImageEffect
from odapi_repro.analysis.trial_table import check_trials, ordered_trials
from odapi_repro.errors import DamagedFile
from odapi_repro.factors import POST_HOC_FACTORS
from odapi_repro.factors.axes import Axis
from odapi_repro.features.sweep.sweep_cells import CANDIDATE_SCORE, CANDIDATES_PER_KEPT
from odapi_repro.features.sweep.sweep_plan import CellResult, CellStore, Sweep, checkpoint_label
from odapi_repro.features.sweep.sweep_record import SweepRecord
from odapi_repro.features.sweep.sweep_runner import RESAMPLES, sweep_effects
from odapi_repro.files.trial_files import SPEC
from odapi_repro.page.blocks import code, marked
from odapi_repro.trials.trial import TrialSpec

# --- What the report of a sweep without training is made of ---


class CheckpointLine(NamedTuple):
    """A checkpoint of the sweep: what was named, its training step and its digest."""

    label: str
    step: int | None
    digest: str


class ForwardPass(NamedTuple):
    """One run of the network over all images.

    Attributes:
        name: of its folder.
        about: what it is, in words.
        variants: how many post-processings share it.
        seconds: what it took, None where nobody noted it.
        ran_now: whether this command ran it; else an earlier one had.
    """

    name: str
    about: str
    variants: int
    seconds: float | None
    ran_now: bool


@dataclass(frozen=True, eq=False)
class PostHocReport:
    """Everything that results/<study>/ says of a sweep.

    Attributes:
        study: the name of the study, which is that of its folder.
        command: the exact command line.
        pipeline: the checkpoint's own, or the one named.
        scale: `full`, or `proxy` for a proxy's checkpoint.
        design: `one_at_a_time` or `grid`.
        trials: a row a cell, see `odapi_repro.analysis.trial_table`; `seed` is the training's.
        axes: the factors with their levels in order, the pipeline's own first.
        effects: every level against the pipeline's own, on the same images.
        checkpoints: in the order named; the last is the one that single levels are measured on.
        passes: the forward passes.
        data: what was evaluated on ("160 images of val.record").
        num_images: images scored.
        held: a sentence for each factor.
        notes: how detections were made, beyond the passes.
        caveats: what may not be concluded, beyond what every sweep says of itself.
        resamples: of the bootstrap.
        versions: package to version.
        margin, confidence: of the verdicts.
    """

    study: str
    command: str
    pipeline: str
    scale: str
    design: str
    trials: pd.DataFrame
    axes: tuple[Axis, ...]
    effects: tuple[ImageEffect, ...]
    checkpoints: tuple[CheckpointLine, ...]
    passes: tuple[ForwardPass, ...]
    data: str
    num_images: int
    held: tuple[str, ...]
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    resamples: int = 1000
    versions: Mapping[str, str] = field(default_factory=dict)
    margin: float = 0.5
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_trials(self.trials, self.factors)

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, in the order of their columns."""
        return tuple(axis.name for axis in self.axes)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The trials with documented columns, the reference first, in the order of the levels."""
        levels = {axis.name: axis.levels for axis in self.axes}
        return ordered_trials(self.trials, levels, last_first=True)

    @property
    def has_masks(self) -> bool:
        """Whether mask metrics were measured."""
        return "mask_AP" in self.table.columns

    def effect(self, factor: str, level: str, metric: str) -> ImageEffect | None:
        """Gives one effect; None for the reference level, or where none was measured."""
        return self._effects.get((factor, level, metric))

    def cell(self, factor: str, level: str) -> pd.Series | None:
        """Gives the row in which one factor stands at a level and the others at their own."""
        chosen = pd.Series(True, index=self.table.index)
        for axis in self.axes:
            wanted = level if axis.name == factor else axis.reference_level
            chosen &= self.table[axis.name] == wanted
        return self.table[chosen].iloc[0] if chosen.any() else None

    @cached_property
    def _effects(self) -> dict[tuple[str, str, str], ImageEffect]:
        return {(row.factor, row.to_level, row.metric): row for row in self.effects}


# --- From a sweep's record and its results to the report ---


_SMALL_SET = 100


def assemble_post_hoc_report(
    record: SweepRecord,
    sweep: Sweep,
    store: CellStore,
    *,
    study: str,
    command: str,
    ran: Collection[str],
) -> PostHocReport:
    """Gives the report of a sweep as its cells stand now.

    Args:
        ran: names of the passes that this command ran.
    """
    results = {
        cell_id: result for cell_id in record.cells if (result := store.read(cell_id)) is not None
    }
    scale = "proxy" if "proxy_backbone" in sweep.extensions else "full"
    rows = [
        _row(cell_id, record, sweep, results.get(cell_id), study, scale) for cell_id in record.cells
    ]
    order = [name for name in POST_HOC_FACTORS if name in record.axes]
    return PostHocReport(
        study=study,
        command=command,
        pipeline=sweep.pipeline.path,
        scale=scale,
        design=record.design,
        trials=pd.DataFrame(rows),
        axes=tuple(Axis(n, record.axes[n][0], tuple(record.axes[n])) for n in order),
        effects=sweep_effects(record, results, num_images=sweep.truth.num_images),
        checkpoints=tuple(
            CheckpointLine(checkpoint_label(one), one.step, one.digest) for one in sweep.sources
        ),
        passes=tuple(
            ForwardPass(
                name, about, len(record.variants[name]), record.seconds.get(name), name in ran
            )
            for name, about in record.passes.items()
        ),
        data=sweep.data.description,
        num_images=sweep.truth.num_images,
        held=tuple(f"{code(name)}: {marked(POST_HOC_FACTORS[name].holds)}" for name in order),
        notes=_notes(sweep, results),
        caveats=_caveats(sweep, record),
        resamples=RESAMPLES,
        versions={
            name.removeprefix("stack."): str(value)
            for name, value in record.foundation.items()
            if name.startswith("stack.")
        },
    )


def _row(
    cell_id: str,
    record: SweepRecord,
    sweep: Sweep,
    result: CellResult | None,
    study: str,
    scale: str,
) -> dict[str, Any]:
    return {
        "trial_id": cell_id,
        "study": study,
        "pipeline": _pipeline_name(Path(sweep.pipeline.path)),
        "scale": scale,
        "seed": _seed(sweep.sources[-1].prefix),
        "status": "planned" if result is None else "succeeded",
        **record.levels(cell_id),
        **({} if result is None else result.metrics),
        "device": sweep.device,
        "num_eval_images": sweep.truth.num_images,
        "tensorflow": record.foundation["stack.tensorflow"],
        "odapi_repro": __version__,
        "num_detections": None if result is None else result.num_detections,
        "checkpoint": sweep.sources[-1].digest,
        "eval_records": sweep.data_digest[:16],
        "deterministic": sweep.deterministic,
        "message": "" if result is None else result.note,
    }


def _pipeline_name(path: Path) -> str:
    return path.stem if path.name != "pipeline.config" else path.absolute().parent.name


def _seed(prefix: str) -> int | None:
    """Gives the seed of the trial whose checkpoint it is; None without one."""
    try:
        return TrialSpec.read(Path(prefix).parent / SPEC, mend="").seed
    except (FileNotFoundError, DamagedFile):
        return None


def _notes(sweep: Sweep, results: Mapping[str, CellResult]) -> tuple[str, ...]:
    notes = [result.note for result in results.values() if result.note]
    notes += [
        f"{_text(levels)} is the same as {_text(into)}: one cell."
        for levels, into in sweep.plan.merged
    ]
    if any(cell.candidates for cell in sweep.plan.cells):
        kept = sweep.reference.per_image
        number = f"{CANDIDATES_PER_KEPT * kept:,}" if kept else "all"
        notes.append(
            f"Voters are an image's detections before NMS, the {number} of highest score and above"
            f" {CANDIDATE_SCORE:g}. A box that has none among them stays where it is."
        )
    if len(sweep.sources) > 1:
        notes.append(
            "Where several checkpoints are named, every level but those of fusion and swa uses the "
            "last one."
        )
    return tuple(notes)


def _text(levels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {label}" for name, label in levels.items())


def _caveats(sweep: Sweep, record: SweepRecord) -> tuple[str, ...]:
    caveats = []
    if sweep.truth.num_images < _SMALL_SET:
        caveats.append(
            f"{sweep.truth.num_images} images: with so few images intervals are too narrow. Read "
            "them as lower bounds."
        )
    if "swa" in record.axes:
        caveats.append(
            "Do not conclude that SWA as published has as small an effect: it collects checkpoints "
            "at a high learning rate and recomputes batch-norm statistics. These checkpoints were "
            "averaged as they are."
        )
    if "fusion" in record.axes:
        caveats.append(
            f"Do not conclude that {code('best')} can be reached: the best checkpoint was chosen "
            "on the images that score it."
        )
    return tuple(caveats)
