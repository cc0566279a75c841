"""Published effect sizes: what a deviation cost somebody, with where it stands.

395 figures from papers, model zoos and issues, kept with their sources in
effects.csv. Most come from two-stage models and RetinaNet at 800 pixels, few from the OD API, and
effects do not add up. A difference of single runs under about 0.3 AP is seed noise.

Every row says how it was last checked (`checked`, on 2026-12-01):

- `source`: the figures were read again in a stored copy of the address.
- `facts`: they agree with the zoo's table, a config's header or a correction kept with the
  project's facts.
- `not re-read`: no copy was at hand: the figures are as they were first written down.
- `not found in source`: a copy was read and has other figures, or none. No key leads there, so
  that no rule cites the row or ranks by it.

Some factors have no usable published number at all (`UNKNOWN_EFFECTS`): to a ranking they are
unknown, not zero. What rows they have are there to be read, not to be ranked by.

A deviation that a diagnosis rule cites has a key, and its row is read in the direction in which
users deviate, so that a loss is negative; `x_vs_y` goes from y to x:

    data_1_percent              all of train2017 to 1 %
    data_5_percent              to 5 %
    data_10_percent             to 10 %
    data_30_percent             to 30 %, hyper-parameters tuned again
    schedule_2x_1x              24 to 12 epochs, flips only, RetinaNet
    schedule_2x_1x_two_stage    24 to 12 epochs, flips only, Faster R-CNN
    schedule_3x_1x              36 to 12 epochs with scale jitter
    schedule_72_12              72 to 12 epochs, RetinaNet in TensorFlow
    schedule_300_100            300 to 100 epochs, EfficientDet-D0
    stopped_early               stopped where AP looked flat, EfficientDet-D0
    epochs_cut_8x               an eighth of the batch, as many steps
    scratch_2x                  random weights instead of ImageNet's, 24 epochs
    scratch_6x                  random weights, 72 epochs
    scratch_3500_images         random weights, 3,500 images
    weaker_backbone_weights     ImageNet top-1 error of the backbone 1.2 higher
    frozen_random_layers        first stages frozen at random weights
    freeze_early_layers         first stages frozen at pretrained weights
    batch_lr_scaled             batch 16 to 2, rate and steps scaled
    batch_lr_scaled_od_api      batch 256 to 32, rate and steps scaled, a copy of the OD API
    large_batch_lr_scaled       batch 64 to 2048, rate scaled
    lr_2x                       half the batch, rate kept
    lr_8x                       an eighth of the batch, rate kept
    lr_8x_nan                   the same, diverging
    lr_divided_by_2_nan         EfficientDet at batch 4, the rate scaled by a default batch of 2
    batch_8x_lr_kept            eight times the batch, as many epochs
    bn_train_2_images           batch norm trained on 2 images a GPU instead of frozen
    bn_in_roi_head              batch norm over the RoIs of one image
    frozen_vs_sync              frozen batch norm instead of synchronised, everywhere
    frozen_vs_sync_backbone     frozen instead of synchronised, in the backbone
    bn_decay_epsilon            batch-norm decay and epsilon of EfficientDet changed
    weight_decay_x2             weight decay doubled, AdamW
    cosine_vs_step              cosine decay instead of steps
    plateau                     rate cut by a plateau rule
    sgd_to_adamw                AdamW instead of SGD
    clip_off                    no gradient clipping, batch 1, VOC
    ema_on                      weights averaged exponentially
    swa_on                      weights averaged over 12 further epochs
    augmentation_off            scale jitter of 0.5 to 2.0 and crops left out
    scale_jitter_off            one training scale instead of several
    random_padding_off          images padded at a fixed side
    wide_jitter                 jitter of 0.1 to 2.0 instead of 0.5 to 2.0
    mosaic_off                  no mosaic
    copy_paste_off              no copy-paste
    learned_policy_off          flips and crops instead of a learned policy
    augmentation_too_strong     strong augmentation of a very small model
    size_640_320                input 640 to 320, the OD API's FPNLite
    size_800_400                short side 800 to 400
    size_800_500                short side 800 to 500
    size_800_600                short side 800 to 600
    size_halved                 both sides halved, mean over meta-architectures of the OD API
    size_test_unaligned         evaluated at 602, trained at 640, the OD API
    backbone_101_50             ResNet-101 to ResNet-50, the OD API
    backbone_152_101            ResNet-152 to ResNet-101, the OD API
    focal_to_ce                 cross-entropy instead of focal loss, alpha tuned
    focal_alpha_kept_with_ce    cross-entropy with focal loss's alpha
    focal_gamma_0.5             gamma 2 to 0.5
    focal_gamma_1               gamma 2 to 1
    focal_gamma_5               gamma 2 to 5
    bias_prior_off              class bias not initialised for rare objects
    focal_to_ohem               hard example mining instead of focal loss
    focal_to_ohem_1_3           mining at 1:3, as SSD does
    label_smoothing_on          labels smoothed, sigmoid classifier
    box_loss_giou               GIoU instead of L1
    box_weight_x2               box loss weighted twice
    box_weight_x5               five times
    box_weight_x10              ten times, GIoU
    loss_weight                 box to class loss 3:1, the OD API's authors
    anchors_9_to_1              nine anchors a place to one
    anchors_9_to_3              to three, of one scale
    anchors_9_to_6              to six, of two scales
    anchor_sizes_uneven         sizes spaced evenly instead of by octaves
    anchors_optimised           anchors fitted to the input size
    forced_match_off            best anchor of a box positive only above IoU 0.5
    proposals_300_50            proposals at test 300 to 50, the OD API's authors
    proposals_300_10            300 to 10
    proposals_train_too_few     too few proposals kept in training
    detections_100              at most 100 detections an image
    score_threshold_0.3         detections under 0.3 dropped, the OD API
    score_threshold_0.05        under 0.05 instead of 0.001
    score_threshold_0.5         under 0.5 instead of 0.001, AP50
    nms_soft                    soft-NMS, EfficientDet-D7
    nms_class_agnostic          NMS over all classes at once, EfficientDet
    tta_on                      three scales and a flip at test
    box_voting_on               scores voted
    ensemble_on                 seven models fused
    crowd                       crowd boxes left out of training
    crowd_in_evaluation         crowd ground truth left out of the evaluation
    box_noise_20                20 % noise on boxes, RetinaNet
    box_noise_40                40 % noise on boxes, RetinaNet
    wrong_class_20              a fifth of the labels of another class
    missing_boxes_20            a fifth of the boxes missing
    label_noise_20              four kinds of noise at a fifth each
    precision_fp16              half precision
    quantised                   8-bit inference
    zoo_against_head            head of the config instead of the zoo's table, Mask R-CNN
    other_image_list            evaluated on another list of images
    evaluation_port             the same weights in other code
    val_to_test_dev             test-dev instead of val2017
    odapi_against_automl_d0     the zoo's EfficientDet-D0 instead of google/automl's
    seed                        seeds of EfficientDet-D0
    seed_od_api                 seeds of CenterNet in the OD API
    effdet_d3_one_gpu           EfficientDet-D3 on one GPU (tensorflow/models issue 10530)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, cast, get_args

# --- What published effects are sorted by, and what nobody published a usable number for ---


EFFECT_FACTORS = (
    "data_fraction",
    "schedule_length",
    "checkpoint",
    "freezing",
    "batch_size_lr_scaled",
    "batch_size_lr_kept",
    "gradient_accumulation",
    "batch_norm",
    "learning_rate",
    "warmup",
    "weight_decay",
    "lr_schedule",
    "optimizer",
    "recipe",
    "gradient_clipping",
    "ema",
    "swa",
    "scale_jitter",
    "augmentation_policy",
    "image_size",
    "test_image_size",
    "backbone",
    "loss_function",
    "hard_example_mining",
    "label_smoothing",
    "box_loss",
    "loss_weights",
    "anchors",
    "anchor_matching",
    "proposals",
    "rois_per_image",
    "max_detections",
    "score_threshold",
    "nms",
    "test_time_augmentation",
    "box_voting",
    "ensemble",
    "crowd",
    "label_noise",
    "precision",
    "evaluation_protocol",
    "implementation",
    "run_to_run",
    "reproduction_gap",
)

UNKNOWN_EFFECTS: Mapping[str, str] = MappingProxyType(
    {
        "warmup": "no usable published number on COCO, for its presence or length; measure it",
        "learning_rate": "no sweep at a fixed batch on COCO was found; measure it",
        "weight_decay": "no number for SGD between 4e-5 and 5e-4 was found; measure it",
        "gradient_clipping": "no usable published number on COCO; measure it",
        "gradient_accumulation": "called nearly identical, but without a number; measure it",
        "head_lr_ratio": "no usable published number; measure it",
        "lr_plateau": "no controlled comparison of a plateau rule was found; measure it",
        "bfloat16": "only half precision was compared, not bfloat16; measure it",
        "rois_per_image": "never changed alone in what was found; measure it",
        "detections_per_image": "no comparison of 100 and 300 on COCO: its metrics stop at 100",
        "nms_iou": "the IoU of hard NMS was never changed alone; measure it",
        "class_weighting": "published on LVIS only, not on plain COCO; measure it",
        "eval_sampling": "no number for a sampled or sharded evaluation; measure it",
        "annotation_errors": "synthetic noise only, no relabelled COCO; measure it",
        "batchnorm_images": "no sweep of images per replica for one-stage models; measure it",
    }
)


# --- Published effect sizes: what a deviation cost somebody, with where it stands and how it was
# got ---


_PATH = Path(__file__).parent / "effects.csv"

Check = Literal["source", "facts", "not re-read", "not found in source"]

CHECKS: Final[tuple[Check, ...]] = get_args(Check)
"""How a row can have been checked; the module says what each means."""

CHECKED_ON: Final = "2026-12-01"
"""The day on which all rows were gone through."""


@dataclass(frozen=True)
class PublishedEffect:
    """One published comparison.

    Attributes:
        factor: one of `EFFECT_FACTORS`.
        change: what was changed, from -> to.
        model: of the comparison.
        dataset: trained on / evaluated on, as the source says it.
        metric: `AP` and `mask_AP` are COCO's; others are named as in the source.
        before: value without the change, in points; None where the source has none.
        after: value with it.
        delta: difference in points; None where the source has no number of it.
        n_runs: runs a value, as the source says; empty is one or not said.
        source: address.
        where: table, section or comment there.
        quality: `primary` (read at the source), `secondary` (read where it is quoted) or `memory`.
        controlled: `controlled`, `near-controlled`, `confounded`, `field report` or empty.
        stated: the outcome in words where it is no exact number (`about -10`, `diverges`).
        key: short name of the rows that `effect` gives; else empty.
        checked: how the figures were last checked; see the module.
    """

    factor: str
    change: str
    model: str
    dataset: str
    metric: str
    before: float | None
    after: float | None
    delta: float | None
    n_runs: str
    source: str
    where: str
    quality: str
    controlled: str
    stated: str = ""
    key: str = ""
    checked: Check = "not re-read"


def published_effects(factor: str | None = None) -> tuple[PublishedEffect, ...]:
    """Gives all published effects, or those of a factor.

    Raises:
        KeyError: no such factor; names the nearest.
    """
    if factor is None:
        return _effects()
    if factor not in EFFECT_FACTORS:
        raise KeyError(_unknown("factor", factor, EFFECT_FACTORS))
    return tuple(found for found in _effects() if found.factor == factor)


def effect(key: str) -> PublishedEffect:
    """Gives the effect of a key; the module's docstring lists them.

    Raises:
        KeyError: no such key; names the nearest.
    """
    found = _by_key().get(key)
    if found is None:
        raise KeyError(_unknown("key", key, _by_key()))
    return found


def effect_keys() -> tuple[str, ...]:
    """Gives every key that `effect` knows."""
    return tuple(_by_key())


@cache
def _effects() -> tuple[PublishedEffect, ...]:
    import csv

    def number(text: str) -> float | None:
        return float(text) if text else None

    with _PATH.open(encoding="utf-8", newline="") as file:
        return tuple(
            PublishedEffect(
                factor=row["factor"],
                change=row["change"],
                model=row["model"],
                dataset=row["dataset"],
                metric=row["metric"],
                before=number(row["before"]),
                after=number(row["after"]),
                delta=number(row["delta"]),
                n_runs=row["n_runs"],
                source=row["source"],
                where=row["where"],
                quality=row["quality"],
                controlled=row["controlled"],
                stated=row["stated"],
                key=row["key"],
                checked=cast(Check, row["checked"]),
            )
            for row in csv.DictReader(file)
        )


@cache
def _by_key() -> Mapping[str, PublishedEffect]:
    return MappingProxyType({found.key: found for found in _effects() if found.key})


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"unknown {kind} '{name}'" + (f"; the nearest is '{close[0]}'" if close else "")
