"""Rules about records, label maps and how they are read."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.data.annotations_read import (
    CrowdTrainedAsPositive,
    MasksNotLoaded,
    MaxBoxesTruncates,
)
from odapi_repro.diagnosis.rules.data.images_read import (
    DatasetTooSmall,
    ReaderBuffers,
    ShardsRead,
    ShuffleDisabled,
    TrainEqualsEval,
)
from odapi_repro.diagnosis.rules.data.input_files import (
    InputPatterns,
    InputReaderRefused,
    RecordFiles,
)
from odapi_repro.diagnosis.rules.data.keypoint_inputs import (
    KeypointDeviations,
    KeypointLabels,
    KeypointsRead,
)
from odapi_repro.diagnosis.rules.data.label_maps import LabelMaps, NumClassesMismatch

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    InputPatterns(),
    RecordFiles(),
    InputReaderRefused(),
    ReaderBuffers(),
    ShardsRead(),
    TrainEqualsEval(),
    LabelMaps(),
    NumClassesMismatch(),
    DatasetTooSmall(),
    MaxBoxesTruncates(),
    MasksNotLoaded(),
    ShuffleDisabled(),
    CrowdTrainedAsPositive(),
    KeypointsRead(),
    KeypointLabels(),
    KeypointDeviations(),
)
