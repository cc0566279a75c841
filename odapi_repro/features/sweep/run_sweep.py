"""`run --ablate` with factors that need no training: one checkpoint, swept in one go."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.datasets.records import manifest
from odapi_repro.datasets.source import DataFlags
from odapi_repro.ending import EXIT_DONE, EXIT_FAILED
from odapi_repro.errors import UserError
from odapi_repro.evaluation.checkpoint import (
    CheckpointSource,
    built_with,
    check_classes,
    check_source,
    find_checkpoint,
)
from odapi_repro.evaluation.eval_data import choose_data
from odapi_repro.evaluation.inference.model_edits import check_passes
from odapi_repro.factors import POST_HOC_FACTORS
from odapi_repro.factors.post_hoc import PostHocSetting
from odapi_repro.features.sweep.sweep_plan import PostHocRequest, make_post_hoc_plan
from odapi_repro.page.results_folder import Results
from odapi_repro.pipeline import Pipeline, load_pipeline
from odapi_repro.trials.environment import count_gpus
from odapi_repro.trials.session import Session
from odapi_repro.trials.study_flags import check_name, device_named
from odapi_repro.trials.trial_loop import OneSlot, PlannedTrials, Stop, TrialLoop

if TYPE_CHECKING:
    from odapi_repro.features.sweep.sweep_plan import Sweep

# Flags of a training, which would change nothing here.
_OF_TRAININGS = (
    *("seeds", "scale", "steps", "num_train_steps", "at", "train_records", "replicas", "retry"),
    *("use_tpu", "tpu_name", "num_workers", "checkpoint_every_n", "checkpoint_max_to_keep"),
    *("record_summaries", "however_long"),
)
_OF_SEVERAL = ("fusion", "swa")


def run_post_hoc(
    flags: Any, positional: Sequence[str], command: str, *, levels: Mapping[str, Sequence[str]]
) -> int:
    """Runs a sweep and gives the exit code of the command.

    Args:
        flags: of `run`, parsed.
        positional: pipelines given without a flag.
        command: what was typed, for the report.
        levels: level texts by factor.

    Raises:
        UserError: the input is wrong; says what is.
    """
    _check_flags(flags)
    names = list(dict.fromkeys(flags.ablate))
    sources = _sources(flags.checkpoint, several=any(name in _OF_SEVERAL for name in names))
    pipeline = _pipeline(flags.pipeline, positional, sources)
    sources = tuple(built_with(source, pipeline) for source in sources)
    warnings = dict.fromkeys(w for source in sources for w in check_source(source, pipeline))
    request = PostHocRequest(tuple(POST_HOC_FACTORS[name] for name in names), levels, flags.design)
    setting = PostHocSetting(pipeline, len(sources))
    plan = make_post_hoc_plan(setting, request, [source.digest for source in sources])
    device = _device(flags.device)
    study = flags.name or _default_name(pipeline, sources, names)
    check_name(study)
    data = choose_data(
        DataFlags.of(flags),
        pipeline,
        with_masks=pipeline.predicts_masks,
        sample_1_of_n=flags.sample_1_of_n_eval_examples,
    )
    check_classes(pipeline, data.truth)
    # SciPy and pandas take their time to import; what is wrong so far is said before that.
    from odapi_repro.features.sweep.sweep_page import sweep_plan_page
    from odapi_repro.features.sweep.sweep_plan import Sweep
    from odapi_repro.features.sweep.sweep_record import SWEEP_FILE

    sweep = Sweep(
        plan=plan,
        pipeline=pipeline,
        sources=sources,
        data=data,
        data_digest=manifest(data.record_files).digest,
        runs_dir=Path(flags.runs_dir),
        device=device,
        deterministic=bool(flags.deterministic),
        with_masks=pipeline.predicts_masks,
    )
    check_passes(pipeline.proto, sweep.job_passes())
    session = Session(flags, SWEEP_FILE, study)
    if not session.is_to_run(sweep_plan_page(sweep, study=study, warnings=list(warnings))):
        return EXIT_DONE
    return _run(session, sweep, command)


def _run(session: Session, sweep: Sweep, command: str) -> int:
    from odapi_repro.features.sweep.sweep_page import sweep_results
    from odapi_repro.features.sweep.sweep_plan import CellStore
    from odapi_repro.features.sweep.sweep_record import SweepRecord
    from odapi_repro.features.sweep.sweep_report import assemble_post_hoc_report
    from odapi_repro.features.sweep.sweep_runner import (
        CellScores,
        Found,
        SweepProgress,
        cells_to_run,
        detect,
    )

    session.check_start(SweepRecord.of(sweep, {}).foundation, trains=False, runs=True)
    earlier = SweepRecord.read(session.folder)
    progress, store = SweepProgress(sweep), CellStore(sweep.runs_dir)
    detected: list[Found] = []

    def run() -> Stop:
        found = detect(sweep, progress)
        detected.append(found)
        scores = CellScores(sweep, found, store)
        design = PlannedTrials(cells_to_run(sweep))
        return TrialLoop(design, scores, OneSlot(scores.run), progress.of_cell).run()

    def results() -> Results | None:
        progress.line.end()
        if not detected or not any(store.read(one.trial_id) for one in cells_to_run(sweep)):
            return None
        record = SweepRecord.of(sweep, detected[0].seconds)
        if earlier is not None:
            record = earlier.grown_by(record, session.study)
        report = assemble_post_hoc_report(
            record, sweep, store, study=session.study, command=command, ran=detected[0].ran
        )
        return sweep_results(report, record)

    stop, made = session.run(run, results)
    if made is not None:
        session.show(made)
    return EXIT_DONE if stop == "done" else EXIT_FAILED


def _check_flags(flags: Any) -> None:
    given = [f"--{name}" for name in _OF_TRAININGS if flags[name].present]
    if given:
        why = (
            " (a checkpoint gives the same detections each time, so intervals are over the images)"
            if "--seeds" in given
            else ""
        )
        raise UserError(
            f"{', '.join(given)} with factors that need no training{why}",
            expected="flags of the checkpoint, the images and the levels",
            mend=f"leave {', '.join(given)} out",
        )


def _sources(texts: str, *, several: bool) -> tuple[CheckpointSource, ...]:
    """The checkpoints named; of a single folder all that it keeps, where several are needed."""
    named = [text.strip() for text in texts.split(",") if text.strip()]
    if several and len(named) == 1 and Path(named[0]).is_dir():
        numbered = _kept_in(Path(named[0]))
        named = numbered if len(numbered) > 1 else named
    sources = tuple(find_checkpoint(text) for text in named)
    for source in sources:
        if source.saved_model:
            raise UserError(
                "a SavedModel has its post-processing and its weights built in",
                expected="a checkpoint, whose model is built anew for each level",
                mend="name the folder's checkpoint/ckpt-0, or the training folder",
                where=source.given,
            )
    digests = [source.digest for source in sources]
    if len(set(digests)) < len(digests):
        twice = next(s for i, s in enumerate(sources) if s.digest in digests[:i])
        raise UserError(
            f"the checkpoint {twice.given} is named twice",
            expected="checkpoints that differ",
            mend="name each once, oldest first",
        )
    return sources


def _kept_in(folder: Path) -> list[str]:
    """The numbered checkpoints of a training folder, oldest first."""
    found = (re.fullmatch(r"(ckpt-(\d+))\.index", path.name) for path in folder.glob("*.index"))
    numbered = sorted((int(match[2]), match[1]) for match in found if match)
    return [str(folder / name) for _, name in numbered]


def _pipeline(
    flag: str | None, positional: Sequence[str], sources: Sequence[CheckpointSource]
) -> Pipeline:
    paths = [*positional, *([flag] if flag else [])]
    if len(paths) > 1:
        raise UserError(
            f"{len(paths)} pipelines were named",
            expected="at most one pipeline.config: the checkpoint has its own",
            mend=f"leave {paths[-1]} out",
        )
    if paths:
        return load_pipeline(paths[0])
    own = sources[-1].own_pipeline
    if own is None:
        raise UserError(
            "no pipeline.config lies with the checkpoint",
            expected="the pipeline.config that trained it",
            mend="name it with --pipeline",
            where=sources[-1].given,
        )
    return load_pipeline(own)


def _device(named: str) -> str:
    if named == "tpu":
        raise UserError(
            "--device tpu with factors that need no training",
            expected="cpu or gpu",
            mend="--device cpu",
        )
    return device_named(named, count_gpus())


def _default_name(
    pipeline: Pipeline, sources: Sequence[CheckpointSource], names: Sequence[str]
) -> str:
    path = Path(pipeline.path)
    subject = path.stem if path.name != "pipeline.config" else Path(sources[-1].prefix).parent.name
    factors = "-".join(names) if len(names) < 4 else "post_hoc"
    return f"{subject}-{factors}"
