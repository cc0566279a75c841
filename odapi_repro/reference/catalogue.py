"""All references by name, and which of them a pipeline is to be compared with.

Six models of the zoo's table have no file in configs/tf2 (two CenterNets without keypoints, two
CenterNets with MobileNet v2, two Faster R-CNNs with Inception ResNet v2), and so no entry here.

Only the OD API's own recipes are inferred; google/automl's is compared with when it is named.

The reference that a config names in a comment, which `fix` leaves where nobody would guess it.

A config that was led to a reference other than the nearest one would be held against the nearest
one afterwards, and be called wrong for what is right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from odapi_repro.errors import UserError
from odapi_repro.reference.entry import META_ARCHITECTURES, Reference

if TYPE_CHECKING:
    from odapi_repro.pipeline import Pipeline


# --- All references by name: the 36 pipelines of configs/tf2, and google/automl's recipe beside
# them ---


class _Catalogue(Mapping[str, Reference]):
    """References by short name, in the zoo's order; made from the families when first looked at."""

    def __getitem__(self, name: str) -> Reference:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @cached_property
    def _entries(self) -> dict[str, Reference]:
        from odapi_repro.reference.families import all_references

        return {reference.name: reference for reference in all_references()}


REFERENCES: Mapping[str, Reference] = _Catalogue()


def reference_named(name: str) -> Reference:
    """Gives the reference of a short name, a config's name, a zoo model or a zoo archive.

    Case, `.config` and the sort of separator do not matter: `EfficientDet D3 896x896`,
    `ssd_efficientdet_d3_896x896_coco17_tpu-32`, `efficientdet_d3` and the file `effdet_d3` are one.

    Raises:
        UserError: no such reference; names the nearest.
    """
    import difflib

    aliases = {
        _plain(alias): reference
        for reference in REFERENCES.values()
        for alias in _aliases(reference)
    }
    wanted = _plain(name)
    if wanted in aliases:
        return aliases[wanted]
    close = [alias for alias in aliases if wanted and wanted in alias]
    close += difflib.get_close_matches(wanted, aliases, n=12, cutoff=0.5)
    names = list(dict.fromkeys(aliases[alias].name for alias in close))[:3]
    nearest = f"did you mean {' or '.join(names)}? " if names else ""
    raise UserError(
        f"'{name}' is no reference",
        expected="a short name, the name of a config in configs/tf2, or of a model in the zoo",
        mend=f"{nearest}python -m odapi_repro.zoo lists all {len(REFERENCES)}",
    )


def _aliases(reference: Reference) -> list[str]:
    archive = reference.archive.rsplit("/", maxsplit=1)[-1].removesuffix(".tar.gz")
    names = (reference.name, reference.config, reference.zoo_model, archive)
    return [alias for alias in (*names, reference.source.shipped_as) if alias]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower().removesuffix(".config"))


# --- Which reference a pipeline is to be compared with ---


# --- Which reference a pipeline is to be compared with ---


def reference_of(pipeline: Pipeline) -> Reference | None:
    """Gives the reference with the pipeline's feature extractor and task, None without one.

    Where several have both, the one of the nearest input size; where several are as near, the one
    whose model has the fewest other fields.
    """
    extractor, task = _feature_extractor(pipeline), _task(pipeline)
    fitting = [
        reference
        for reference in _candidates()
        if reference.feature_extractor == extractor and _task_of(reference) == task
    ]
    if not fitting:
        return None
    size = _input_size(pipeline)
    nearest = min(_distance(reference, size) for reference in fitting)
    tied = [r for r in fitting if math.isclose(_distance(r, size), nearest)]
    if len(tied) == 1:
        return tied[0]
    return min(tied, key=lambda reference: _model_differences(pipeline, reference))


