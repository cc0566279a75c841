"""Rules about records: what is in them, against the label map and the pipeline."""

from __future__ import annotations

from odapi_repro.diagnosis.record_rule import RecordRule
from odapi_repro.diagnosis.rules.records.against_source import AnnotationsDiffer, NotOfManifest
from odapi_repro.diagnosis.rules.records.at_network_input import (
    AnchorsDoNotFit,
    BoxesBeyondMost,
    BoxesLostInAugmentation,
    ObjectsTooSmall,
)
from odapi_repro.diagnosis.rules.records.record_boxes import (
    AreasDiffer,
    BoxCorners,
    BoxesAlreadyResized,
    BoxesDoubled,
    BoxesNotNormalized,
    BoxesOffMasks,
)
from odapi_repro.diagnosis.rules.records.record_classes import (
    ClassBalance,
    ClassesBeyondModel,
    ClassIds,
    ClassNames,
    ClassShares,
    CrowdShare,
    EmptyImages,
    LabelMapUnusable,
)
from odapi_repro.diagnosis.rules.records.record_images import (
    BrokenImages,
    DuplicateImages,
    EvalImagesInTraining,
    MalformedRecords,
    ShardsMissing,
    SourceIdsRepeated,
    UnreadableRecords,
)
from odapi_repro.diagnosis.rules.records.record_keypoints import KeypointsUnfit, KeypointValues
from odapi_repro.diagnosis.rules.records.record_masks import MasksUnfit

__all__ = ["RULES"]

RULES: tuple[RecordRule, ...] = (
    UnreadableRecords(),
    ShardsMissing(),
    MalformedRecords(),
    BrokenImages(),
    BoxesNotNormalized(),
    BoxCorners(),
    BoxesAlreadyResized(),
    MasksUnfit(),
    BoxesOffMasks(),
    LabelMapUnusable(),
    ClassIds(),
    ClassNames(),
    ClassesBeyondModel(),
    BoxesBeyondMost(),
    DuplicateImages(),
    EvalImagesInTraining(),
    ClassBalance(),
    SourceIdsRepeated(),
    EmptyImages(),
    CrowdShare(),
    AreasDiffer(),
    AnnotationsDiffer(),
    NotOfManifest(),
    BoxesLostInAugmentation(),
    BoxesDoubled(),
    KeypointsUnfit(),
    KeypointValues(),
    ObjectsTooSmall(),
    AnchorsDoNotFit(),
    ClassShares(),
)
