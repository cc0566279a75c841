"""Small backbones for proxy scale, registered with the OD API's own model builder.

The smallest EfficientDet backbone that the OD API has is EfficientNet-B0 and the smallest of Faster
R-CNN is ResNet-50: 0.06 s an image at 192 px and about 0.7 s at 160 px on two cores, and 85 s until
the first step. These have the same interfaces and kinds of layer (inverted bottlenecks with
squeeze-and-excitation and drop connect; residual blocks, with batch norm frozen unless
`batch_norm_trainable`) at a fraction of the cost.
"""

from __future__ import annotations

from typing import Any

PROXY_EFFICIENTNET = "odapi_repro_efficientnet-proxy_bifpn_keras"
PROXY_RESNET = "odapi_repro_resnet10_keras"
"""The names under which the backbones are registered."""

# (input filters, output filters, kernel, repeats, expansion, stride) of each stack. The extractor
# takes its levels from stack_2/block_1, stack_4/block_2 and stack_6/block_0, so these must exist.
_EFFICIENTNET_STACKS = (
    (16, 8, 3, 1, 1, 1),
    (8, 16, 3, 1, 4, 2),
    (16, 24, 3, 2, 4, 2),
    (24, 40, 3, 1, 4, 2),
    (40, 48, 3, 3, 3, 1),
    (48, 64, 3, 1, 4, 2),
    (64, 96, 3, 1, 3, 1),
)

# (filters, stride, residual blocks) of the first half; the stem has stride 2, so the sum is 16.
_RESNET_STAGES = ((32, 2, 1), (64, 2, 1), (128, 2, 2))
_STEM_FILTERS = 24
_CROP_FILTERS = 128


def enable() -> None:
    """Registers both backbones."""
    from object_detection.builders import model_builder

    model_builder.SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP[PROXY_EFFICIENTNET] = (
        _efficientnet_extractor()
    )
    model_builder.FASTER_RCNN_KERAS_FEATURE_EXTRACTOR_CLASS_MAP[PROXY_RESNET] = _resnet_extractor()


def _efficientnet_extractor() -> Any:
    from object_detection.models import ssd_efficientnet_bifpn_feature_extractor as bifpn

    library = bifpn.efficientnet_model
    library.MODEL_CONFIGS["efficientnet-proxy"] = library.ModelConfig(
        blocks=tuple(
            library.BlockConfig.from_args(
                *filters, kernel, repeats, expansion, (stride, stride), 0.25
            )
            for *filters, kernel, repeats, expansion, stride in _EFFICIENTNET_STACKS
        ),
        stem_base_filters=16,
        top_base_filters=64,
        num_classes=1,
        # 0.99 would take hundreds of steps to forget where it started.
        bn_momentum=0.9,
        drop_connect_rate=0.1,
    )

    base: Any = bifpn.SSDEfficientNetBiFPNKerasFeatureExtractor

    class ProxyEfficientNetFeatureExtractor(base):  # type: ignore[misc]
        """EfficientDet's extractor on ten narrow inverted bottlenecks."""

        def __init__(self, *, bifpn_combine_method: str = "fast_attention", **kwargs: Any) -> None:
            super().__init__(
                bifpn_combine_method=bifpn_combine_method,
                efficientnet_version="efficientnet-proxy",
                name="EfficientDet-proxy",
                **kwargs,
            )

    return ProxyEfficientNetFeatureExtractor


def _resnet_extractor() -> Any:
    import tensorflow as tf
    from object_detection.core import freezable_batch_norm
    from object_detection.meta_architectures import faster_rcnn_meta_arch

    layers = tf.keras.layers

    extractor: Any = faster_rcnn_meta_arch.FasterRCNNKerasFeatureExtractor

    class ProxyResnetFeatureExtractor(extractor):  # type: ignore[misc]
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
            for filters, stride, blocks in _RESNET_STAGES:
                for block in range(blocks):
                    features = self._residual(features, filters, stride if block == 0 else 1)
            model = tf.keras.Model(inputs, features, name=name)
            self.classification_backbone = model
            return model

        def get_box_classifier_feature_extractor_model(self, name: str | None = None) -> Any:
            """[proposals, crop, crop, 128] -> [proposals, crop, crop, 128]."""
            inputs = layers.Input(shape=(None, None, _RESNET_STAGES[-1][0]))
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