def nearest_reference(pipeline: Pipeline) -> tuple[Reference, str]:
    """Gives the reference that is nearest to a pipeline, and one sentence that says why.

    Without one of the same feature extractor and task: the same meta-architecture first, then one
    that predicts no less (masks, keypoints), the same feature extractor or the one named most
    alike, no further outputs, and the nearest input size.
    """
    size = _input_size(pipeline)
    exact = reference_of(pipeline)
    if exact is not None:
        return exact, f"same feature extractor {exact.feature_extractor} and {_input(exact, size)}"
    extractor, (masks, keypoints) = _feature_extractor(pipeline), _task(pipeline)

    def order(reference: Reference) -> tuple[float, ...]:
        return (
            reference.meta_architecture != pipeline.meta_architecture,
            masks > reference.predicts_masks or keypoints > reference.predicts_keypoints,
            -_similarity(reference.feature_extractor, extractor),
            _task_of(reference) != (masks, keypoints),
            _distance(reference, size),
        )

    best = min(_candidates(), key=order)
    if best.meta_architecture != pipeline.meta_architecture:
        kind = pipeline.meta_architecture
        why = f"no reference has the meta-architecture {kind}" if kind else "it describes no model"
        return best, f"{why}; {best.name} is used in its place"
    if best.feature_extractor == extractor:
        outputs = "masks" if best.predicts_masks else "keypoints"
        if not any(_task_of(best)):
            outputs = "boxes only"
        return best, (
            f"same feature extractor {extractor} and {_input(best, size)}, though it predicts "
            f"{outputs}"
        )
    return best, (
        f"no reference of this task has the feature extractor {extractor or '(unset)'}; nearest in "
        f"name among {best.meta_architecture} models is {best.feature_extractor}, with "
        f"{_input(best, size)}"
    )


def _input(reference: Reference, size: tuple[int, int] | None) -> str:
    theirs = "x".join(map(str, reference.image_size))
    if size is None or size == reference.image_size:
        return f"{theirs} input"
    return f"{theirs} input against {'x'.join(map(str, size))} here"


def _candidates() -> list[Reference]:
    return [reference for reference in REFERENCES.values() if reference.recipe == "odapi"]


def _task(pipeline: Pipeline) -> tuple[bool, bool]:
    """Whether masks and keypoints are trained."""
    masks, keypoints = pipeline.predicts_masks, False
    if pipeline.meta_architecture == "center_net":
        masks = pipeline.proto.model.center_net.HasField("mask_estimation_task")
        keypoints = bool(pipeline.proto.model.center_net.keypoint_estimation_task)
    return masks, keypoints


def _task_of(reference: Reference) -> tuple[bool, bool]:
    return reference.predicts_masks, reference.predicts_keypoints


def _feature_extractor(pipeline: Pipeline) -> str:
    extractor = getattr(pipeline.model, "feature_extractor", None)
    return str(getattr(extractor, "type", ""))


def _input_size(pipeline: Pipeline) -> tuple[int, int] | None:
    if pipeline.meta_architecture not in META_ARCHITECTURES.values():
        return None
    from odapi_repro.pipeline import Circumstances, derive_quantities

    found = derive_quantities(pipeline, Circumstances(look_at_disk=False))
    if min(found.input_height or 0, found.input_width or 0) < 1:
        return None
    return found.input_height or 0, found.input_width or 0


def _distance(reference: Reference, size: tuple[int, int] | None) -> float:
    """How many times larger one input is than the other, as the logarithm of their areas' ratio."""
    if size is None:
        return 0.0
    return abs(math.log(math.prod(size) / math.prod(reference.image_size)))


def _similarity(one: str, other: str) -> float:
    import difflib

    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _model_differences(pipeline: Pipeline, reference: Reference) -> int:
    """How many fields of the model differ, its size and its classes apart."""
    from odapi_repro.pipeline import field_differences

    differing = field_differences(pipeline.proto.model, reference.pipeline().proto.model)
    ignored = (".num_classes", ".image_resizer.")
    return sum(not any(part in path for part in ignored) for path, _, _ in differing)


# --- The reference that a config names in a comment, which `fix` leaves where nobody would guess it
# ---


_MARK = "# odapi_repro reference:"
_NAMED = re.compile(rf"^[ \t]*{re.escape(_MARK)}[ \t]*(\w+)[^\n]*\n?", re.MULTILINE)


def reference_for(text: str, pipeline: Pipeline) -> tuple[Reference, str]:
    """Gives the reference that the text names, else the nearest; and a sentence that says why."""
    named = _NAMED.search(text) if _MARK in text else None
    if named is not None and named[1] in REFERENCES:
        return REFERENCES[named[1]], "the config names it in a comment"
    return nearest_reference(pipeline)


def with_reference_named(text: str, pipeline: Pipeline, reference: Reference) -> str:
    """Gives a text for which `reference_for` gives this reference, by a first line if need be."""
    if reference_for(text, pipeline)[0].name == reference.name:
        return text
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{_MARK} {reference.name}{newline}{_NAMED.sub('', text)}"
