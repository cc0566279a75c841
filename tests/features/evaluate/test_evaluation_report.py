"""results/<name>/ of an evaluation: what its tables, pictures and sentences say."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chain_scenes import Scene, chain_of
from PIL import Image
from pycocotools import mask as mask_api
from small_sets import MIXED_SIZES, Json, data_set, random_set, results, scene

from odapi_repro.errors import UserError
from odapi_repro.evaluation.breakdown import Resampling
from odapi_repro.evaluation.coco_data import detections_of, ground_truth_of
from odapi_repro.evaluation.error_analysis.match_outcomes import Outcome
from odapi_repro.evaluation.eval_data import EvalData
from odapi_repro.features.evaluate.evaluation_page import caveats, evaluation_page, findings
from odapi_repro.features.evaluate.evaluation_pictures import (
    DrawnObject,
    Page,
    Tile,
    pages,
    render_page,
)
from odapi_repro.features.evaluate.evaluation_plots import error_figure, precision_recall_figure
from odapi_repro.features.evaluate.evaluation_report import (
    EvaluationReport,
    Found,
    assemble_evaluation,
)
from odapi_repro.features.evaluate.evaluation_tables import chain_rows, chain_section
from odapi_repro.features.evaluate.write_evaluation import (
    csv_tables,
    evaluation_json,
    render_json,
    write_evaluation,
)
from odapi_repro.page import blocks
from odapi_repro.page.markdown_page import markdown_page
from odapi_repro.page.terminal_page import terminal_page
from odapi_repro.reference import reference_named

A, B = 1, 2
HERE, THERE, ELSEWHERE = (
    [100.0, 100.0, 100.0, 100.0],
    [20.0, 20.0, 60.0, 60.0],
    [300.0, 300.0, 50.0, 50.0],
)
TINY = Resampling(resamples=20)


LIMIT = ("excess", "limit_low", "limit_high")


def report_of(
    data: Json, found: list[Json], against: list[Json] | None = None, **kwargs: object
) -> EvaluationReport:
    truth = ground_truth_of(data)
    models = [Found("mine", ("a results file",), detections_of(found, truth))]
    if against is not None:
        models.append(Found("theirs", (), detections_of(against, truth)))
    kwargs = {"name": "try", "command": "evaluate it", "resampling": TINY, **kwargs}
    return assemble_evaluation(EvalData("made up", truth), *models, **kwargs)  # type: ignore[arg-type]


def with_masks(data: Json, found: list[Json]) -> tuple[Json, list[Json]]:
    """Every box filled, as a mask."""
    for one in (*data["annotations"], *found):
        x, y, width, height = (round(value) for value in one["bbox"])
        pixels = np.zeros((400, 400), np.uint8, order="F")
        pixels[y : y + height, x : x + width] = 1
        encoded = mask_api.encode(pixels)
        one["segmentation"] = {**encoded, "counts": encoded["counts"].decode()}
    return data, found


@pytest.fixture(scope="module")
def one() -> EvaluationReport:
    """One image: a found, b detected as a; an object of a is missed, and a crowd."""
    data = data_set(
        [(1, A, HERE), (1, B, THERE), (1, A, ELSEWHERE)], crowds=[(1, A, [0.0, 380.0, 20.0, 20.0])]
    )
    found = results([(1, A, HERE, 0.9), (1, A, THERE, 0.95), (1, A, ELSEWHERE, 0.001)])
    found[-1]["bbox"] = [300.0, 380.0, 20.0, 20.0]
    return report_of(data, found)


@pytest.fixture(scope="module")
def pair() -> EvaluationReport:
    data, found = random_set(3)
    _, others = random_set(4)
    return report_of(data, found, others)


# --- The terminal ---


def render_evaluation(report: EvaluationReport, *, per_class: bool = False) -> str:
    return terminal_page(evaluation_page(report, per_class=per_class))


def test_the_terminal_has_the_twelve_metrics_with_intervals_errors_and_recall(
    pair: EvaluationReport,
) -> None:
    text = render_evaluation(pair, per_class=True)
    metrics = text.split("where the points went")[0].split("\nBoxes\n")[1]
    ap = next(line for line in metrics.splitlines() if line.split()[:1] == ["AP"])
    own = pair.model.breakdowns["bbox"]
    assert ap.split()[1:5] == [".50:.95", "all", "100", f"{own.scores.metrics['AP']:.1f}"]
    interval = own.interval("AP")
    assert interval is not None
    assert f"{interval.low:.1f} to {interval.high:.1f}" in ap
    assert [line.split()[0] for line in metrics.splitlines() if line.startswith("  A")] == list(
        own.scores.metrics
    )
    for kind in ("classification", "localisation", "both", "duplicate", "background", "missed"):
        assert f"\n  {kind}" in text
    assert "  size " in text
    assert "  class " in text
    assert text.isascii()


def test_the_class_table_is_printed_only_when_asked_for_and_has_the_worst_class_first(
    pair: EvaluationReport,
) -> None:
    assert "classes, the worst first" not in render_evaluation(pair)
    lines = (
        render_evaluation(pair, per_class=True).split("classes, the worst first")[1].splitlines()
    )
    aps = [float(line.split()[2]) for line in lines[3:6]]
    assert aps == sorted(aps)


def test_the_sentence_names_score_interval_difference_and_the_largest_loss(
    pair: EvaluationReport,
) -> None:
    (sentence,) = findings(pair)
    own, other = (model.breakdowns["bbox"] for model in (pair.model, pair.against) if model)
    mine, theirs = own.scores.metrics["AP"], other.scores.metrics["AP"]
    assert mine is not None
    assert theirs is not None
    assert f"AP {mine:.1f} (95 % interval " in sentence
    assert f"{mine - theirs:+.1f} against theirs" in sentence
    worst = max(own.errors.types, key=lambda kind: kind.gain_ap)
    assert f"Most AP is lost to {worst.kind} (+{worst.gain_ap:.1f} if fixed)" in sentence


def test_a_difference_whose_interval_holds_zero_is_called_unresolved() -> None:
    data, found = random_set(5)
    others = [dict(one) for one in found]
    others[0]["score"], others[1]["score"] = 0.01, 0.02
    (sentence,) = findings(report_of(data, found, others))
    assert "not resolved on these images" in sentence
    (sentence,) = findings(report_of(data, found, found))
    assert ", the same as theirs." in sentence


def test_masks_that_the_ground_truth_lacks_are_said_not_to_be_scored() -> None:
    data, found = data_set([(1, A, HERE)]), results([(1, A, HERE, 0.9)])
    with_masks(data, found)
    del data["annotations"][0]["segmentation"]
    report = report_of(data, found)
    assert report.iou_types == ("bbox",)
    assert "its masks are not scored" in render_evaluation(report)


def test_the_largest_loss_is_that_of_ap_where_ap50_says_otherwise() -> None:
    """Boxes of IoU 0.6 cost no AP50 and most of AP; a wrong class costs AP50 too."""
    objects = [(1, A, HERE), (2, A, HERE), (3, A, HERE), (4, B, HERE)]
    found = [(image, A, [*HERE[:2], 60.0, 100.0], 0.9) for image in (1, 2, 3)]
    report = report_of(data_set(objects, images=4), results([*found, (4, A, HERE, 0.95)]))
    errors = {one.kind: one for one in report.model.breakdowns["bbox"].errors.types}
    assert errors["classification"].gain_ap50 > errors["localisation"].gain_ap50 == 0
    assert errors["localisation"].gain_ap > 0
    first = max(errors.values(), key=lambda one: one.gain_ap)
    assert f"Most AP is lost to {first.kind}" in findings(report)[0]


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ([0.25, 0.25, 0.25, 0.25], "all of its 2 boxes end within 0.5 pixels"),
        ([250.0, 100.0, 350.0, 200.0], "100 % of its 2 boxes end far beyond their image"),
    ],
)
def test_boxes_as_shares_or_corners_are_told_with_numbers(box: list[float], told: str) -> None:
    data = data_set([(1, A, HERE)])
    (oddity,) = report_of(data, results([(1, A, box, 0.9), (1, A, box, 0.8)])).oddities
    assert told in oddity
    assert "corners" not in oddity, "two boxes do not tell what they are"
    right = report_of(data, results([(1, A, HERE, 0.9), (1, A, ELSEWHERE, 0.8)]))
    assert right.oddities == ()


def test_detections_of_one_class_are_told_as_that_and_not_as_a_permutation() -> None:
    data, found = scene(sizes=MIXED_SIZES)
    report = report_of(data, [{**one, "category_id": 2} for one in found])
    (oddity,) = report.oddities
    assert oddity.startswith(
        f"Do not judge mine by these scores: all of its {len(found)} detections are of one class,"
        " square, and "
    )
    assert oddity.endswith("Were the classes written? Or does it know this one alone?")


def test_permuted_label_maps_are_told_and_so_are_the_objects_with_a_box_of_another_class() -> None:
    data, found = scene()
    for one in found:
        one["category_id"] = 7 - one["category_id"]
    report = report_of(data, found)
    (oddity,) = report.oddities
    assert oddity.startswith(
        "Do not judge mine by these scores: the label maps may be permuted. At IoU 0.5 it finds 0"
        " of 24 objects, and with other class ids it would find 22: the detections' ids number the"
        " classes from the end; square is detected as star 5x, "
    )
    assert oddity.endswith(", and 1 more class likewise.")
    (sentence,) = findings(report)
    assert "None of 24 objects is found at IoU 0.5. A box of another class lies on 20" in sentence
    assert oddity in caveats(report)
    assert evaluation_json(report, written=None)["caveats"].count(oddity) == 1


def test_of_two_models_the_one_whose_boxes_are_odd_is_named() -> None:
    data, found = scene()
    resized = [{**one, "bbox": [value / 2 for value in one["bbox"]]} for one in found]
    (oddity,) = report_of(data, found, resized).oddities
    assert oddity.startswith("Do not judge theirs by these scores: read as x, y, width, height of")
    assert "the image resized to about 400 x 300 pixels, they lie on 22 of 24 objects" in oddity


def test_a_ground_truth_with_areas_of_0_is_told_and_detections_are_not_blamed() -> None:
    data, found = scene()
    for one in data["annotations"]:
        one["area"] = 0
    report = report_of(data, found)
    (oddity,) = report.oddities
    assert oddity.startswith("Do not read the metrics by size: the 'area' of 24 of 24 objects is 0")
    metrics = report.model.breakdowns["bbox"].scores.metrics
    assert (metrics["APm"], metrics["APl"]) == (None, None)


def test_what_may_not_be_concluded_is_said_in_sentences() -> None:
    data, found = scene()
    data["annotations"][0].update(id=0, area=0)
    for against in (None, found):
        for resampling in (TINY, Resampling(0)):
            report = report_of(data, [], against, resampling=resampling)
            for line in caveats(report):
                assert re.match(r"Do not (conclude|judge|read|add up|expect) ", line), line
                assert line.endswith(".")


def test_detections_of_classes_without_objects_only_are_told() -> None:
    data = data_set([(1, A, HERE)])
    (oddity,) = report_of(data, results([(1, B, HERE, 0.9)])).oddities
    assert "none of its 1 detections is of a class that has objects here" in oddity
    text = " ".join(render_evaluation(report_of(data, [])).split())
    assert "list of detections is empty" not in text
    assert any("list of detections is empty" in line for line in caveats(report_of(data, [])))


def test_a_model_that_finds_nothing_is_said_to_find_nothing() -> None:
    (sentence,) = findings(report_of(data_set([(1, A, HERE), (1, B, THERE)]), []))
    assert sentence.endswith("None of 2 objects is found at IoU 0.5.")


def test_without_an_object_there_is_a_sentence_and_no_zero() -> None:
    report = report_of(data_set([], crowds=[(1, A, HERE)]), [])
    assert findings(report) == ["AP: there is no object to score."]
    assert report.model.breakdowns["bbox"].scores.metrics["AP"] is None
    assert " 0.0" not in render_evaluation(report).split("where the points went")[0]


def test_reported_numbers_stand_beside_the_scores_on_coco_s_classes_with_their_protocol() -> None:
    reference = reference_named("efficientdet_d3")
    data = data_set([(1, A, HERE)])
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    data["categories"] = [
        {"id": i, "name": "person" if i == 1 else f"class {i}"}
        for i in range(1, 91)
        if i not in unused
    ]
    report = report_of(data, results([(1, A, HERE, 0.9)]), pipeline=reference.pipeline())
    text = render_evaluation(report)
    assert "reported" in text.split("AP50")[0]
    assert re.search(r"\n +AP +45\.4 +TF2 detection zoo ", text)
    assert "5,000 images" in " ".join(text.split())
    assert any("5,000 images of COCO, these of 1" in line for line in report.caveats)
    elsewhere = report_of(
        data_set([(1, A, HERE)]), results([(1, A, HERE, 0.9)]), pipeline=reference.pipeline()
    )
    assert not elsewhere.reported


# --- The files ---


def test_the_folder_holds_tables_plots_and_a_readme_that_links_what_is_there(
    pair: EvaluationReport, tmp_path: Path
) -> None:
    folder = tmp_path / "try"
    written = write_evaluation(pair, folder)
    names = {str(path.relative_to(folder)) for path in written}
    assert names == {
        "README.md",
        "evaluation.json",
        "metrics.csv",
        "per_class.csv",
        "errors.csv",
        "recall.csv",
        "confusions.csv",
        "pr_curves.svg",
        "error_types.svg",
    }
    readme = (folder / "README.md").read_text()
    linked = {part.split(")")[0] for part in readme.split("](")[1:]}
    assert linked <= names
    assert "evaluate it" in readme
    assert "What you cannot conclude" in readme


def test_metrics_csv_has_value_se_and_interval_and_none_is_an_empty_cell(
    one: EvaluationReport, pair: EvaluationReport
) -> None:
    metrics = csv_tables(one)["metrics.csv"]
    assert list(metrics.columns) == ["metric", "value", "se", "low", "high", *LIMIT]
    ap = metrics.set_index("metric").loc["AP"]
    own = one.model.breakdowns["bbox"]
    assert ap["value"] == own.scores.metrics["AP"]
    ends = pair.model.breakdowns["bbox"].interval("AP")
    assert ends is not None
    ap = csv_tables(pair)["metrics.csv"].iloc[0]
    assert (ap["metric"], ap["se"], ap["low"], ap["high"]) == ("AP", ends.se, ends.low, ends.high)
    assert own.scores.metrics["APs"] is None
    assert pd.isna(metrics.set_index("metric").loc["APs", "value"])


def test_a_comparison_has_rows_of_both_models_and_of_their_difference(
    pair: EvaluationReport,
) -> None:
    metrics = csv_tables(pair)["metrics.csv"].set_index(["model", "metric"])["value"]
    assert metrics["difference", "AP"] == pytest.approx(
        metrics["mine", "AP"] - metrics["theirs", "AP"]
    )
    assert len(metrics) == 36


def test_the_readme_is_written_last_and_nothing_of_an_earlier_evaluation_is_left(
    one: EvaluationReport, tmp_path: Path
) -> None:
    folder = tmp_path / "try"

    def read(positions: Sequence[int]) -> Mapping[int, Image.Image]:
        return {at: Image.new("RGB", (400, 400), "#406080") for at in positions}

    written = write_evaluation(dataclasses.replace(one, read_images=read), folder)
    assert written[-1] == folder / "README.md"
    assert (folder / "pictures" / "best.png").exists()
    assert "pictures/best.png" in (folder / "README.md").read_text()
    write_evaluation(one, folder)
    assert not (folder / "pictures").exists()
    assert "pictures/" not in (folder / "README.md").read_text()


def test_the_folder_of_a_study_is_left_alone(one: EvaluationReport, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("a study")
    with pytest.raises(UserError, match=r"README\.md without evaluation\.json"):
        write_evaluation(one, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_json_is_schema_1_and_says_what_the_tables_say(pair: EvaluationReport) -> None:
    content = json.loads(render_json(pair, written=None))
    assert (content["schema"], content["results"]) == (1, None)
    own = pair.model.breakdowns["bbox"]
    assert content["model"]["bbox"]["metrics"]["AP"]["value"] == own.scores.metrics["AP"]
    assert content["difference"]["bbox"]["AP"]["value"] == pytest.approx(
        content["model"]["bbox"]["metrics"]["AP"]["value"]
        - content["against"]["bbox"]["metrics"]["AP"]["value"]
    )
    assert [kind["kind"] for kind in content["model"]["bbox"]["errors"]["types"]] == [
        "classification",
        "localisation",
        "both",
        "duplicate",
        "background",
        "missed",
        "false_positive",
        "false_negative",
    ]
    assert content["intervals"] == {"resamples": 20, "confidence": 0.95, "seed": 0}
    assert len(content["model"]["bbox"]["classes"]) == 3


def test_json_without_intervals_has_none_and_no_nan() -> None:
    report = report_of(data_set([], crowds=[(1, A, HERE)]), [], resampling=Resampling(0))
    content = evaluation_json(report, written="results/try")
    assert content["intervals"] is None
    assert content["model"]["bbox"]["metrics"]["AP"] == {
        "value": None,
        "se": None,
        "low": None,
        "high": None,
        **dict.fromkeys(LIMIT),
    }


def test_the_stages_of_a_two_stage_checkpoint_are_in_text_readme_csv_and_json(
    one: EvaluationReport, tmp_path: Path
) -> None:
    chain = chain_of(Scene(), Scene())
    report = dataclasses.replace(one, model=one.model._replace(chain=chain))
    part = blocks.Page("", (chain_section(chain, figure="recall_chain.svg"),))
    assert terminal_page(part).strip() in render_evaluation(report)
    write_evaluation(report, tmp_path / "try")
    readme = (tmp_path / "try" / "README.md").read_text()
    assert markdown_page(part, ["recall_chain.svg"]).removeprefix("# \n\n") in readme
    assert (tmp_path / "try" / "recall_chain.svg").exists()
    assert len(pd.read_csv(tmp_path / "try" / "recall_chain.csv")) == len(chain_rows(chain))
    rows = json.loads(render_json(report, written=None))["model"]["recall_chain"]
    assert rows[0]["stage"] == "anchor"
    assert rows[0]["objects"] == 2
    assert json.loads(render_json(one, written=None))["model"]["recall_chain"] is None
    # An evaluation without stages leaves none of an earlier one behind.
    write_evaluation(one, tmp_path / "try")
    assert not list((tmp_path / "try").glob("recall_chain.*"))


# --- Plots ---


def test_a_curve_is_labelled_with_the_ap_that_is_its_mean(pair: EvaluationReport) -> None:
    left, right = precision_recall_figure(pair).axes
    own = pair.model.breakdowns["bbox"].scores
    ap50 = own.metrics["AP50"]
    assert ap50 is not None
    first = left.lines[0]
    assert str(first.get_label()) == f"IoU .50: AP {ap50:.1f}"
    assert 100 * np.mean(first.get_ydata()) == pytest.approx(ap50)
    assert len(left.lines) == 6
    assert {str(line.get_label()).split(":")[0] for line in right.lines} == {"a", "b", "c"}


def test_the_bars_are_the_gains_of_the_six_kinds(pair: EvaluationReport) -> None:
    (axes,) = error_figure(pair).axes
    kinds = pair.model.breakdowns["bbox"].errors.types
    assert [text.get_text() for text in axes.get_yticklabels()] == [one.kind for one in kinds]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths[:6] == [one.gain_ap50 for one in kinds]
    assert widths[6:] == [one.gain_ap for one in kinds]


# --- Pictures ---


def page(report: EvaluationReport, name: str) -> Page:
    return next(one for one in pages(report, 12) if one.name == name)


def test_pages_show_outcomes_above_the_best_f1_and_missed_objects(one: EvaluationReport) -> None:
    (tile,) = page(one, "worst").tiles
    assert tile.note == "F1 0.40: 1 found, 2 missed, 1 wrong"
    assert [(d.text, d.outcome) for d in tile.detections] == [
        ("a 0.90", Outcome.FOUND),
        ("a 0.95", Outcome.CLASSIFICATION),
    ]
    assert [(o.text, o.state) for o in tile.objects] == [
        ("a", "found"),
        ("b", "missed"),
        ("a", "missed"),
        ("a (crowd)", "crowd"),
    ]


def test_the_page_of_errors_has_the_most_confident_error_of_an_image(
    one: EvaluationReport, pair: EvaluationReport
) -> None:
    (tile,) = page(one, "confident_errors").tiles
    assert (tile.title, tile.note) == ("1.png", "wrong class: a 0.95 on b")
    tiles = page(pair, "confident_errors").tiles
    scores = [float(tile.detections[0].text.split()[-1]) for tile in tiles]
    assert scores == sorted(scores, reverse=True)
    assert len({tile.image for tile in tiles}) == len(tiles) == 12


def test_best_and_worst_are_ranked_by_f1(pair: EvaluationReport) -> None:
    def f1(name: str) -> list[float]:
        return [float(tile.note.split()[1].rstrip(":")) for tile in page(pair, name).tiles]

    assert f1("best") == sorted(f1("best"), reverse=True)
    assert f1("worst") == sorted(f1("worst"))
    assert max(f1("worst")) <= max(f1("best"))


def test_a_perfect_detector_has_no_page_of_errors() -> None:
    report = report_of(data_set([(1, A, HERE)]), results([(1, A, HERE, 0.9)]))
    assert [one.name for one in pages(report, 12)] == ["best"]


def test_a_found_object_is_drawn_solid_a_missed_one_dashed(one: EvaluationReport) -> None:
    """Pixels on the upper edges of both boxes, on a plain image of the tile's own scale."""
    image = Image.new("RGB", (400, 400), "#406080")
    drawn = Image.open(io.BytesIO(render_page(page(one, "worst"), {0: image})))
    scale, left, top = 320 / 400, 14, 46

    def along_bottom(box: list[float]) -> set[tuple[int, ...]]:
        y = top + round((box[1] + box[3]) * scale) - 2
        xs = range(left + round(box[0] * scale) + 8, left + round((box[0] + box[2]) * scale) - 8)
        return {drawn.getpixel((x, y)) for x in xs}  # type: ignore[misc]

    background = (0x40, 0x60, 0x80)
    assert background not in along_bottom(HERE)
    assert background in along_bottom(ELSEWHERE)
    assert (0xFF, 0xE1, 0x4D) in along_bottom(ELSEWHERE)


