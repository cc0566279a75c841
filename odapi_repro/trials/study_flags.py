"""The flags that commands which train have in common, and what they come to."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from odapi_repro.command import Command
from odapi_repro.datasets.record_check import check_records
from odapi_repro.datasets.source import EMBEDDED, MADE_ONCE, DataFlags, resolve_data
from odapi_repro.ending import say
from odapi_repro.errors import EnvironmentMissing, UserError, shortened
from odapi_repro.factors import factor_hint, factor_named
from odapi_repro.foreign_text import shown
from odapi_repro.pipeline import Pipeline
from odapi_repro.pipeline.fields import PLACEHOLDER
from odapi_repro.trials.environment import count_gpus, cpu_count
from odapi_repro.trials.executors.local_executor import Runtime
from odapi_repro.trials.groundwork import StudyData, TrialConditions, unmade_embedded
from odapi_repro.trials.scales import SCALES, proxy_for
from odapi_repro.trials.trial import Trial
from odapi_repro.trials.trial_cost import CostEstimate, long_on_cpu, long_on_few_images

_LONGEST_NAME: Final = 200
"""Bytes; file systems have 255, and files are written beside others under longer names."""


def define_study_flags(
    cli: Command, *, checkpoint: str, unnamed: str = "the embedded shapes"
) -> None:
    """Defines the flags of scale, data, device, training and folders.

    Args:
        cli: the command.
        unnamed: the data where no flag names any.
        checkpoint: what `--checkpoint` means to it.
    """
    cli.enum(
        "scale",
        "auto",
        SCALES,
        "full: the pipeline as it is; proxy: its family shrunk to minutes; smoke: a few steps; "
        "auto: full with your own records and an accelerator, else proxy",
    )
    cli.count("steps", None, "steps at the reference's batch; the schedule keeps its shape")
    cli.alias("num_train_steps", "steps")
    cli.data_flags(unnamed, data=EMBEDDED)
    cli.string("checkpoint", None, checkpoint)
    cli.enum("device", "auto", ("auto", "cpu", "gpu", "tpu"), "where to train")
    cli.integer(
        "replicas",
        0,
        "replicas of the reference cell; 0: every GPU, one on CPU",
        lower_bound=0,
    )
    cli.boolean("deterministic", None, "same seed, same bits; by default on CPU only")
    cli.boolean("use_tpu", False, "as --device tpu")
    cli.string("tpu_name", None, "name of the Cloud TPU")
    cli.boolean(
        "however_long",
        False,
        "train at full scale on a CPU, or on the embedded set, though it takes weeks or years",
    )
    cli.count("num_workers", 1, "workers of MultiWorkerMirroredStrategy, with TF_CONFIG")
    cli.count("checkpoint_every_n", 1000, "steps between checkpoints")
    cli.count(
        "checkpoint_max_to_keep",
        None,
        "checkpoints kept of a training, for fusion and swa; by default 7 at full scale, else 1",
    )
    cli.count("sample_1_of_n_eval_examples", None, "evaluate one image of n")
    cli.boolean("record_summaries", False, "training images into the events")
    cli.boolean(
        "fresh_start",
        False,
        "trials that are not finished start over; what they left is set aside in their folders",
    )
    cli.string("runs_dir", "runs", "where trials are kept")
    cli.string("results_dir", "results", "where the table goes")


def conditions_of(
    values: Any, pipeline: Pipeline, data: StudyData, *, with_checkpoint: bool = True
) -> TrialConditions:
    """Gives what the flags ask of every trial.

    Args:
        values: parsed flags.
        pipeline: whose own checkpoint counts at full scale.
        data: resolved from the same flags; your own records on an accelerator mean full scale.
        with_checkpoint: whether trials start from `--checkpoint`; False leaves the flag to a
            caller to whom it means something else.

    Raises:
        UserError: flags that contradict each other.
        EnvironmentMissing: a device that is not there.
    """
    device = "tpu" if values.use_tpu else values.device
    gpus = count_gpus()
    device = device_named(device, gpus)
    if device == "tpu" and not values.replicas:
        raise UserError(
            "--device tpu without the number of its cores",
            expected="the cores of the TPU as --replicas: batches are shared between them",
            mend="--replicas 8 for one TPU of Colab",
        )
    scale = values.scale
    if scale == "auto":
        own_records = data.source.name != EMBEDDED
        scale = "full" if own_records and device != "cpu" else "proxy"
    return TrialConditions(
        scale=scale,
        num_steps=values.steps,
        num_replicas=values.replicas or (gpus if device == "gpu" else 1) * values.num_workers,
        device=device,
        deterministic=device == "cpu" if values.deterministic is None else values.deterministic,
        checkpoint=_checkpoint(values.checkpoint if with_checkpoint else None, pipeline, scale),
        sample_1_of_n_eval_examples=values.sample_1_of_n_eval_examples,
    )


def device_named(named: str, gpus: int) -> str:
    """Gives the device that `--device` names, which `auto` finds.

    Raises:
        EnvironmentMissing: it is a GPU, and there is none.
    """
    if named == "gpu" and not gpus:
        raise EnvironmentMissing(
            "--device gpu, and no GPU is visible",
            expected="a GPU that nvidia-smi lists and CUDA_VISIBLE_DEVICES leaves visible",
            mend="choose --device cpu, or see odapi-repro doctor",
        )
    return named if named != "auto" else "gpu" if gpus else "cpu"


def study_data_of(
    values: Any,
    pipeline: Pipeline,
    *,
    check: Callable[[StudyData], object] = lambda data: None,
    follows_config: bool = False,
) -> StudyData:
    """Gives the records that the flags name, checked; on stderr stands why it is these.

    Args:
        values: parsed flags.
        pipeline: that is to read them.
        check: raises for flags that a study of the records cannot take; called before the
            embedded set is made, with one that is not there yet.
        follows_config: where no flag names records, those of the pipeline's readers are meant, if
            they are on this machine; else, and by default, the embedded set.

    Raises:
        UserError: records or a label map that are missing or do not fit the pipeline.
    """
    flags = DataFlags.of(values)
    if not (follows_config or flags.data or flags.splits):
        flags = replace(flags, data=EMBEDDED)

    def before_embedded(reason: str) -> None:
        check(unmade_embedded())
        say(shown(f"data: {reason or MADE_ONCE}"), file=sys.stderr)

    source = resolve_data(flags, pipeline, embedded_instead=True, before_embedded=before_embedded)
    if source.of_config:
        say(shown(f"data: {source.reason}"), file=sys.stderr)
    data = StudyData.of(source)
    for files in dict.fromkeys((data.train_files, data.eval_files)):
        check_records(
            files,
            data.label_map,
            num_classes=data.label_map.num_classes,
            needs_masks=pipeline.predicts_masks,
        )
    return data


def levels_named(texts: Sequence[str], names: Sequence[str]) -> Mapping[str, list[str]]:
    """Gives factor -> level texts of `--levels`.

    Args:
        texts: `2,8` or `batch_size=2,8`, each time that the flag was given.
        names: the factors of `--ablate`.

    Raises:
        UserError: one is for no factor, or for one that is not varied, or empty.
    """
    levels: dict[str, list[str]] = {}
    for text in texts:
        name, separator, values = text.partition("=")
        if not separator:
            if len(names) != 1:
                raise UserError(
                    f"--levels {text} does not say which factor it is for",
                    expected=f"one of {', '.join(names)} before the levels",
                    mend=f"--levels {names[0]}={text}",
                )
            name, values = names[0], text
        if name not in names:
            raise UserError(
                f"--levels names '{name}', which is not among --ablate",
                expected=f"one of {', '.join(names)}",
                mend=factor_hint(name, names) or f"--levels {names[0]}={values}",
            )
        cleaned = [value.strip() for value in values.split(",") if value.strip()]
        if not cleaned:
            raise UserError(
                f"--levels {text} holds no level",
                expected="levels separated by commas",
                mend="e.g. --levels 2,8",
            )
        levels.setdefault(name, []).extend(cleaned)
    return levels


def levels_held(texts: Sequence[str]) -> Mapping[str, str]:
    """Gives factor -> level text of `--at`.

    Raises:
        UserError: one is no `factor=level`, or of no factor that is trained.
    """
    at = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not value:
            raise UserError(
                f"--at {text} names no level", expected="factor=level", mend="--at batch_size=2"
            )
        at[factor_named(name).name] = value
    return at


def check_length(
    values: Any,
    trials: Sequence[Trial],
    pipeline: Pipeline,
    data: StudyData,
    conditions: TrialConditions,
    cost: CostEstimate,
    *,
    dry_run: bool,
) -> None:
    """Refuses trials at full scale that take weeks or years; a dry run is warned on stderr.

    These are trials on a CPU, and those on the embedded set where no flag says what to train on.
    What they would take decides, steps times images, and not the name of the scale.

    Args:
        values: parsed flags.
        trials: still to run.
        pipeline, data, conditions: what the trials are made of.
        cost: expected of them.
        dry_run: nothing is to be trained.

    Raises:
        UserError: names the flag that insists.
    """
    told = values.use_tpu or values.device in ("gpu", "tpu")
    if conditions.scale != "full" or values.however_long or told or not trials:
        return
    where, found = "on a CPU", ""
    if conditions.device == "cpu":
        found = long_on_cpu(trials, cost, cores=cpu_count())
    elif data.source.name == EMBEDDED:
        where = "on the embedded set"
        found = long_on_few_images(trials, images=data.train.num_examples)
    if not found:
        return
    if dry_run:
        message = f"warning: --scale full {where}: {found}; a start asks for --however_long"
        print(shown(message), file=sys.stderr)
        return
    smaller = ""
    with contextlib.suppress(UserError):
        proxy_for(pipeline)
        smaller = "--scale proxy takes minutes; "
    raise UserError(
        f"--scale full {where}: {found}",
        expected="trials that end within a week, a GPU or TPU, or the flag that insists",
        mend=f"{smaller}--num_train_steps shortens the run; --device gpu trains on a GPU; "
        "--however_long trains all the same",
    )


def runtime_of(values: Any, *, scale: str) -> Runtime:
    """Gives what decides how trials run, and not what comes out."""
    full = scale == "full"
    return Runtime(
        # A call of the compiled function costs 0.3 s on the host whatever it holds; the OD
        # API's own 100 steps would leave a proxy with a handful of reports.
        steps_per_iteration=100 if full else 20,
        checkpoint_every_n=values.checkpoint_every_n,
        checkpoint_max_to_keep=values.checkpoint_max_to_keep or (7 if full else 1),
        tpu_name=values.tpu_name,
        num_workers=values.num_workers,
        record_summaries=values.record_summaries,
        fresh_start=values.fresh_start,
    )


def check_name(name: str, kind: str = "a study") -> None:
    """Refuses what cannot be a folder in results/, or cannot be read where it is printed.

    Letters of all languages, spaces inside and marks are good; pages print them as they are.

    Args:
        name: as it was given.
        kind: what it is the name of.

    Raises:
        UserError: for a name that is empty, hidden, or no single folder, that begins or ends with
            a space, has a letter that cannot be seen, or is too long for a file system.
    """
    plain = shown(name) == name and name == name.strip()
    single = name and not name.startswith(".") and "/" not in name and "\\" not in name
    if plain and single and len(os.fsencode(name)) <= _LONGEST_NAME:
        return
    raise UserError(
        f"'{shortened(name)}' cannot be the name of {kind}",
        expected=f"a plain folder name of at most {_LONGEST_NAME} bytes",
        mend=f"--name my_{kind.rsplit(maxsplit=1)[-1]}",
    )


def _checkpoint(named: str | None, pipeline: Pipeline, scale: str) -> str | None:
    """Gives the checkpoint to start from: the flag's, or at full scale the config's if real."""
    if named and scale != "full":
        raise UserError(
            f"--checkpoint at --scale {scale}: the shrunk model cannot hold its weights",
            expected="--checkpoint with --scale full only",
            mend="leave --checkpoint out, or run at --scale full",
        )
    own = str(pipeline.proto.train_config.fine_tune_checkpoint)
    real = own if scale == "full" and own and PLACEHOLDER not in own else None
    return named or real
