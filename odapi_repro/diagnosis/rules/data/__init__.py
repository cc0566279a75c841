"""Rules about records, label maps and how they are read."""

from __future__ import annotations

from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.data.boxes import MaxBoxesTruncates
from odapi_repro.diagnosis.rules.data.classes import NumClassesMismatch
from odapi_repro.diagnosis.rules.data.crowd import CrowdTrainedAsPositive
from odapi_repro.diagnosis.rules.data.dataset_size import DatasetTooSmall
from odapi_repro.diagnosis.rules.data.input_patterns import InputPatterns
from odapi_repro.diagnosis.rules.data.keypoint_deviations import KeypointDeviations
from odapi_repro.diagnosis.rules.data.keypoint_labels import KeypointLabels
from odapi_repro.diagnosis.rules.data.keypoints import KeypointsRead
from odapi_repro.diagnosis.rules.data.label_maps import LabelMaps
from odapi_repro.diagnosis.rules.data.masks import MasksNotLoaded
from odapi_repro.diagnosis.rules.data.overlap import TrainEqualsEval
from odapi_repro.diagnosis.rules.data.reader_buffers import ReaderBuffers
from odapi_repro.diagnosis.rules.data.reader_refused import InputReaderRefused
from odapi_repro.diagnosis.rules.data.record_files import RecordFiles
from odapi_repro.diagnosis.rules.data.shards import ShardsRead
from odapi_repro.diagnosis.rules.data.shuffle import ShuffleDisabled

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