def test_masks_are_tinted_in_the_colour_of_their_outcome() -> None:
    report = report_of(*with_masks(data_set([(1, A, HERE)]), results([(1, A, HERE, 0.9)])))
    assert report.iou_types == ("bbox", "segm")
    black = Image.new("RGB", (400, 400))
    drawn = Image.open(io.BytesIO(render_page(page(report, "best"), {0: black})))
    red, green, blue = drawn.getpixel((14 + 120, 46 + 120))  # type: ignore[misc]
    assert green > blue > red


def test_an_image_that_cannot_be_read_has_its_boxes_on_grey(one: EvaluationReport) -> None:
    drawn = Image.open(io.BytesIO(render_page(page(one, "worst"), {})))
    assert drawn.size == (3 * 334 + 14, 46 + 374 + 70)


def test_many_and_long_labels_stay_inside_their_tile() -> None:
    found = results([(1, A, [390.0, 390.0, 10.0, 10.0], 0.5 + i / 100) for i in range(30)])
    data = data_set([(1, A, [390.0, 390.0, 10.0, 10.0])])
    data["categories"][0]["name"] = "a class with a name as long as a sentence, or two of them"
    report = report_of(data, found)
    drawn = Image.open(
        io.BytesIO(render_page(page(report, "confident_errors"), {0: Image.new("RGB", (400, 400))}))
    )
    beside = drawn.crop((14 + 320, 46, 14 + 334, 46 + 320)).getcolors()
    assert beside == [(14 * 320, (0xF5, 0xF5, 0xF5))]


@pytest.fixture
def broken_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr("odapi_repro.page.plot_style.encode", refuse)


@pytest.mark.usefixtures("broken_figures")
def test_plots_and_pages_that_fail_leave_the_tables(
    one: EvaluationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(positions: Sequence[int]) -> Mapping[int, Image.Image]:
        raise OSError("an image went away")

    folder = tmp_path / "try"
    write_evaluation(dataclasses.replace(one, read_images=read), folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "confusions.csv", "errors.csv", "evaluation.json"),
        *("metrics.csv", "per_class.csv", "recall.csv"),
    ]
    readme = (folder / "README.md").read_text()
    for name in ("pr_curves", "error_types", "best", "worst", "confident_errors"):
        assert f"- {name} could not be drawn and is left out" in readme


def test_boxes_far_away_on_an_image_that_is_not_there_take_no_memory() -> None:
    far = DrawnObject((0.0, 0.0, 1e9, 1e9), "far", "missed")
    tile = Tile(0, "gone.jpg", "", (far,), ())
    assert render_page(Page("best", "best", (tile,)), {}).startswith(b"\x89PNG")
