"""Settings of CenterNet at which its builder or its post-processing stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_BUILDING = "The OD API stops while it builds the model: "
# center_net_meta_arch.refine_keypoints, and prediction_to_keypoints_argmax.
_RANKINGS = (
    "min_distance",
    "score_distance_ratio",
    "score_scaled_distance_ratio",
    "gaussian_weighted",
)
_ARGMAX_RANKINGS = ("gaussian_weighted_const",)


def refused_of_center_net(model: Any) -> Iterator[tuple[str, str, str, str, object]]:
    """Yields field, what is found, what is expected, why, and the value that mends it.

    DeepMAC is another model, built without keypoints.
    """
    if model.HasField("deepmac_mask_estimation"):
        return
    tasks = model.keypoint_estimation_task
    names = {str(task.task_name) for task in tasks}
    boxes = model.HasField("object_detection_task")
    if not boxes and not tasks:
        yield (
            "object_detection_task",
            "neither object_detection_task nor keypoint_estimation_task is there",
            "one of them, or both",
            f"{_BUILDING}AssertionError.",
            None,
        )
    elif model.object_center_params.keypoint_weights_for_center and (boxes or len(names) != 1):
        yield (
            "object_center_params.keypoint_weights_for_center",
            "keypoint_weights_for_center with "
            + ("object_detection_task" if boxes else f"{len(names)} keypoint tasks"),
            "keypoint_weights_for_center beside one keypoint_estimation_task alone",
            f"{_BUILDING}{'AssertionError' if tasks else 'TypeError'}.",
            None,
        )
    yield from _heads(model)
    for index, task in enumerate(tasks):
        argmax = task.argmax_postprocessing and len(names) == 1 and model.num_classes == 1
        known = _ARGMAX_RANKINGS if argmax else _RANKINGS
        if task.candidate_ranking_mode not in known:
            yield (
                f"keypoint_estimation_task[{index}].candidate_ranking_mode",
                f"candidate_ranking_mode is '{task.candidate_ranking_mode}'",
                " or ".join(known) + (", with argmax_postprocessing" if argmax else ""),
                "The evaluation stops at its first image, and so does the export: ValueError.",
                known[0],
            )


def _heads(model: Any) -> Iterator[tuple[str, str, str, str, object]]:
    parts = [
        (name, getattr(model, name))
        for name in ("object_center_params", "object_detection_task", "mask_estimation_task")
        if model.HasField(name)
    ]
    parts += [
        (f"keypoint_estimation_task[{index}]", task)
        for index, task in enumerate(model.keypoint_estimation_task)
    ]
    for path, part in parts:
        for field, head in part.ListFields():
            if not field.name.endswith("_head_params"):
                continue
            kernels, filters = len(head.kernel_sizes), len(head.num_filters)
            if kernels != filters:
                yield (
                    f"{path}.{field.name}",
                    f"{field.name} has {kernels} kernel_sizes for {filters} num_filters",
                    "as many kernel_sizes as num_filters, one for each layer",
                    f"{_BUILDING}AssertionError.",
                    None,
                )
