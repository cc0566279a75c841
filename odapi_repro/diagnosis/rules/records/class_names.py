"""Class names of the records against the label map."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from odapi_repro.datasets.annotations import UNKNOWN_CLASS
from odapi_repro.datasets.census import NO_NAME
from odapi_repro.datasets.label_map import LabelMap
from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.record_rule import RecordRule, RecordSubject

_MOST_NAMED = 4


class ClassNames(RecordRule):
    """Class names of the records are not in the label map, and their boxes are dropped.

    Anti-pattern

        image/object/class/text: 'Traffic Light'
        item { id: 10 name: 'traffic light' }

    Best practice

        image/object/class/text: 'traffic light'
        item { id: 10 name: 'traffic light' }

    Letter by letter: case and spaces count.

    Source

    data_decoders/tf_example_decoder._ClassTensorHandler gives -1 for a name that the label map does
    not have, even where the record holds a label too; utils/ops.filter_unrecognized_classes drops
    such boxes, in training and in the evaluation, without a word.
    """

    code = "REC012"
    name = "records.class_names"
    causes = ("label_name_mismatch",)

    def check(self, subject: RecordSubject) -> Iterator[Finding]:
        """Yields one finding a split with names that the label map does not have."""
        label_map = subject.census.label_map
        if label_map is None:
            return
        for split in subject.census.splits:
            named = split.boxes.name != NO_NAME
            unknown = named & (split.class_ids(label_map) == UNKNOWN_CLASS)
            count = int(unknown.sum())
            if not count:
                continue
            positions = np.unique(split.boxes.name[unknown])
            names = [split.vocabulary[int(one)] for one in positions]
            pairs = {name: near for name in names if (near := _same_but_for_form(name, label_map))}
            told = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            alike = next(iter(pairs.items()), None)
            have = ", ".join(f"'{name}'" for name in list(label_map.items.values())[:3])
            yield self.told(
                subject,
                split,
                "label_name_mismatch",
                Severity.FATAL if count == len(unknown) else Severity.CRITICAL,
                found=f"{count:,} of {len(unknown):,} boxes in {split.images_told(unknown)} "
                f"have a name that the label map does not have: {told}{more}",
                expected=f"names of the label map: {have} ..."
                if alike is None
                else f"'{alike[1]}' as the label map has it, and not '{alike[0]}'",
                why="The OD API drops these boxes without a word, even where the record has a label"
                " too; their objects are background in training and missing in the metric.",
                mend="name the label map that the records were written with"
                if alike is None
                else "write the names of the label map, letter by letter",
                count=count,
                counted="boxes",
                examples=split.examples(unknown),
                loss_ap=90.0 * count / len(unknown),
                name="label_map_path",
            )


def _same_but_for_form(name: str, label_map: LabelMap) -> str:
    """Gives the name of the label map that differs by case, spaces and dashes alone."""
    wanted = _bare(name)
    names = [*label_map.items.values(), *label_map.display_names.values()]
    return next((one for one in names if _bare(one) == wanted), "")


def _bare(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name).casefold()
