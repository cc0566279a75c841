"""Runs the trials of a plan that are missing, and keeps the study's own record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from google.protobuf import text_format

from odapi_repro.errors import StudyMismatch
from odapi_repro.execution.executor import OnEvent
from odapi_repro.execution.store import FINISHED, TrialState, TrialStore, write_atomically
from odapi_repro.pipeline import parse_pipeline
from odapi_repro.study.cost import TrialCost
from odapi_repro.study.plan import Plan
from odapi_repro.study.trial import Trial

__all__ = [
    "StudyRecord",
    "check_same_foundation",
    "cost_history",
    "described",
    "missing_trials",
    "model_text",
    "run_trials",
]

STUDY_VERSION = 1


class Executor(Protocol):
    """Runs one trial to its end."""

    def run(self, trial: Trial, on_event: OnEvent) -> TrialState:
        """Gives the state it ended in."""


@dataclass(frozen=True)
class StudyRecord:
    """`results/<study>/study.json`: which trials a study consists of, and what they share.

    Attributes:
        foundation: field -> value that all its trials share.
        axes: factor name -> reference level, levels in order, and where the others stand.
        trials: trial id -> cell, seed, steps, batch, peak rate, and the digest of the training
            records where it is not the study's: of some of their files.
        design: of the last command.
    """

    foundation: Mapping[str, Any]
    axes: Mapping[str, Mapping[str, Any]]
    trials: Mapping[str, Mapping[str, Any]]
    design: str

    @staticmethod
    def of(plan: Plan) -> StudyRecord:
        """Gives the record of a plan."""
        return StudyRecord(
            foundation=json.loads(json.dumps(dict(plan.foundation))),
            axes={
                axis.factor.name: {
                    "levels": [level.label for level in axis.levels],
                    "at": {name: level.label for name, level in axis.at.items()},
                    "full_scale": {
                        level.label: axis.factor.at_full_scale(level, plan.setting)
                        for level in axis.levels
                    },
                }
                for axis in plan.axes
            },
            trials={
                trial.trial_id: described(trial, train_records=plan.data.train.digest)
                for trial in plan.trials
            },
            design=plan.request.design,
        )

    @staticmethod
    def read(folder: Path) -> StudyRecord | None:
        """Reads the record of a study that exists, None for one that does not.

        Raises:
            StudyMismatch: not readable, or written by a newer version.
        """
        path = folder / "study.json"
        try:
            fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StudyMismatch(
                f"study.json does not parse ({error})",
                expected="the file as odapi_repro wrote it",
                mend="choose another --name; the trials themselves are in the runs folder",
                where=str(path),
            ) from error
        version = fields.pop("version", 0)
        if version > STUDY_VERSION:
            raise StudyMismatch(
                f"study.json has format {version}",
                expected=f"format {STUDY_VERSION} or older",
                mend="use the version of odapi_repro that wrote it, or another --name",
                where=str(path),
            )
        return StudyRecord(**fields)

    def grown_by(self, other: StudyRecord, study: str) -> StudyRecord:
        """Gives this study with the levels, seeds and factors of `other` added.

        Raises:
            StudyMismatch: the trials would not be made of the same.
        """
        self._check_same_foundation(other, study)
        axes = {name: dict(axis) for name, axis in self.axes.items()}
        for name, axis in other.axes.items():
            mine = axes.setdefault(name, {"levels": [], "at": axis["at"], "full_scale": {}})
            mine["levels"] = list(dict.fromkeys([*mine["levels"], *axis["levels"]]))
            mine["full_scale"] = {**mine["full_scale"], **axis["full_scale"]}
        return StudyRecord(
            foundation={**self.foundation, **other.foundation},
            axes=axes,
            trials={**self.trials, **other.trials},
            design=other.design,
        )

    def _check_same_foundation(self, other: StudyRecord, study: str) -> None:
        mine, theirs = self.foundation, other.foundation
        names = [
            n
            for n in {**mine, **theirs}
            if not n.startswith("held.") or self._held_by_both(other, n)
        ]
        check_same_foundation(
            study, {n: mine.get(n) for n in names}, {n: theirs.get(n) for n in names}
        )

    def _held_by_both(self, other: StudyRecord, name: str) -> bool:
        """Whether both say where `held.<factor>.<other factor>` stands, if only by default.

        A factor that only one of the two studies, or that a grid varies, is held nowhere there.
        """
        _, factor, held = name.split(".")
        return all(
            name in record.foundation
            or (factor in record.axes and not (record.design == "grid" and held in record.axes))
            for record in (self, other)
        )

    def write(self, folder: Path) -> None:
        """Writes the record, atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        fields = {"version": STUDY_VERSION, **self.__dict__}
        write_atomically(folder / "study.json", json.dumps(fields, indent=1) + "\n")


