"""A small residual backbone for Faster and Mask R-CNN at proxy scale.

The smallest Keras backbone that the OD API has for Faster R-CNN is ResNet-50: about 3 s a step on two
cores at 160 px. This one has the same interface (features of stride 16 for proposals, a second half on
the crops, batch norm frozen unless `batch_norm_trainable`) and a hundredth of the cost. It is an
entry in the OD API's own registry of feature extractors, under `PROXY_BACKBONE`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PROXY_BACKBONE", "enable"]

PROXY_BACKBONE = "odapi_repro_resnet10_keras"

# (filters, stride, residual blocks) of the first half; the stem has stride 2, so the sum is 16.
_STAGES = ((32, 2, 1), (64, 2, 1), (128, 2, 2))
_STEM_FILTERS = 24
_CROP_FILTERS = 128


def enable() -> None:
    """Registers the backbone with the OD API's model builder."""
    from object_detection.builders import model_builder

    registry = model_builder.FASTER_RCNN_KERAS_FEATURE_EXTRACTOR_CLASS_MAP
    registry[PROXY_BACKBONE] = _extractor_class()


def _extractor_class() -> Any:
    import tensorflow as tf
    from object_detection.core import freezable_batch_norm
    from object_detection.meta_architectures import faster_rcnn_meta_arch

    layers = tf.keras.layers

    class ProxyResnetFeatureExtractor(faster_rcnn_meta_arch.FasterRCNNKerasFeatureExtractor):  # type: ignore[misc]
        """ResNet-10 with two blocks at stride 16 and one on the crops."""

        def __init__(
            self,
            is_training: bool,
            first_stage_features_stride: int = 16,
            batch_norm_trainable: bool = False,
            weight_decay: float = 0.0,
        ) -> None:
            super().__init__(
                is_training, first_stage_features_stride, batch_norm_trainable, weight_decay
            )
            self.classification_backbone = None

        def preprocess(self, resized_inputs: Any) -> Any:
            """Pixels from [0, 255] to [-1, 1]."""
            return resized_inputs / 127.5 - 1.0

        def get_proposal_feature_extractor_model(self, name: str | None = None) -> Any:
            """[batch, height, width, 3] -> [batch, height / 16, width / 16, 128]."""
            inputs = layers.Input(shape=(None, None, 3))
            features = self._conv(inputs, _STEM_FILTERS, kernel=5, stride=2)
            for filters, stride, blocks in _STAGES:
                for block in range(blocks):
                    features = self._residual(features, filters, stride if block == 0 else 1)
            model = tf.keras.Model(inputs, features, name=name)
            self.classification_backbone = model
            return model

        def get_box_classifier_feature_extractor_model(self, name: str | None = None) -> Any:
            """[proposals, crop, crop, 128] -> [proposals, crop, crop, 128]."""
            inputs = layers.Input(shape=(None, None, _STAGES[-1][0]))
            return tf.keras.Model(inputs, self._residual(inputs, _CROP_FILTERS, 1), name=name)

        def _conv(self, inputs: Any, filters: int, *, kernel: int = 3, stride: int = 1) -> Any:
            features = layers.Conv2D(
                filters,
                kernel,
                strides=stride,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                kernel_regularizer=tf.keras.regularizers.l2(0.5 * self._weight_decay),
            )(inputs)
            # training=None follows the learning phase, False keeps the stored statistics.
            features = freezable_batch_norm.FreezableBatchNorm(
                training=None if self._train_batch_norm else False, momentum=0.9, epsilon=1e-3
            )(features)
            return layers.Activation("relu")(features)

        def _residual(self, inputs: Any, filters: int, stride: int) -> Any:
            features = self._conv(inputs, filters, stride=stride)
            features = self._conv(features, filters)
            shortcut = inputs
            if stride > 1 or inputs.shape[-1] != filters:
                shortcut = layers.AveragePooling2D(stride, padding="same")(inputs)
                shortcut = layers.Conv2D(filters, 1, use_bias=False)(shortcut)
            return layers.Add()([features, shortcut])

    return ProxyResnetFeatureExtractor
