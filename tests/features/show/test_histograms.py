"""The histograms: every object is in them, and nothing stops where there is little to draw."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from split_reports import split_report

from odapi_repro.features.show import show_plots as classes
from odapi_repro.features.show.show_plots import classes_png, histograms_png
from odapi_repro.features.show.show_report import size_name
from odapi_repro.page.numbers import percent
from odapi_repro.pipeline import load_pipeline


@pytest.mark.parametrize("count", [0, 400])
def test_pages_are_drawn_for_few_objects_and_for_many(count: int) -> None:
    report = split_report(None, count)
    for page in (histograms_png(report), classes_png(report)):
        with Image.open(io.BytesIO(page)) as image:
            assert image.format == "PNG"
            assert image.width > 500


def test_a_class_has_a_row_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "MOST_CLASSES", 30)
    heights = []
    for num_classes in (10, 20, 99):
        with Image.open(io.BytesIO(classes_png(split_report(None, 400, num_classes)))) as image:
            heights.append(image.height)
    # 0.2 inches of 160 pixels a class.
    assert heights[1] - heights[0] == pytest.approx(10 * 32, abs=2)
    assert heights[2] - heights[1] == pytest.approx(10 * 32, abs=2)


def test_rows_by_class_and_size_add_up_to_all_objects(repository: Path) -> None:
    report = split_report(load_pipeline(repository / "pipelines" / "mask_rcnn.config"), 300)
    assert report.anchors is not None
    for rows in (report.classes, report.sizes):
        assert sum(row.objects for row in rows) == 300
        reached = [row.reached for row in rows if row.reached]
        assert sum(one.compared for one in reached) == 300
        assert sum(one.below_matched for one in reached) == report.anchors.reached.below_matched
    assert sum(level.best_for for level in report.anchors.levels) <= 300
    assert [row.objects for row in report.classes] == sorted(
        (row.objects for row in report.classes), reverse=True
    )
    # Seven images, at most 20 objects each.
    counts = np.bincount(report.table.image_index, minlength=7)
    assert report.num_beyond_limit == int(np.maximum(counts - 20, 0).sum()) > 0


def test_without_objects_there_is_nothing_to_compare(repository: Path) -> None:
    report = split_report(load_pipeline(repository / "pipelines" / "effdet_d0.config"), 0)
    assert report.anchors is None
    assert report.notes == ("no object to compare with anchors",)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (0.0004, "0.04%"), (0.123, "12.3%"), (0.9999, "99.9%"), (1.0, "100%")],
)
def test_a_share_that_is_there_is_never_none_and_never_all(share: float, text: str) -> None:
    assert percent(share) == text


def test_sizes_read_as_intervals() -> None:
    assert size_name(0, 16) == "< 16"
    assert size_name(16, 32) == "16 to 32"
    assert size_name(512, float("inf")) == "≥ 512"