def described(trial: Trial, *, train_records: str) -> dict[str, Any]:
    """Gives what a study notes of a trial, beside what its folder holds.

    Args:
        trial: any of the study's.
        train_records: digest of the study's training records; noted where a trial reads others.
    """
    own = trial.spec.train_records
    return {
        "cell": dict(trial.cell),
        "seed": trial.spec.seed,
        "num_steps": trial.num_steps,
        "global_batch_size": trial.global_batch_size,
        "num_replicas": trial.spec.num_replicas,
        "base_lr": trial.base_lr,
        **({"train_records": own} if own != train_records else {}),
    }


def check_same_foundation(study: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuses to let a study grow by trials that are made of something else.

    Args:
        study: its name.
        mine: field -> value as the study has it.
        theirs: as it would be now.

    Raises:
        StudyMismatch: names the fields that differ.
    """
    differing = [n for n in {**mine, **theirs} if mine.get(n) != theirs.get(n)]
    if not differing:
        return
    shown = [f"{n}: {mine.get(n)!r} there, {theirs.get(n)!r} now" for n in differing[:6]]
    if len(differing) > 6:
        shown.append(f"and {len(differing) - 6} more fields")
    raise StudyMismatch(
        f"study '{study}' exists, and its trials were made of something else:\n    "
        + "\n    ".join(shown),
        expected="the same pipeline, records and held constants in one study",
        mend="give this one another --name, or undo the change",
    )


def missing_trials(
    trials: Sequence[Trial], store: TrialStore, *, retry_failed: bool
) -> list[Trial]:
    """Gives the trials that have to run: not finished, and not failed unless they are retried."""
    settled = FINISHED if retry_failed else FINISHED | {"failed"}
    return [trial for trial in trials if store.state(trial.trial_id).state not in settled]


def run_trials(trials: Sequence[Trial], executor: Executor, on_event: OnEvent) -> None:
    """Runs trials in order; one that fails does not keep the next from running."""
    for trial in trials:
        on_event(trial, {"event": "trial_started"})
        state = executor.run(trial, on_event)
        on_event(trial, {"event": "trial_ended", "state": state.state, "message": state.message})


def model_text(pipeline_text: str) -> str:
    """Gives the model part of a pipeline in text format."""
    return str(text_format.MessageToString(parse_pipeline(pipeline_text).proto.model))


def cost_history(store: TrialStore, device: str) -> list[TrialCost]:
    """Gives what the trials that succeeded in a runs folder took."""
    costs = []
    for folder in sorted(store.runs_dir.iterdir()) if store.runs_dir.is_dir() else []:
        if not folder.is_dir() or store.state(folder.name).state != "succeeded":
            continue
        spec = store.read_json(folder.name, "trial.json")
        provenance = store.read_json(folder.name, "provenance.json")
        timings = provenance.get("timings", {})
        # The timings of a resumed trial are those of its last attempt only.
        if (
            spec.get("device") != device
            or "train_seconds" not in timings
            or provenance.get("resumed")
        ):
            continue
        pipeline = parse_pipeline(spec["pipeline_text"])
        config = pipeline.proto.train_config
        images = config.batch_size * config.num_steps
        costs.append(
            TrialCost(
                model_text=str(text_format.MessageToString(pipeline.proto.model)),
                images_per_replica=config.batch_size // spec["num_replicas"],
                overhead_seconds=provenance["wall_seconds"] - timings["train_seconds"],
                seconds_per_image=timings["train_seconds"] / images,
            )
        )
    return costs
