"""Evaluation on images that were trained on."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import folder_of, input_patterns, is_placeholder, parts_of

_FIELDS = (
    "eval_input_reader[0].tf_record_input_reader.input_path",
    "train_input_reader.tf_record_input_reader.input_path",
)
_WILD = re.compile(r"[*?\[]")
# More than any config lists; a list against a list is quadratic in patterns, linear in names.
_MOST_FILES, _MOST_PATTERNS = 5_000, 50


class TrainEqualsEval(Rule):
    """The evaluation reads training records, and its number says nothing about other images.

    Anti-pattern

        train_input_reader {
          tf_record_input_reader { input_path: "data/*.record" }
        }
        eval_input_reader {
          tf_record_input_reader { input_path: "data/test.record" }
        }

    The same file in both readers, or a training pattern that matches the evaluation's files too.

    Best practice

        train_input_reader {
          tf_record_input_reader { input_path: "data/train.record" }
        }
        eval_input_reader {
          tf_record_input_reader { input_path: "data/test.record" }
        }

    Source

    model_lib_v2.eval_continuously reads eval_input_reader[0] as it stands. configs/tf2/
    centernet_hourglass104_512x512_kpts evaluates on train2017 itself, a slip in the published
    file.
    """

    code = "DAT003"
    name = "data.train_eq_eval"
    causes = ("train_eq_eval",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when some evaluation pattern, or file on this disk, is trained on."""
        look = subject.circumstances.look_at_disk
        train = _files_or_patterns(input_patterns(subject.pipeline), look)
        evaluation = _files_or_patterns(input_patterns(subject.pipeline, evaluation=True), look)
        trained, wild = set(train), _wild(train)
        shared = [one for one in evaluation if one in trained or any(_within(one, w) for w in wild)]
        partly = [
            one
            for one in _wild(evaluation)
            if one not in shared and any(_within(other, one) for other in train)
        ]
        if not shared and not partly:
            return
        whole = len(shared) == len(evaluation)
        as_published = _is_the_references_own(subject)
        number = "all" if whole else f"{len(shared) + len(partly)} of {len(evaluation)}"
        severity = Severity.FATAL if whole else Severity.CRITICAL
        yield self.finding(
            "train_eq_eval",
            Severity.INFO if as_published else severity,
            fields=_FIELDS,
            found=f"{number} of the evaluation's records are trained on: {(shared + partly)[0]}"
            + (", as in the published config" if as_published else ""),
            expected="records of images that training never sees",
            why=(
                "The metric measures what was learnt by heart: it rises while the model gets no "
                "better on other images."
            ),
            loss_ap=60.0 if whole else 20.0,
            count=len(shared) + len(partly),
        )


def _files_or_patterns(patterns: Sequence[str], look: bool) -> list[str]:
    """Gives the files on this disk that patterns match, and the patterns that are not here."""
    found: list[str] = []
    for pattern in patterns[:_MOST_FILES]:
        if is_placeholder(pattern) or not _names_records(pattern):
            continue
        files = []
        if folder_of(pattern, look=look) is not None:
            files = glob.glob(pattern, include_hidden=True)[:_MOST_FILES]
        found += [os.path.normpath(one) for one in files or [pattern]]
    return list(dict.fromkeys(found))


def _names_records(pattern: str) -> bool:
    """Whether it is more than the bare word that a template's placeholder was replaced with."""
    return bool(re.search(r"[./\\*?\d]", pattern))


def _wild(patterns: Sequence[str]) -> list[str]:
    return [one for one in patterns if _WILD.search(one)][:_MOST_PATTERNS]


def _within(one: str, other: str) -> bool:
    """Whether everything that `one` matches is matched by `other` too, by their texts.

    A wildcard of `one` has to lie under one of `other`; no wildcard reaches over a folder.
    """
    inner, outer = parts_of(one), parts_of(other)
    if len(inner) != len(outer) or one[:1] != other[:1]:
        return False
    return all(map(fnmatchcase, inner, outer))


def _is_the_references_own(subject: Subject) -> bool:
    """Whether the reference reads the same records in both, and the config reads those."""
    reference = subject.reference_pipeline
    theirs = [input_patterns(reference), input_patterns(reference, evaluation=True)]
    if not theirs[0] or theirs[0] != theirs[1]:
        return False
    names = [os.path.basename(one) for one in theirs[0]]
    own = input_patterns(subject.pipeline, evaluation=True)
    return [os.path.basename(one) for one in own] == names
