"""Images of one channel, or of more than three."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.rules.model.model_parts import image_resizer
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline import descend

# The one extractor whose backbone is built for the channels that come.
_ANY_CHANNELS = "ssd_mobilenet_v2_fpn_keras"
_FIELD = "num_additional_channels"


class ImageChannels(Rule):
    """The network gets images of another number of channels than three.

    Backbones are built for three channels, and so are all pretrained weights. Gray files need no
    setting: the decoder already makes three equal channels of them.

    Anti-pattern

        image_resizer { fixed_shape_resizer { height: 320 width: 320 convert_to_grayscale: true } }
        train_input_reader { num_additional_channels: 1 }

    Best practice

    Leave both out. To take colour from the training alone use random_rgb_to_gray, which keeps
    three channels; to drop it for good, convert the images before they are written to records.

    Source

    builders/image_resizer_builder.build, data_decoders/tf_example_decoder (channels=3;
    image/additional_channels/encoded is a required feature), inputs.transform_input_data. Run with
    every family of the reference configs: all stop in predict but ssd_mobilenet_v2_fpn_keras, which
    builds a network of one channel, and CenterNet without bgr_ordering, whose preprocessing makes
    three channels of one again.
    """

    code: ClassVar[str] = "MOD019"
    name: ClassVar[str] = "model.image_channels"
    causes: ClassVar[tuple[str, ...]] = ("grayscale_input_unsupported",)

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Looks at the resizer, then at both readers."""
        if not hasattr(subject.pipeline.model, "feature_extractor"):
            return  # no model that takes images: that is told elsewhere
        resizer = image_resizer(subject.pipeline)
        if resizer.message is not None and getattr(resizer.message, "convert_to_grayscale", False):
            yield from self._gray(subject, resizer.at("convert_to_grayscale"))
        proto = subject.pipeline.proto
        readers = [("train_input_reader", proto.train_input_reader)]
        readers += [("eval_input_reader[0]", one) for one in proto.eval_input_reader[:1]]
        paths = [f"{path}.{_FIELD}" for path, reader in readers if getattr(reader, _FIELD) > 0]
        if paths:
            yield from self._more(subject, paths)

    def _gray(self, subject: Subject, path: str) -> Iterator[Finding]:
        extractor = descend(subject.pipeline.model, "feature_extractor")
        if subject.pipeline.meta_architecture == "center_net" and not extractor.bgr_ordering:
            return
        why = "The network takes three channels, and the OD API stops in its first forward pass."
        severity = Severity.FATAL
        if extractor.type == _ANY_CHANNELS:
            starts = bool(subject.pipeline.proto.train_config.fine_tune_checkpoint)
            severity = Severity.FATAL if starts else Severity.WARNING
            why = (
                "The network is built for one channel; the first layer of a checkpoint that was "
                "trained on three, as all published ones were, cannot be restored into it."
                if starts
                else "The network is built for one channel, and no published checkpoint fits it."
            )
        yield self.finding(
            "grayscale_input_unsupported",
            severity,
            fields=[path],
            found="images are converted to one channel",
            expected="three channels; the decoder makes them of gray images, too",
            why=why,
            loss_ap=60.0,
            fix=[FieldFix(path, False)],
        )

    def _more(self, subject: Subject, paths: list[str]) -> Iterator[Finding]:
        extractor = descend(subject.pipeline.model, "feature_extractor")
        builds = extractor.type == _ANY_CHANNELS
        yield self.finding(
            "grayscale_input_unsupported",
            Severity.CRITICAL if builds else Severity.FATAL,
            fields=paths,
            found="channels are read beside the three of the image",
            expected="three channels",
            why="Records without image/additional_channels/encoded stop the input"
            + (
                ", and a checkpoint of three channels fits no network of more."
                if builds
                else "; with them, the network, which takes three channels, stops."
            ),
            loss_ap=60.0,
            fix=[FieldFix(path, 0) for path in paths],
            count=len(paths),
        )
