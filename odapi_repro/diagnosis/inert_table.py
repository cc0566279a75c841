"""The fields without effect under model_main_tf2, as data; see inert.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.message import Message

from odapi_repro.pipeline import Pipeline


@dataclass(frozen=True)
class InertField:
    """A field without effect.

    Attributes:
        message: name of the message type, without its package.
        field: name of the field in it.
        why: why it has no effect, one sentence.
        read_in: files of object_detection that TF2 runs and that read it all the same; empty where
            TF1's code alone does, or nothing.
        applies: whether it is without effect in this pipeline; always where there is no condition.
    """

    message: str
    field: str
    why: str
    read_in: tuple[str, ...] = ()
    applies: Callable[[Pipeline], bool] | None = None


def _no_checkpoint(pipeline: Pipeline) -> bool:
    return not pipeline.proto.train_config.fine_tune_checkpoint


def _type_is_said(pipeline: Pipeline) -> bool:
    return _no_checkpoint(pipeline) or bool(pipeline.proto.train_config.fine_tune_checkpoint_type)


def _no_average(pipeline: Pipeline) -> bool:
    return not pipeline.proto.train_config.optimizer.use_moving_average


def _no_sequences(pipeline: Pipeline) -> bool:
    proto = pipeline.proto
    kinds = proto.train_input_reader.DESCRIPTOR.fields_by_name["input_type"].enum_type
    sequence = kinds.values_by_name["TF_SEQUENCE_EXAMPLE"].number
    readers = (proto.train_input_reader, *proto.eval_input_reader)
    return all(reader.input_type != sequence for reader in readers)


def _no_lvis(pipeline: Pipeline) -> bool:
    return "lvis_mask_metrics" not in pipeline.proto.eval_config.metrics_set


def _no_confidences(pipeline: Pipeline) -> bool:
    return not pipeline.proto.model.ssd.use_confidences_as_targets


def _no_mask_stage(pipeline: Pipeline) -> bool:
    return not pipeline.predicts_masks


def _no_mask_head(pipeline: Pipeline) -> bool:
    predictor = pipeline.proto.model.faster_rcnn.second_stage_box_predictor
    return not predictor.mask_rcnn_box_predictor.predict_instance_masks


def _schedules(pipeline: Pipeline, name: str) -> list[Message]:
    optimizer = pipeline.proto.train_config.optimizer
    kind = optimizer.WhichOneof("optimizer")
    rate = getattr(optimizer, kind).learning_rate if kind else None
    return [getattr(rate, name)] if rate is not None and rate.HasField(name) else []


def _no_warmup(pipeline: Pipeline) -> bool:
    cosines = _schedules(pipeline, "cosine_decay_learning_rate")
    return all(not cosine.warmup_steps for cosine in cosines)  # type: ignore[attr-defined]


def _no_burnin(pipeline: Pipeline) -> bool:
    decays = _schedules(pipeline, "exponential_decay_learning_rate")
    return all(not decay.burnin_steps for decay in decays)  # type: ignore[attr-defined]


def _rows(
    message: str,
    fields: str,
    why: str,
    read_in: Iterable[str] = (),
    applies: Callable[[Pipeline], bool] | None = None,
) -> Iterator[InertField]:
    for field in fields.split():
        yield InertField(message, field, why, tuple(read_in), applies)


_TF1_REPLICAS = (
    "It set up TF1's parameter servers; in TF2 all replicas step together, and the strategy "
    "decides how many there are."
)
_TF1_QUEUES = "It sized the input queues of TF1; TF2 reads through tf.data, which has its own."
_TF1_FREEZING = (
    "It chose what TF1 trained; in TF2 every trainable variable trains, and a config can freeze "
    "nothing but batch-norm statistics."
)
_TF1_EVALUATOR = "It belonged to TF1's evaluator, which TF2 does not run."
_NO_CHECKPOINT = "It says how to restore fine_tune_checkpoint, and there is none."
_EXTRA_OUTPUT = "It adds an output that neither training nor metrics use."
_MASKS_ONLY = "It belongs to the mask head, and this model predicts no masks."
_ANCHORWISE = "No loss reads it: all of them return a value for each anchor."

_MODEL_BUILDER = "builders/model_builder.py"
_LIB = "model_lib_v2.py"

INERT_FIELDS: tuple[InertField, ...] = (
    *_rows(
        "TrainEvalPipelineConfig",
        "graph_rewriter",
        "Quantisation-aware training was TF1's; TF2 trains and exports without it.",
        ["utils/config_util.py"],
    ),
    *_rows("TrainConfig", "sync_replicas replicas_to_aggregate startup_delay_steps", _TF1_REPLICAS),
    *_rows(
        "TrainConfig",
        "batch_queue_capacity num_batch_queue_threads prefetch_queue_capacity",
        _TF1_QUEUES,
    ),
    *_rows("TrainConfig", "freeze_variables update_trainable_variables", _TF1_FREEZING),
    *_rows(
        "TrainConfig",
        "bias_grad_multiplier",
        "TF1 multiplied the gradients of biases with it; TF2 treats all gradients alike.",
    ),
    *_rows(
        "TrainConfig",
        "keep_checkpoint_every_n_hours",
        "TF2 keeps the seven newest checkpoints and no others.",
    ),
    *_rows(
        "TrainConfig",
        "max_number_of_boxes",
        "The boxes of an image are limited by max_number_of_boxes of the input reader alone.",
    ),
    *_rows("TrainConfig", "summarize_gradients", "TF2 writes no summaries of gradients."),
    *_rows(
        "TrainConfig",
        "retain_original_images",
        "It keeps a copy of every image that training does not look at.",
        ["inputs.py"],
    ),
    *_rows(
        "TrainConfig",
        "use_bfloat16",
        "It counts only together with --use_tpu: elsewhere training is in float32.",
        [_LIB, "inputs.py"],
    ),
    *_rows(
        "TrainConfig",
        "fine_tune_checkpoint_type",
        _NO_CHECKPOINT,
        [_LIB, "utils/config_util.py"],
        _no_checkpoint,
    ),
    *_rows(
        "TrainConfig",
        "fine_tune_checkpoint_version run_fine_tune_checkpoint_dummy_computation",
        _NO_CHECKPOINT,
        [_LIB],
        _no_checkpoint,
    ),
    *_rows(
        "TrainConfig",
        "from_detection_checkpoint",
        "It is read only where fine_tune_checkpoint_type is empty.",
        ["utils/config_util.py"],
        _type_is_said,
    ),
    *_rows("InputReader", "queue_capacity min_after_dequeue prefetch_size", _TF1_QUEUES),
    *_rows(
        "InputReader",
        "num_parallel_map_calls",
        "It counts only where examples are not batched; parallel calls follow from "
        "num_parallel_batches.",
        ["builders/dataset_builder.py"],
    ),
    *_rows(
        "InputReader",
        "num_epochs",
        "Training repeats its records without end, and evaluation reads them once.",
        ["builders/dataset_builder.py", _LIB],
    ),
    *_rows(
        "InputReader",
        "include_source_id",
        "It hands the image's id on, which nothing asks for.",
        ["inputs.py"],
    ),
    *_rows("InputReader", "use_keypoint_label_map", "Nothing reads it."),
    *_rows(
        "InputReader",
        "load_context_image_ids",
        "It counts for sequence examples only.",
        ["builders/decoder_builder.py"],
        _no_sequences,
    ),
    *_rows(
        "InputReader",
        "frame_index",
        "It counts for sequence examples only.",
        ["inputs.py"],
        _no_sequences,
    ),
    *_rows(
        "EvalConfig",
        "num_examples",
        "The evaluation always reads all its records; sample_1_of_n_examples of the reader thins "
        "them.",
    ),
    *_rows(
        "EvalConfig",
        "eval_interval_secs max_evals",
        "model_main_tf2 looks for a checkpoint every 300 seconds, until the last one or its "
        "timeout.",
    ),
    *_rows(
        "EvalConfig",
        "eval_instance_masks",
        "Mask AP comes with coco_mask_metrics in metrics_set.",
    ),
    *_rows(
        "EvalConfig",
        "save_graph visualization_export_dir eval_master ignore_groundtruth skip_scores "
        "skip_labels visualize_groundtruth_boxes groundtruth_box_visualization_color "
        "keep_image_id_for_visualization_export use_dummy_loss_in_eval",
        _TF1_EVALUATOR,
    ),
    *_rows(
        "EvalConfig",
        "export_path",
        "Only lvis_mask_metrics exports its results.",
        ["eval_util.py"],
        _no_lvis,
    ),
    *_rows(
        "Optimizer",
        "moving_average_decay",
        "There is no moving average: use_moving_average is false.",
        ["builders/optimizer_builder.py"],
        _no_average,
    ),
    *_rows(
        "CosineDecayLearningRate",
        "warmup_learning_rate",
        "There is no warm-up: warmup_steps is 0.",
        ["builders/optimizer_builder.py"],
        _no_warmup,
    ),
    *_rows(
        "ExponentialDecayLearningRate",
        "burnin_learning_rate",
        "There is no burn-in: burnin_steps is 0.",
        ["builders/optimizer_builder.py"],
        _no_burnin,
    ),
    *_rows(
        "Ssd",
        "inplace_batchnorm_update",
        "Keras layers always update their statistics in the step itself.",
        [_MODEL_BUILDER],
    ),
    *_rows("Ssd", "mask_head_config", "SSD has no mask head here."),
    *_rows(
        "Ssd",
        "implicit_example_weight",
        "It counts only with use_confidences_as_targets.",
        [_MODEL_BUILDER],
        _no_confidences,
    ),
    *_rows("Ssd", "return_raw_detections_during_predict", _EXTRA_OUTPUT, [_MODEL_BUILDER]),
    *_rows(
        "Loss",
        "equalization_loss",
        "The model keeps the setting, and no loss asks for it.",
        [_MODEL_BUILDER],
    ),
    *_rows("SsdFeatureExtractor", "use_hardswish", "Nothing reads it."),
    *_rows(
        "Hyperparams",
        "op regularize_depthwise",
        "Keras layers are built from regulariser, initialiser, activation and batch norm alone.",
    ),
    *_rows(
        "BatchNorm",
        "train",
        "Whether statistics are trained is decided by freeze_batchnorm (SSD) or "
        "batch_norm_trainable (Faster R-CNN).",
    ),
    *_rows("FasterRcnnFeatureExtractor", "pad_to_multiple", "Only SSD's extractors pad."),
    *_rows(
        "FasterRcnn",
        "use_static_shapes_for_eval",
        "model_main_tf2 builds its model for training even where it evaluates.",
        [_MODEL_BUILDER],
    ),
    *_rows(
        "FasterRcnn",
        "return_raw_detections_during_predict output_final_box_features "
        "output_final_box_rpn_features",
        _EXTRA_OUTPUT,
        [_MODEL_BUILDER],
    ),
    *_rows(
        "FasterRcnn",
        "second_stage_mask_prediction_loss_weight",
        _MASKS_ONLY,
        [_MODEL_BUILDER],
        _no_mask_stage,
    ),
    *_rows(
        "MaskRCNNBoxPredictor",
        "mask_height mask_width mask_prediction_conv_depth mask_prediction_num_conv_layers "
        "masks_are_class_agnostic convolve_then_upsample_masks",
        _MASKS_ONLY,
        ["builders/box_predictor_builder.py"],
        _no_mask_head,
    ),
    *_rows("MaskRCNNBoxPredictor", "predict_keypoints", "The box predictor has no keypoint head."),
    *_rows(
        "ConvolutionalBoxPredictor",
        "apply_sigmoid_to_scores",
        "Scores are converted by post_processing.score_converter.",
    ),
    *_rows("XYPairs", "training_data_type", "Nothing reads it."),
    *(
        InertField(message, "anchorwise_output", _ANCHORWISE)
        for message in (
            "BootstrappedSigmoidClassificationLoss",
            "SigmoidFocalClassificationLoss",
            "WeightedL2LocalizationLoss",
            "WeightedSigmoidClassificationLoss",
            "WeightedSmoothL1LocalizationLoss",
            "WeightedSoftmaxClassificationAgainstLogitsLoss",
            "WeightedSoftmaxClassificationLoss",
        )
    ),
)
