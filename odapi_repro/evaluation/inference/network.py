"""Builds a detection model from its proto and restores all of it from a checkpoint."""

from __future__ import annotations

import re
from typing import Any

from odapi_repro.errors import ConfigError, DataError

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
