"""Data: TFRecords and their annotations, label maps, COCO json, the embedded shapes set, checks."""

from __future__ import annotations

from odapi_repro.datasets.annotations import UNKNOWN_CLASS, AnnotatedImage
from odapi_repro.datasets.contact_sheet import contact_sheet
from odapi_repro.datasets.embedded import EmbeddedDataset, default_cache_root, embedded_dataset
from odapi_repro.datasets.example import ParsedExample, make_example, parse_example
from odapi_repro.datasets.ground_truth import coco_ground_truth, write_coco_json
from odapi_repro.datasets.label_map import LabelMap, read_label_map, write_label_map
from odapi_repro.datasets.record_check import RecordSummary, check_records
from odapi_repro.datasets.records import RecordFile, RecordManifest, manifest, resolve_patterns
from odapi_repro.datasets.shapes_spec import SHAPES_LABEL_MAP, ShapesSpec
from odapi_repro.datasets.source import EMBEDDED, DataSource, resolve_data_source
from odapi_repro.datasets.tfrecord import count_records, read_records, write_records

__all__ = [
    "EMBEDDED",
    "SHAPES_LABEL_MAP",
    "UNKNOWN_CLASS",
    "AnnotatedImage",
    "DataSource",
    "EmbeddedDataset",
    "LabelMap",
    "ParsedExample",
    "RecordFile",
    "RecordManifest",
    "RecordSummary",
    "ShapesSpec",
    "check_records",
    "coco_ground_truth",
    "contact_sheet",
    "count_records",
    "default_cache_root",
    "embedded_dataset",
    "make_example",
    "manifest",
    "parse_example",
    "read_label_map",
    "read_records",
    "resolve_data_source",
    "resolve_patterns",
    "write_coco_json",
    "write_label_map",
    "write_records",
]
