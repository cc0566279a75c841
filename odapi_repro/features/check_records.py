"""`data check`: from the flags to the findings about records."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.ending import EXIT_DONE, EXIT_FAILED
from odapi_repro.errors import EnvironmentMissing, UserError

if TYPE_CHECKING:
    from odapi_repro.datasets.census.record_columns import AugmentedBoxes
    from odapi_repro.diagnosis.checked_data import CheckedData
    from odapi_repro.diagnosis.subject import Subject


NEVER = "never"


_DRAWS = 3


def check_records(flags: Any, positional: list[str], command: str) -> int:
    """Does what the flags ask for, and gives the exit code."""
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

    configs, named = named_without_flags(positional, DataFlags.of(flags))
    config = read_config([*configs, *([flags.pipeline] if flags.pipeline else [])])
    given = {"train": flags.annotations, "eval": flags.eval_annotations}
    for path in filter(None, given.values()):
        if not os.path.isfile(path):
            read_source_annotations(path)  # raises, and names what lies beside it
    checked = check_data(
        named,
        config,
        annotations={split: path for split, path in given.items() if path},
        workers=flags.workers or available_cores(),
        max_pixels=flags.max_image_pixels,
    )
    checked = _with_augmentation(flags, checked, config)
    diagnosis = examine_records(checked.subject, checked.facts, rules=records.RULES)
    print_diagnoses([diagnosis], flags.format)
    if flags.fail_on == NEVER:
        return EXIT_DONE
    failed = diagnosis.at_or_above(Severity[flags.fail_on.upper()])
    return EXIT_FAILED if failed else EXIT_DONE


def _with_augmentation(flags: Any, checked: CheckedData, config: Subject | None) -> CheckedData:
    """Counts what the pipeline's own augmentation leaves, or says why nobody looked."""
    why = _no_augmentation(flags, checked, config)
    if not why and config is not None:
        try:
            augmented = _augmented(flags, checked, config)
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


def _no_augmentation(flags: Any, checked: CheckedData, config: Subject | None) -> str:
    import importlib.util

    train = checked.subject.census.split("train")
    if config is None:
        return "no config is named"
    if not flags.augmented_images:
        return "--augmented_images 0"
    if train is None or not train.records:
        return "there are no training records"
    if checked.subject.census.label_map is None:
        return "there is no label map that can be used"
    if importlib.util.find_spec("tensorflow") is None:
        return "TensorFlow is not installed"
    return ""


def _augmented(flags: Any, checked: CheckedData, config: Subject) -> AugmentedBoxes:
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
        images=flags.augmented_images,
        draws=_DRAWS,
        seed=flags.seed,
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
