"""The network of the pass at hand: built, compiled, restored and run over all images."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.example import make_example
from odapi_repro.errors import ConfigError, DataError, UserError
from odapi_repro.evaluation.inference.evaluation_job import EvaluationJob, Pass
from odapi_repro.evaluation.inference.forward import (
    IS_COMPLETE,
    Forward,
    batches,
    compile_forward,
    decode,
    encoded_images,
    variant_key,
)
from odapi_repro.evaluation.inference.model_edits import check_passes, model_of_pass
from odapi_repro.pipeline import load_pipeline

# Batches of a pass that may be computed twice, on few candidates for NMS and on all.
MOST_LOST = 4

_Arrays = dict[str, dict[str, NDArray[Any]]]


_SIGNATURE = "serving_default"
_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_MASKS = "detection_masks"


_MISSING = re.compile(r"<tf\.Variable '(?P<name>[^']+?)(?::0)?' shape=(?P<shape>\([^)]*\))")
_MISMATCH = re.compile(
    r"shape (?P<stored>\([^)]*\)).*?shape (?P<wanted>\([^)]*\)).*?name (?P<name>\S+)", re.DOTALL
)
_MOST_NAMED = 5


def build_model(model_config: Any) -> Any:
    """Gives the OD API's `DetectionModel` for inference; its first call makes its variables.

    Raises:
        ConfigError: `model_builder.build` refuses the proto, or the model needs more than images.
    """
    import tensorflow as tf
    from object_detection.builders import model_builder

    kind = model_config.WhichOneof("model")
    if kind == "faster_rcnn" and model_config.faster_rcnn.HasField("context_config"):
        raise ConfigError(
            "the model takes context features beside the image (context_config)",
            expected="a model that takes images alone",
            mend="evaluate it with model_main_tf2 --checkpoint_dir",
        )
    tf.keras.backend.clear_session()
    try:
        model = model_builder.build(model_config=model_config, is_training=False)
    except (ValueError, KeyError, tf.errors.NotFoundError) as error:
        raise ConfigError(
            f"the OD API cannot build this model: {str(error).splitlines()[0]}",
            expected="a model that model_builder.build takes under TensorFlow 2",
            mend="odapi-repro diagnose says what is wrong with a pipeline.config",
        ) from error
    # Batch norm by its stored statistics, and no drop connect (model_lib_v2.eager_eval_loop).
    tf.keras.backend.set_learning_phase(False)
    return model


def input_size(model_config: Any) -> tuple[tuple[int, int] | None, int]:
    """Gives height and width of every input, None where images keep their own, and the channels.

    Source: config_util.get_spatial_image_size; image_resizer_builder.build.
    """
    message = getattr(model_config, str(model_config.WhichOneof("model")))
    kind = str(message.image_resizer.WhichOneof("image_resizer_oneof"))
    resizer = getattr(message.image_resizer, kind)
    channels = 1 if getattr(resizer, "convert_to_grayscale", False) else 3
    if kind == "fixed_shape_resizer":
        return (resizer.height, resizer.width), channels
    if kind == "keep_aspect_ratio_resizer" and resizer.pad_to_max_dimension:
        return (resizer.max_dimension, resizer.max_dimension), channels
    return None, channels


def restore(model: Any, prefix: str) -> None:
    """Restores every variable of a model that was built and called.

    What the checkpoint holds beyond the model (optimizer, step, losses) is left alone.

    Args:
        prefix: as `train_loop` or `exporter_main_v2` wrote it: a `tf.train.Checkpoint(model=...)`.

    Raises:
        DataError: a variable that the checkpoint lacks or holds in another shape, or data that
            cannot be read.
    """
    import tensorflow as tf

    try:
        # `restore` would ask for the counter of savings, too, which `write` leaves out.
        status = tf.train.Checkpoint(model=model).read(prefix)
        status.assert_existing_objects_matched()
    except AssertionError as error:
        raise _lacks(str(error), prefix) from error
    except ValueError as error:
        raise _mismatch(str(error), prefix) from error
    except (tf.errors.OpError, RuntimeError) as error:
        raise DataError(
            f"the checkpoint cannot be read: {str(error).splitlines()[0]}",
            expected="a whole checkpoint, .index and .data files",
            mend="copy it again",
            where=prefix,
        ) from error
    status.expect_partial()


def _lacks(message: str, prefix: str) -> DataError:
    names = [f"{found['name']} {found['shape']}" for found in _MISSING.finditer(message)]
    shown = ", ".join(names[:_MOST_NAMED]) or message.splitlines()[0]
    more = " ..." if len(names) > _MOST_NAMED else ""
    return DataError(
        f"the checkpoint does not hold the whole model, it lacks: {shown}{more}",
        expected="a checkpoint of this pipeline's architecture",
        mend="evaluate it with the pipeline.config that trained it",
        where=prefix,
    )


def _mismatch(message: str, prefix: str) -> DataError:
    found = _MISMATCH.search(message)
    if found is None:
        shown = message.splitlines()[0]
    else:
        shown = (
            f"{found['name'].rstrip('.')} is {found['stored']} in the checkpoint and "
            f"{found['wanted']} in the model"
        )
    return DataError(
        f"the checkpoint does not fit the model: {shown}",
        expected="a checkpoint of this pipeline's architecture",
        mend="evaluate it with the pipeline.config that trained it",
        where=prefix,
    )


class SavedDetector:
    """A SavedModel that was loaded, whatever of the exporter's inputs it takes.

    Args:
        folder: holds `saved_model.pb`.

    Raises:
        DataError: no SavedModel there, or not one of a detector.
    """

    def __init__(self, folder: str) -> None:
        import tensorflow as tf

        if not (Path(folder) / "saved_model.pb").is_file():
            raise DataError(
                "there is no saved_model.pb",
                expected="the folder saved_model/ that exporter_main_v2 writes",
                where=folder,
            )
        try:
            # Its variables go with the last reference to it.
            self._loaded = tf.saved_model.load(folder)
            self._signature = self._loaded.signatures[_SIGNATURE]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise DataError(
                f"the SavedModel does not load: {str(error).splitlines()[0]}",
                expected=f"a SavedModel with the signature {_SIGNATURE}",
                mend="export it again with exporter_main_v2",
                where=folder,
            ) from error
        inputs = self._signature.structured_input_signature[1]
        outputs = self._signature.structured_outputs
        if len(inputs) != 1 or not set(_OUTPUTS) <= set(outputs):
            raise DataError(
                f"this SavedModel takes {', '.join(inputs) or 'nothing'} and gives "
                f"{', '.join(sorted(outputs))}",
                expected=f"one input, and the outputs {', '.join(_OUTPUTS)}",
                mend="export a detector with exporter_main_v2, without side inputs",
                where=folder,
            )
        ((self._name, spec),) = inputs.items()
        self._dtype = spec.dtype
        self._takes_examples = _parses_examples(self._signature)

    def detect(self, encoded: Any, image: Any, *, with_masks: bool) -> dict[str, NDArray[Any]]:
        """Gives the detections of one image as `forward.compile_forward` does.

        Args:
            encoded: the encoded image, a string tensor.
            image: the decoded one, uint8 [H, W, 3].
            with_masks: whether masks are given, where the model has some.
        """
        import tensorflow as tf

        if self._dtype == tf.string:
            if self._takes_examples:
                encoded = tf.constant(make_example({"image/encoded": encoded.numpy()}))
            given = encoded[tf.newaxis]
        else:
            given = tf.cast(image, self._dtype)[tf.newaxis]
        outputs = self._signature(**{self._name: given})
        found = {key: outputs[key][0].numpy() for key in _OUTPUTS}
        # The exporter counts classes from 1 (exporter_lib_v2.py, `label_id_offset`).
        found["detection_classes"] = np.rint(found["detection_classes"]).astype(np.int64) - 1
        if with_masks and _MASKS in outputs:
            found[_MASKS] = outputs[_MASKS][0].numpy()
        return found


def _parses_examples(signature: Any) -> bool:
    graph = signature.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    return any(node.op.startswith(("ParseExample", "ParseSingleExample")) for node in nodes)


def average_checkpoints(prefixes: Sequence[str], model: Any) -> None:
    """Sets the variables of a model to the mean of several checkpoints, with equal weights.

    As stochastic weight averaging does (Izmailov et al. 2018, arXiv:1803.05407, algorithm 1), with
    one difference: batch-norm moving means and variances are averaged like the weights; the paper
    computes them anew by a pass over the training set. Means are taken in float64. What is no
    float (counters) is taken from the last checkpoint.

    Args:
        prefixes: of checkpoints of one architecture (`.../ckpt-7`); at least one.
        model: an OD API model that was built and called, so that its variables exist.

    Raises:
        UserError: no prefix.
        DataError: a variable that a checkpoint lacks or holds in another shape; names both.
    """
    import tensorflow as tf

    if not prefixes:
        raise UserError("no checkpoint to average", expected="at least one prefix")
    # Everything that a checkpoint of the model would hold: `model.variables` misses what Keras
    # does not track.
    nodes = tf.train.TrackableView(model).descendants()
    variables = list({id(node): node for node in nodes if isinstance(node, tf.Variable)}.values())
    floats = [variable for variable in variables if variable.dtype.is_floating]
    sums: list[NDArray[np.float64]] = [np.zeros(variable.shape, np.float64) for variable in floats]
    for prefix in prefixes:
        restore(model, prefix)
        for total, variable in zip(sums, floats, strict=True):
            np.add(total, variable.numpy(), out=total)
    for total, variable in zip(sums, floats, strict=True):
        variable.assign((total / len(prefixes)).astype(variable.dtype.as_numpy_dtype))


class BatchOutputs(NamedTuple):
    """What a batch of images gave.

    Attributes:
        positions: of the images among those evaluated, from 0.
        sizes: int64 [B, 2], their height and width as they were decoded.
        outputs: as `forward.compile_forward` gives them, as arrays.
    """

    positions: tuple[int, ...]
    sizes: NDArray[np.int64]
    outputs: Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class ReadyPass:
    """A pass whose network is built and restored.

    Attributes:
        build_seconds: building the model and tracing its function; 0 where an earlier pass did.
        restore_seconds: reading the checkpoints.
        batches: runs the network as it is iterated over.
    """

    build_seconds: float
    restore_seconds: float
    batches: Iterator[BatchOutputs]


class Networks:
    """The network of the pass at hand; what the next pass shares with it is kept.

    Raises:
        UserError: a pass that the pipeline's model cannot run.
    """

    def __init__(self, job: EvaluationJob) -> None:
        self._job = job
        self._pipeline = load_pipeline(job.pipeline_path).proto
        check_passes(self._pipeline, job.passes)
        self._model: Any = None
        self._model_key = b""
        self._forward: FallingBack | None = None
        self._forward_key: object = None

    def ready(self, one: Pass) -> ReadyPass:
        """Builds and restores the network of a pass.

        Raises:
            DataError: a checkpoint that is not the model's.
        """
        began = time.monotonic()
        config = model_of_pass(self._pipeline, one)
        size, channels = input_size(config)
        model_key = config.SerializeToString(deterministic=True)
        if model_key != self._model_key:
            self._forward_key = self._model = None
            self._model, self._model_key = build_model(config), model_key
        forward_key = (one.flip, one.stages, one.variants)
        if self._forward is None or forward_key != self._forward_key:
            compiled = functools.partial(
                compile_forward,
                *(self._model, config, one),
                size=size,
                channels=channels,
                with_masks=self._job.with_masks,
            )
            self._forward, self._forward_key = FallingBack(compiled), forward_key
        built = time.monotonic()
        if len(one.checkpoints) == 1:
            restore(self._model, one.checkpoints[0])
        else:
            average_checkpoints(one.checkpoints, self._model)
        return ReadyPass(
            build_seconds=built - began,
            restore_seconds=time.monotonic() - built,
            batches=_forwarded(self._job, self._model, self._forward, size),
        )


class FallingBack:
    """The compiled function of a pass: on few candidates for NMS where they are enough.

    A batch for which they were not is computed again, on all of them, by a function that is traced
    when it is first needed. After some such batches in one pass the rest of it goes to that
    function at once: then they are no exception, and each of them costs two forward passes.

    Args:
        compiled: `compile_forward` without its last argument.
        most_lost: batches of a pass that may be computed twice.
    """

    def __init__(self, compiled: Callable[..., Forward], most_lost: int = MOST_LOST) -> None:
        self._compiled = compiled
        self._narrow = compiled(narrow=True)
        self._whole: Forward | None = None
        self._most_lost = most_lost
        self._lost = 0

    def start_pass(self) -> None:
        """Forgets what the batches of the last pass, of other weights or images, needed."""
        self._lost = 0

    def __call__(self, images: Any, true_shapes: Any) -> _Arrays:
        """Gives what `compile_forward` says, as arrays."""
        if self._lost < self._most_lost:
            outputs = _arrays(self._narrow(images, true_shapes))
            if all(one.pop(IS_COMPLETE, np.True_).all() for one in outputs.values()):
                return outputs
            self._lost += 1
        if self._whole is None:
            self._whole = self._compiled(narrow=False)
        return _arrays(self._whole(images, true_shapes))


def _arrays(outputs: Mapping[str, Mapping[str, Any]]) -> _Arrays:
    return {
        key: {name: tensor.numpy() for name, tensor in tensors.items()}
        for key, tensors in outputs.items()
    }


def _forwarded(
    job: EvaluationJob, model: Any, forward: FallingBack, size: tuple[int, int] | None
) -> Iterator[BatchOutputs]:
    forward.start_pass()
    for batch in batches(job, model, size):
        outputs = forward(batch.images, batch.true_shapes)
        yield BatchOutputs(batch.positions, batch.sizes, outputs)


def saved_model_pass(job: EvaluationJob, one: Pass) -> ReadyPass:
    """Loads the SavedModel of a job, which goes image by image: its signature takes one.

    Raises:
        DataError: no SavedModel of a detector.
    """
    began = time.monotonic()
    detector = SavedDetector(job.saved_model)
    key = variant_key(one.variants[0])

    def found() -> Iterator[BatchOutputs]:
        for position, encoded in enumerate(encoded_images(job).prefetch(2)):
            image = decode(encoded)
            outputs = detector.detect(encoded, image, with_masks=job.with_masks)
            batch = {name: value[np.newaxis] for name, value in outputs.items()}
            size = np.array([image.shape[:2]], np.int64)
            yield BatchOutputs((position,), size, {key: batch})

    return ReadyPass(time.monotonic() - began, 0.0, found())
