"""Rules about records: what is in them, against the label map and the pipeline."""

from __future__ import annotations

from odapi_repro.diagnosis.record_rule import RecordRule
from odapi_repro.diagnosis.rules.records.anchor_reach import AnchorsDoNotFit
from odapi_repro.diagnosis.rules.records.areas import AreasDiffer
from odapi_repro.diagnosis.rules.records.augmentation import BoxesLostInAugmentation
from odapi_repro.diagnosis.rules.records.balance import ClassBalance, CrowdShare, EmptyImages
from odapi_repro.diagnosis.rules.records.box_places import BoxesAlreadyResized, BoxesOffMasks
from odapi_repro.diagnosis.rules.records.box_values import BoxCorners, BoxesNotNormalized
from odapi_repro.diagnosis.rules.records.class_ids import ClassIds
from odapi_repro.diagnosis.rules.records.class_names import ClassNames
from odapi_repro.diagnosis.rules.records.class_shares import ClassShares
from odapi_repro.diagnosis.rules.records.doubled import BoxesDoubled
from odapi_repro.diagnosis.rules.records.duplicates import (
    DuplicateImages,
    EvalImagesInTraining,
    SourceIdsRepeated,
)
from odapi_repro.diagnosis.rules.records.files import UnreadableRecords
from odapi_repro.diagnosis.rules.records.images import BrokenImages
from odapi_repro.diagnosis.rules.records.keypoint_values import KeypointValues
from odapi_repro.diagnosis.rules.records.keypoints import KeypointsUnfit
from odapi_repro.diagnosis.rules.records.label_map import ClassesBeyondModel, LabelMapUnusable
from odapi_repro.diagnosis.rules.records.malformed import MalformedRecords
from odapi_repro.diagnosis.rules.records.masks import MasksUnfit
from odapi_repro.diagnosis.rules.records.max_boxes import BoxesBeyondMost
from odapi_repro.diagnosis.rules.records.object_sizes import ObjectsTooSmall
from odapi_repro.diagnosis.rules.records.shards import ShardsMissing
from odapi_repro.diagnosis.rules.records.source import AnnotationsDiffer, NotOfManifest

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
