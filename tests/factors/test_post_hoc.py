"""What every factor keeps that needs no training, on SSD, Mask R-CNN and CenterNet."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from odapi_repro.errors import UserError
from odapi_repro.evaluation.inference.evaluation_job import Pass, Variant
from odapi_repro.evaluation.inference.model_edits import check_passes
from odapi_repro.factors import FACTORS, POST_HOC_FACTORS, need_training
from odapi_repro.factors.post_hoc import (
    AS_CONFIGURED,
    PostHocSetting,
)
from odapi_repro.pipeline import Pipeline, load_pipeline, set_field
from odapi_repro.trials.scales import scale_pipeline

PIPELINES = Path(__file__).parents[2] / "pipelines"
SSD, MASK = PIPELINES / "effdet_d3.config", PIPELINES / "mask_rcnn.config"
NMS = "model.ssd.post_processing.batch_non_max_suppression"
TWO_STAGE = ("proposals", "rpn_nms_iou", "mask_size", "crop_size")
NMS_ONLY = (
    *("score_threshold", "nms_iou", "soft_nms"),
    *("detections_per_image", "detections_per_class", "box_voting"),
)


def setting_of(path: Path, checkpoints: int = 3, **fields: Any) -> PostHocSetting:
    """The pipeline with fields set; `__` stands for a dot."""

    def edit(proto: Any) -> None:
        for field, value in fields.items():
            set_field(proto, field.replace("__", "."), value)

    return PostHocSetting(load_pipeline(path).edited(edit), checkpoints)


def nms(**fields: Any) -> PostHocSetting:
    return setting_of(SSD, **{f"{NMS}.{name}": value for name, value in fields.items()})


def center_net() -> PostHocSetting:
    def edit(proto: Any) -> None:
        proto.model.ClearField("ssd")
        proto.model.center_net.num_classes = 90
        proto.model.center_net.object_center_params.max_box_predictions = 70

    return PostHocSetting(load_pipeline(SSD).edited(edit), 3)


def applicable() -> list[Any]:
    return [
        pytest.param(name, path, id=f"{name}-{path.stem}")
        for name in POST_HOC_FACTORS
        for path in (SSD, MASK)
        if path == MASK or name not in TWO_STAGE
    ]


def values_of(pipeline: Pipeline, fields: Any) -> Pipeline:
    def edit(proto: Any) -> None:
        for path, value in fields.items():
            set_field(proto, path, value)

    return pipeline.edited(edit)


def test_the_registry_has_the_names_of_the_command_line_and_none_that_trains() -> None:
    assert tuple(POST_HOC_FACTORS) == (
        *("score_threshold", "nms_iou", "soft_nms"),
        *("detections_per_image", "detections_per_class", "box_voting"),
        *("flip_testing", "multi_scale_testing", "fusion", "swa"),
        *("proposals", "rpn_nms_iou", "mask_size", "crop_size"),
    )
    assert not set(POST_HOC_FACTORS) & set(FACTORS)


@pytest.mark.parametrize(("name", "path"), applicable())
def test_the_reference_level_changes_nothing_and_the_others_something(
    name: str, path: Path
) -> None:
    factor, setting = POST_HOC_FACTORS[name], setting_of(path)
    factor.check_applies(setting)
    reference = factor.reference_level(setting)
    assert factor.plan(reference, setting) == AS_CONFIGURED
    levels = {level.label: level for level in factor.default_levels(setting)}
    plans = [
        factor.plan(level, setting) for label, level in levels.items() if label != reference.label
    ]
    assert len(plans) >= 2
    assert AS_CONFIGURED not in plans
    assert all(plans.count(plan) == 1 for plan in plans)


@pytest.mark.parametrize(("name", "path"), applicable())
def test_labels_parse_back_and_nonsense_is_refused_with_an_example(name: str, path: Path) -> None:
    factor, setting = POST_HOC_FACTORS[name], setting_of(path)
    for level in (factor.reference_level(setting), *factor.default_levels(setting)):
        again = factor.parse_level(level.label, setting)
        assert again.label == level.label
        assert factor.plan(again, setting) == factor.plan(level, setting)
    for text in ("nonsense", "", "-1", "1e9", "nan"):
        with pytest.raises(UserError) as error:
            factor.parse_level(text, setting)
        assert "expected" in str(error.value)


@pytest.mark.parametrize(("name", "path"), applicable())
def test_what_a_level_asks_for_is_taken_by_the_od_apis_protos(name: str, path: Path) -> None:
    factor, setting = POST_HOC_FACTORS[name], setting_of(path)
    for level in factor.default_levels(setting):
        plan = factor.plan(level, setting)
        variant = Variant("one", plan.post_processing)
        for scale in plan.scales:
            one = Pass("one", ("ckpt-1",), plan.model, scale=scale, variants=(variant,))
            check_passes(setting.pipeline.proto, (one,))


@pytest.mark.parametrize("name", POST_HOC_FACTORS)
def test_every_factor_says_what_it_is_and_holds_and_has_documented_methods(name: str) -> None:
    factor = POST_HOC_FACTORS[name]
    assert factor.summary
    assert factor.holds.endswith(".")
    assert "held" in factor.holds
    for method in ("check_applies", "reference_level", "default_levels", "parse_level", "plan"):
        assert inspect.getdoc(getattr(type(factor), method))


def test_an_unset_field_stands_at_the_protos_default() -> None:
    setting = nms(score_threshold=None, iou_threshold=None, max_total_detections=None)
    assert POST_HOC_FACTORS["score_threshold"].reference_level(setting).label == "0"
    assert POST_HOC_FACTORS["nms_iou"].reference_level(setting).label == "0.6"
    assert POST_HOC_FACTORS["detections_per_image"].reference_level(setting).label == "100"
    own = setting_of(SSD)
    assert POST_HOC_FACTORS["score_threshold"].reference_level(own).label == "1e-08"


def test_fewer_detections_of_an_image_take_the_cap_of_a_class_with_them() -> None:
    factor, setting = POST_HOC_FACTORS["detections_per_image"], setting_of(SSD)
    few = factor.plan(factor.parse_level("10", setting), setting)
    assert few.post_processing == {
        f"{NMS}.max_total_detections": 10,
        f"{NMS}.max_detections_per_class": 10,
    }
    many = factor.plan(factor.parse_level("3x", setting), setting)
    assert many.post_processing == {f"{NMS}.max_total_detections": 300}


def test_more_detections_of_a_class_than_of_an_image_are_refused() -> None:
    with pytest.raises(UserError, match="above max_total_detections, 100"):
        POST_HOC_FACTORS["detections_per_class"].parse_level("101", setting_of(SSD))


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("soft_nms", "use_static_shapes"),
        ("soft_nms", "use_combined_nms"),
        ("detections_per_class", "use_class_agnostic_nms"),
        ("flip_testing", "soft_nms_sigma"),
        ("multi_scale_testing", "soft_nms_sigma"),
    ],
)
def test_an_nms_that_cannot_be_combined_with_a_factor_is_named(name: str, field: str) -> None:
    with pytest.raises(UserError, match=f"{name} does not apply") as error:
        POST_HOC_FACTORS[name].check_applies(nms(**{field: 1}))
    assert field in str(error.value)


def test_voting_takes_the_detections_before_nms_and_soft_nms_the_od_apis_own_field() -> None:
    setting = setting_of(SSD)
    voting, soft = POST_HOC_FACTORS["box_voting"], POST_HOC_FACTORS["soft_nms"]
    step = voting.plan(voting.parse_level("0.8", setting), setting).step
    assert step is not None
    assert step.needs_candidates
    plan = soft.plan(soft.parse_level("0.25", setting), setting)
    assert (plan.step, plan.post_processing) == (None, {f"{NMS}.soft_nms_sigma": 0.25})


def test_flip_testing_on_is_the_union_of_both_views() -> None:
    factor, setting = POST_HOC_FACTORS["flip_testing"], setting_of(SSD)
    on = factor.parse_level("on", setting)
    assert on.label == "union"
    assert factor.plan(on, setting).flips == (False, True)


@pytest.mark.parametrize("text", ["1+", "0", "wbf:", "avg:1+2", "1+9"])
def test_scales_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected: off, or scales"):
        POST_HOC_FACTORS["multi_scale_testing"].parse_level(text, setting_of(SSD))


def test_scales_are_written_in_one_way() -> None:
    factor, setting = POST_HOC_FACTORS["multi_scale_testing"], setting_of(SSD)
    assert factor.parse_level("wbf:1.0+1.50+1", setting).label == "wbf:1+1.5"
    plan = factor.plan(factor.parse_level("2", setting), setting)
    assert (plan.scales, plan.step) == ((2.0,), None)


def test_an_input_that_cannot_shrink_is_not_shrunk_by_default() -> None:
    factor = POST_HOC_FACTORS["multi_scale_testing"]
    proxy = scale_pipeline(load_pipeline(SSD), "proxy").pipeline
    for pipeline, smallest in ((proxy, 1.0), (load_pipeline(SSD), 0.67)):
        setting = PostHocSetting(pipeline)
        plans = [factor.plan(level, setting) for level in factor.default_levels(setting)]
        assert min(scale for plan in plans for scale in plan.scales) == smallest
        for plan in plans:
            for scale in plan.scales:
                one = Pass("one", ("ckpt-1",), scale=scale)
                check_passes(pipeline.proto, (one,))


def test_several_checkpoints_are_needed_for_fusion_and_swa() -> None:
    for name in ("fusion", "swa"):
        with pytest.raises(UserError, match=f"{name} needs several checkpoints"):
            POST_HOC_FACTORS[name].check_applies(setting_of(SSD, 1))


def test_swa_averages_the_last_checkpoints_and_fusion_takes_them_all() -> None:
    setting = setting_of(SSD, 4)
    swa, fusion = POST_HOC_FACTORS["swa"], POST_HOC_FACTORS["fusion"]
    assert swa.plan(swa.parse_level("2", setting), setting).checkpoints == ((-2, -1),)
    assert swa.parse_level("all", setting).label == "4"
    with pytest.raises(UserError, match="from 1 to 4"):
        swa.parse_level("5", setting)
    plan = fusion.plan(fusion.parse_level("consensus", setting), setting)
    assert plan.checkpoints == ((-4,), (-3,), (-2,), (-1,))
    assert plan.step is not None
    assert plan.step.num_agreeing == 3
    two = fusion.plan(fusion.parse_level("consensus:2", setting), setting)
    assert two.step is not None
    assert two.step.num_agreeing == 2


def test_a_pipeline_without_nms_is_told_which_pipelines_have_one() -> None:
    setting = center_net()
    for name in NMS_ONLY:
        with pytest.raises(UserError, match="its center_net has no NMS") as error:
            POST_HOC_FACTORS[name].check_applies(setting)
        assert "effdet_d3.config" in str(error.value)
        assert "mask_rcnn.config" in str(error.value)
    for name in ("flip_testing", "multi_scale_testing", "fusion", "swa"):
        POST_HOC_FACTORS[name].check_applies(setting)


def test_factors_of_two_stages_name_the_pipelines_that_have_them() -> None:
    for name in TWO_STAGE:
        with pytest.raises(UserError, match="a ssd has no proposals") as error:
            POST_HOC_FACTORS[name].check_applies(setting_of(SSD))
        assert "mask_rcnn.config" in str(error.value)


HEAD = "model__faster_rcnn__second_stage_box_predictor__mask_rcnn_box_predictor"


@pytest.mark.parametrize(
    ("name", "fields", "named"),
    [
        ("mask_size", {"model__faster_rcnn__number_of_stages": 2}, "predicts no masks"),
        ("mask_size", {f"{HEAD}__convolve_then_upsample_masks": True}, "convolve_then_upsample"),
        ("mask_size", {f"{HEAD}__mask_height": 15}, "mask_height and mask_width differ"),
        (
            "crop_size",
            {"model__faster_rcnn__feature_extractor__type": "faster_rcnn_resnet50_fpn_keras"},
            "flattens its crops",
        ),
    ],
)
def test_sizes_that_weights_depend_on_are_refused(name: str, fields: Any, named: str) -> None:
    with pytest.raises(UserError, match=named):
        POST_HOC_FACTORS[name].check_applies(setting_of(MASK, **fields))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'soft_nms'"):
        need_training(["softnms"], "runs/a")
