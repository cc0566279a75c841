"""`python -m odapi_repro.data check`: what is in records, and what is wrong with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from odapi_repro.command import Command
from odapi_repro.datasets.limits import IMAGE_PIXELS
from odapi_repro.ending import EXIT_DONE, EXIT_FAILED
from odapi_repro.errors import EnvironmentMissing, UserError

if TYPE_CHECKING:
    from odapi_repro.datasets.census.record_columns import AugmentedBoxes
    from odapi_repro.diagnosis.checked_data import CheckedData
    from odapi_repro.diagnosis.subject import Subject


SUMMARY = "every record read once: what is there, and what is wrong with it, counted"
FORMATS = ("text", "json", "markdown", "sarif")
NEVER = "never"
FAIL_ON = ("fatal", "critical", "warning", "info", NEVER)
_DRAWS = 3

_cli = Command("data check", SUMMARY)
FLAGS = _cli.flags
_cli.string("pipeline", None, "pipeline.config that is to read the records (also without the flag)")
_cli.alias("pipeline_config_path", "pipeline")
_cli.data_flags(
    "the records that the config names; a folder, record files, globs and a label map are told by "
    "what they are without a flag, too"
)
_cli.string("annotations", "", "COCO json that the training records were made from: box by box")
_cli.string("eval_annotations", "", "the same for the evaluation records")
_cli.integer(
    "augmented_images",
    100,
    "with a config: images sent through its own augmentation, which needs TensorFlow; 0: none",
    lower_bound=0,
)
_cli.integer("seed", 0, "of the choice of these images, and of augmentation", lower_bound=0)
_cli.integer("workers", None, "processes; as many as there are cores by default", lower_bound=1)
_cli.integer("max_image_pixels", IMAGE_PIXELS, "pixels that an image may have", lower_bound=1)
_cli.enum("format", "text", FORMATS, "how to print it")
_cli.enum("fail_on", NEVER, FAIL_ON, "exit with 1 when a finding is at least this severe")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    del command
    from odapi_repro.datasets.census.source_annotations import read_source_annotations
    from odapi_repro.datasets.source import DataFlags
    from odapi_repro.datasets.workers.worker_pool import available_cores
    from odapi_repro.diagnosis.checked_data import (
        check_data,
        named_without_flags,
        read_config,
    )
    from odapi_repro.diagnosis.finding import Severity
    from odapi_repro.diagnosis.outcome import examine_records
    from odapi_repro.diagnosis.render.diagnosis_page import print_diagnoses
    from odapi_repro.diagnosis.rules import records

    configs, flags = named_without_flags(positional, DataFlags.of(FLAGS))
    config = read_config([*configs, *([FLAGS.pipeline] if FLAGS.pipeline else [])])
    given = {"train": FLAGS.annotations, "eval": FLAGS.eval_annotations}
    for path in filter(None, given.values()):
        if not os.path.isfile(path):
            read_source_annotations(path)  # raises, and names what lies beside it
    checked = check_data(
        flags,
        config,
        annotations={split: path for split, path in given.items() if path},
        workers=FLAGS.workers or available_cores(),
        max_pixels=FLAGS.max_image_pixels,
    )
    checked = _with_augmentation(checked, config)
    diagnosis = examine_records(checked.subject, checked.facts, rules=records.RULES)
    print_diagnoses([diagnosis], FLAGS.format)
    if FLAGS.fail_on == NEVER:
        return EXIT_DONE
    failed = diagnosis.at_or_above(Severity[FLAGS.fail_on.upper()])
    return EXIT_FAILED if failed else EXIT_DONE


def _with_augmentation(checked: CheckedData, config: Subject | None) -> CheckedData:
    """Counts what the pipeline's own augmentation leaves, or says why nobody looked."""
    why = _no_augmentation(checked, config)
    if not why and config is not None:
        try:
            augmented = _augmented(checked, config)
        except UserError as error:
            why = error.in_a_line
        else:
            told = (
                f"{augmented.records:,} training images through the pipeline's augmentation, "
                f"{augmented.draws} times each: {augmented.boxes_after:,} of "
                f"{augmented.boxes_before:,} boxes left"
            )
            facts = replace(checked.facts, compared=(*checked.facts.compared, told))
            subject = replace(checked.subject, augmented=augmented)
            return replace(checked, subject=subject, facts=facts)
    missed = (*checked.facts.not_looked_at, f"what augmentation leaves of the boxes: {why}")
    return replace(checked, facts=replace(checked.facts, not_looked_at=missed))


def _no_augmentation(checked: CheckedData, config: Subject | None) -> str:
    import importlib.util

    train = checked.subject.census.split("train")
    if config is None:
        return "no config is named"
    if not FLAGS.augmented_images:
        return "--augmented_images 0"
    if train is None or not train.records:
        return "there are no training records"
    if checked.subject.census.label_map is None:
        return "there is no label map that can be used"
    if importlib.util.find_spec("tensorflow") is None:
        return "TensorFlow is not installed"
    return ""


def _augmented(checked: CheckedData, config: Subject) -> AugmentedBoxes:
    from odapi_repro.datasets.census import Tally
    from odapi_repro.datasets.census.record_columns import AugmentedBoxes
    from odapi_repro.trials.model_inputs import draw_model_inputs

    train = checked.subject.census.split("train")
    label_map_path = checked.subject.census.label_map_path
    if train is None or label_map_path is None:
        raise EnvironmentMissing("there are no training records with a label map")
    drawn = draw_model_inputs(
        config.pipeline,
        [file.path for file in train.files],
        Path(label_map_path),
        images=FLAGS.augmented_images,
        draws=_DRAWS,
        seed=FLAGS.seed,
    )
    emptied = [one.source_id for one in drawn.inputs if one.boxes_in_record and not len(one.boxes)]
    refused = [one.source_id for one in drawn.refused]
    detail = drawn.refused[0].message.splitlines()[0] if drawn.refused else ""
    draws = len(drawn.inputs) + len(drawn.refused)
    return AugmentedBoxes(
        records=-(-draws // _DRAWS),
        draws=_DRAWS,
        boxes_before=sum(one.boxes_in_record for one in drawn.inputs),
        boxes_after=sum(len(one.boxes) for one in drawn.inputs),
        emptied=Tally(len(emptied), tuple(dict.fromkeys(emptied))[:5]),
        refused=Tally(len(refused), tuple(dict.fromkeys(refused))[:5], detail),
        refused_mend=drawn.refused[0].mend if drawn.refused else "",
    )


if __name__ == "__main__":
    sys.exit(main())
