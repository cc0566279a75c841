"""Which reference a pipeline is to be compared with.

Only the OD API's own recipes are inferred; google/automl's is compared with when it is named.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from odapi_repro.reference.catalogue import REFERENCES
from odapi_repro.reference.entry import META_ARCHITECTURES, Reference

if TYPE_CHECKING:
    from odapi_repro.pipeline import Pipeline


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
        return best, f"{why}; {best.name} stands in for want of one"
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
