"""Puts a config's model and augmentation back to the reference's, but for what is kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from google.protobuf.message import Message
from object_detection.protos import pipeline_pb2

from odapi_repro.diagnosis.field_factors import FACTOR_ORDER
from odapi_repro.diagnosis.mending.constraints import Constraints
from odapi_repro.pipeline import Pipeline, derive_quantities
from odapi_repro.pipeline.quantities import Circumstances

# The data decide these, not the recipe.
_OF_THE_DATA = ("num_classes",)
_PATHS = ("_path", "_label_map")
_CROP = "random_scale_crop_and_pad_to_square"
#: The field of the augmentation steps.
AUGMENTATION = "train_config.data_augmentation_options"
_STEP = re.compile(rf"{re.escape(AUGMENTATION)}\[(\d+)\]")


def restore_model(pipeline: Pipeline, reference: Pipeline, constraints: Constraints) -> Pipeline:
    """Gives the pipeline with the reference's model, its own classes and what is kept.

    A field that says explicitly what the reference leaves to its default stays. Of another
    meta-architecture the whole model is taken, unless the backbone is kept: then nothing is.
    """
    same = pipeline.meta_architecture == reference.meta_architecture
    if constraints.keeps("backbone") and (
        not same or _extractor(pipeline) != _extractor(reference)
    ):
        return pipeline

    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        kind = reference.meta_architecture
        theirs = getattr(reference.proto.model, kind)
        if not same:
            classes = pipeline.num_classes
            proto.model.CopyFrom(reference.proto.model)
            if classes and hasattr(theirs, "num_classes"):
                getattr(proto.model, kind).num_classes = classes
            return
        _adopt(getattr(proto.model, kind), theirs, f"model.{kind}", constraints)

    edited = pipeline.edited(edit)
    return pipeline if edited.proto == pipeline.proto else edited


def restore_factors(pipeline: Pipeline, reference: Pipeline, factors: Collection[str]) -> Pipeline:
    """Gives the pipeline with the reference's model as far as these factors go, no further.

    Of another meta-architecture nothing is taken.
    """
    if pipeline.meta_architecture != reference.meta_architecture:
        return pipeline
    others = frozenset(factor for factor in FACTOR_ORDER if factor not in factors)
    return restore_model(pipeline, reference, Constraints(keep=others))


def restore_augmentation(
    pipeline: Pipeline, reference: Pipeline, constraints: Constraints
) -> Pipeline:
    """Gives the pipeline with the reference's augmentation, crops of the input's own size."""
    if constraints.keeps("augmentation"):
        return pipeline

    return _with_augmentation(pipeline, _augmentation_of(reference, pipeline))


def amend_augmentation(
    pipeline: Pipeline, reference: Pipeline, fields: Collection[str], constraints: Constraints
) -> Pipeline:
    """Gives the pipeline with the augmentation steps mended that the fields name, no others.

    A step becomes the reference's of its kind, or goes where there is none; where the whole list is
    named, the reference's steps that are missing are added.
    """
    if constraints.keeps("augmentation"):
        return pipeline
    theirs = {_kind(step): step for step in _augmentation_of(reference, pipeline)}
    named = {int(match[1]) for path in fields if (match := _STEP.match(path))}
    steps = []
    for index, step in enumerate(pipeline.proto.train_config.data_augmentation_options):
        if index not in named:
            steps.append(step)
        elif _kind(step) in theirs:
            steps.append(theirs[_kind(step)])
    if AUGMENTATION in fields or not steps:
        present = {_kind(step) for step in steps}
        steps += [step for kind, step in theirs.items() if kind not in present]
    return _with_augmentation(pipeline, steps)


def _augmentation_of(reference: Pipeline, pipeline: Pipeline) -> list[Any]:
    """The reference's steps, with crops of the pipeline's own input size."""
    wanted = reference.edited(lambda _: None).proto.train_config.data_augmentation_options
    size = derive_quantities(pipeline, Circumstances(look_at_disk=False))
    for option in wanted:
        if _kind(option) == _CROP and size.input_height:
            getattr(option, _CROP).output_size = size.input_height
    return list(wanted)


def _with_augmentation(pipeline: Pipeline, steps: Sequence[Any]) -> Pipeline:
    def edit(proto: pipeline_pb2.TrainEvalPipelineConfig) -> None:
        own = proto.train_config.data_augmentation_options
        if len(own) != len(steps) or any(
            not _equal(one, other) for one, other in zip(own, steps, strict=True)
        ):
            wanted = list(steps)
            del own[:]
            own.extend(wanted)

    edited = pipeline.edited(edit)
    return pipeline if edited.proto == pipeline.proto else edited


def _kind(step: Any) -> str:
    return str(step.WhichOneof("preprocessing_step"))


def _extractor(pipeline: Pipeline) -> str:
    return str(getattr(getattr(pipeline.model, "feature_extractor", None), "type", ""))


def _equal(one: Message, other: Message) -> bool:
    """Whether two messages mean the same, unset fields counting as their defaults."""
    if one.DESCRIPTOR.full_name != other.DESCRIPTOR.full_name:
        return False
    for oneof in one.DESCRIPTOR.oneofs:
        if one.WhichOneof(oneof.name) != other.WhichOneof(oneof.name):
            return False
    for descriptor in one.DESCRIPTOR.fields:
        name = descriptor.name
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, Message):
            if (one.HasField(name) or other.HasField(name)) and not _equal(left, right):
                return False
        elif repr(left) != repr(right):
            return False
    return True


def _adopt(own: Any, theirs: Any, path: str, constraints: Constraints) -> None:
    """Leads a message to the reference's, where the two do not mean the same anyway."""
    for descriptor in theirs.DESCRIPTOR.fields:
        name = descriptor.name
        here = f"{path}.{name}"
        left, right = getattr(own, name), getattr(theirs, name)
        if isinstance(left, Message) and own.HasField(name) and theirs.HasField(name):
            _adopt(left, right, here, constraints)  # parts of it may be kept and others not
        elif _is_left_alone(here, name, constraints):
            continue
        elif not isinstance(left, Message):
            _adopt_value(own, theirs, name)
        elif theirs.HasField(name):
            left.CopyFrom(right)
            left.SetInParent()
        elif own.HasField(name) and not _is_chosen_elsewhere(own, theirs, descriptor):
            own.ClearField(name)


def _is_left_alone(path: str, name: str, constraints: Constraints) -> bool:
    if name in _OF_THE_DATA or name.endswith(_PATHS):
        return True
    return constraints.kept_factor_of([path]) is not None


def _is_chosen_elsewhere(own: Message, theirs: Message, descriptor: Any) -> bool:
    """Whether another member of the oneof was copied already, which cleared this one."""
    oneof = descriptor.containing_oneof
    return bool(oneof is not None and own.WhichOneof(oneof.name) != descriptor.name)


def _adopt_value(own: Any, theirs: Any, name: str) -> None:
    left, right = getattr(own, name), getattr(theirs, name)
    if repr(left) == repr(right):
        return
    if isinstance(left, (str, bytes, int, float)):
        if theirs.HasField(name):
            setattr(own, name, right)
        else:
            own.ClearField(name)
    else:
        own.ClearField(name)
        getattr(own, name).MergeFrom(right)
