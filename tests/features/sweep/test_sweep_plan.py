"""A sweep as a plan: each forward pass once, each cell with what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from odapi_repro.errors import UserError
from odapi_repro.factors import POST_HOC_FACTORS
from odapi_repro.factors.post_hoc import PostHocSetting
from odapi_repro.features.sweep.sweep_cells import AS_IS, CANDIDATE_SCORE, CANDIDATES_PER_KEPT
from odapi_repro.features.sweep.sweep_plan import PostHocPlan, PostHocRequest, make_post_hoc_plan
from odapi_repro.pipeline import Pipeline, load_pipeline, set_field

PIPELINES = Path(__file__).parents[3] / "pipelines"
SSD, MASK = PIPELINES / "effdet_d3.config", PIPELINES / "mask_rcnn.config"
DIGESTS = ("aaaa", "bbbb", "cccc")


def plan_of(
    *factors: str,
    pipeline: Pipeline | Path = SSD,
    design: str = "one_at_a_time",
    digests: tuple[str, ...] = DIGESTS,
    **levels: str,
) -> PostHocPlan:
    loaded = pipeline if isinstance(pipeline, Pipeline) else load_pipeline(pipeline)
    request = PostHocRequest(
        tuple(POST_HOC_FACTORS[name] for name in factors),
        {name: text.split(",") for name, text in levels.items()},
        design,
    )
    return make_post_hoc_plan(PostHocSetting(loaded, len(digests)), request, digests)


def changed(path: Path, field: str, value: object) -> Pipeline:
    return load_pipeline(path).edited(lambda proto: set_field(proto, field, value))


def test_settings_of_the_nms_share_one_forward_pass() -> None:
    plan = plan_of("score_threshold", "nms_iou", "detections_per_image", "detections_per_class")
    (one,) = plan.passes
    assert (one.checkpoints, one.flip, one.scale, one.model) == ((2,), False, 1.0, {})
    assert set(one.variants) == {cell.members[0].variant for cell in plan.cells}
    assert one.variants[AS_IS] == {}
    assert len(plan.cells) == len(one.variants) >= 15
    assert all(len(cell.members) == 1 and cell.step is None for cell in plan.cells)


def test_the_reference_comes_first_and_a_cell_differs_from_it_in_one_factor() -> None:
    plan = plan_of("nms_iou", "flip_testing", "swa")
    reference = plan.cells[0].levels
    assert dict(reference) == {"nms_iou": "0.5", "flip_testing": "off", "swa": "1"}
    for cell in plan.cells[1:]:
        assert sum(cell.levels[name] != reference[name] for name in reference) == 1


def test_each_view_and_each_checkpoint_takes_one_pass_whoever_asks() -> None:
    plan = plan_of(
        *("flip_testing", "multi_scale_testing", "fusion", "swa", "box_voting", "soft_nms"),
        flip_testing="union,weighted_boxes",
        multi_scale_testing="1+1.5,wbf:1+1.5",
        fusion="best,union,consensus,weighted_boxes",
        swa="2,3",
        box_voting="0.5,0.8",
        soft_nms="0.25",
    )
    asked = sorted((one.checkpoints, one.flip, one.scale) for one in plan.passes)
    assert asked == [
        ((0,), False, 1.0),
        ((0, 1, 2), False, 1.0),
        ((1,), False, 1.0),
        ((1, 2), False, 1.0),
        ((2,), False, 1.0),
        ((2,), False, 1.5),
        ((2,), True, 1.0),
    ]
    # As it is, softened, and with the candidates that both levels of voting share.
    (plain,) = (
        one for one in plan.passes if one.name.startswith("plain") and one.checkpoints == (2,)
    )
    assert len(plain.variants) == 3


def test_names_of_passes_say_what_differs_and_depend_on_the_weights() -> None:
    names = [one.name for one in plan_of("flip_testing", "swa", "multi_scale_testing").passes]
    for start in ("plain-", "flip-", "mean_of_2-", "scale=1.5-"):
        assert sum(name.startswith(start) for name in names) == 1
    others = plan_of("flip_testing", digests=("aaaa", "bbbb", "dddd")).passes
    assert not {one.name for one in others} & set(names)
    # One checkpoint alone, or last of several: the same pass.
    alone = plan_of("flip_testing", digests=("cccc",)).passes
    assert {one.name for one in alone} < set(names)


def test_candidates_are_what_the_nms_is_given() -> None:
    plan = plan_of("box_voting", box_voting="0.8")
    cell = plan.cells[1]
    assert cell.candidates is not None
    assert cell.candidates.pass_name == cell.members[0].pass_name
    (one,) = plan.passes
    fields = {
        path.rsplit(".", 1)[-1]: v for path, v in one.variants[cell.candidates.variant].items()
    }
    assert fields == {
        "score_threshold": CANDIDATE_SCORE,
        "iou_threshold": 1.0,
        "soft_nms_sigma": 0.0,
        "max_detections_per_class": 100 * CANDIDATES_PER_KEPT,
        "max_total_detections": 100 * CANDIDATES_PER_KEPT,
    }


def test_a_step_takes_iou_and_caps_from_the_pipeline() -> None:
    pipeline = changed(
        SSD, "model.ssd.post_processing.batch_non_max_suppression.iou_threshold", 0.45
    )
    plan = plan_of("flip_testing", pipeline=pipeline)
    by_level = {cell.levels["flip_testing"]: cell for cell in plan.cells}
    union, boxes = by_level["union"], by_level["weighted_boxes"]
    assert union.step is not None
    assert boxes.step is not None
    assert (union.step.iou_threshold, boxes.step.iou_threshold) == (0.45, 0.55)
    assert (union.per_class, union.per_image) == (100, 100)


def test_class_agnostic_nms_has_no_cap_on_a_class() -> None:
    field = "model.ssd.post_processing.batch_non_max_suppression.use_class_agnostic_nms"
    cell = plan_of("flip_testing", pipeline=changed(SSD, field, True)).cells[1]
    assert (cell.class_agnostic, cell.per_class, cell.per_image) == (True, None, 100)


def test_settings_before_the_model_is_built_take_a_pass_each() -> None:
    plan = plan_of("proposals", "mask_size", "nms_iou", pipeline=MASK)
    models = [dict(one.model) for one in plan.passes]
    assert models.count({}) == 1
    assert len(models) == 1 + 3 + 2
    assert {"model.faster_rcnn.first_stage_max_proposals": 30} in models


def test_equal_levels_are_one_cell_and_named() -> None:
    # 1x of 100 is the pipeline's own; only one cell is left.
    plan = plan_of("detections_per_image", detections_per_image="100,1x")
    assert len(plan.cells) == 1
    # Two scales that are one: multi_scale 1 is off.
    plan = plan_of("multi_scale_testing", multi_scale_testing="1,1+1.5")
    assert [cell.levels["multi_scale_testing"] for cell in plan.cells] == ["off", "1+1.5"]
    assert plan.merged == (({"multi_scale_testing": "1"}, {"multi_scale_testing": "off"}),)


def test_a_grid_varies_everything_together_and_keeps_the_od_apis_rule_of_caps() -> None:
    plan = plan_of(
        "detections_per_image",
        "detections_per_class",
        "nms_iou",
        design="grid",
        detections_per_image="10",
        detections_per_class="30",
        nms_iou="0.6",
    )
    variants = plan.passes[0].variants
    for fields in variants.values():
        values = {path.rsplit(".", 1)[-1]: value for path, value in fields.items()}
        total = values.get("max_total_detections", 100)
        assert values.get("max_detections_per_class", 100) <= total
    # 30 a class of 10 an image is 10 a class: one cell of the 8 is merged for each IoU.
    assert len(plan.cells) == 6
    assert len(plan.merged) == 2


def test_a_grid_of_views_detects_in_all_of_them_and_with_the_cells_own_nms() -> None:
    plan = plan_of(
        *("flip_testing", "multi_scale_testing", "nms_iou"),
        design="grid",
        flip_testing="union",
        multi_scale_testing="1+1.5",
        nms_iou="0.6",
    )
    cell = plan.cells[-1]
    assert len(cell.members) == 4
    assert cell.step is not None
    assert cell.step.iou_threshold == 0.6
    assert {member.variant for member in cell.members} == {"iou_threshold=0.6"}


@pytest.mark.parametrize(
    ("factors", "named"),
    [
        (("box_voting", "flip_testing"), "box_voting and union"),
        (("fusion", "swa"), "combine"),
    ],
)
def test_a_grid_that_would_fuse_in_two_ways_is_refused(factors, named) -> None:
    with pytest.raises(UserError, match=named):
        plan_of(*factors, design="grid")


def test_recipes_do_not_depend_on_what_else_is_swept() -> None:
    alone = {cell.recipe for cell in plan_of("flip_testing").cells}
    together = {cell.recipe for cell in plan_of("nms_iou", "flip_testing", "swa").cells}
    assert alone < together
