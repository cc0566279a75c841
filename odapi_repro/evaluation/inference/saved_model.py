"""Detections of a SavedModel as exporter_main_v2 wrote it: its own graph, as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odapi_repro.datasets.example import make_example
from odapi_repro.errors import DataError

_SIGNATURE = "serving_default"
_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_MASKS = "detection_masks"


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
