"""Rules about parts of a config that every training needs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from odapi_repro.diagnosis.finding import FieldFix, Finding, Severity
from odapi_repro.diagnosis.rule import Rule
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.pipeline.named_paths import (
    input_patterns,
    is_placeholder,
    is_upstreams_slip,
    named_paths,
)

_BUILT = ("ssd", "faster_rcnn", "center_net")


class ModelMissing(Rule):
    """The config describes no model, or one that is registered nowhere.

    Anti-pattern

        train_config { batch_size: 8 }
        train_input_reader { ... }

    The `model` block was lost, is empty, or the file is another kind of text altogether.

    Best practice

        model {
          ssd { ... }
        }

    One of `ssd`, `faster_rcnn` (which holds Mask R-CNN and Context R-CNN too) and `center_net`.

    Source

    builders/model_builder.build and META_ARCH_BUILDER_MAP there; `experimental_model` is looked
    up in a map that is empty as published.
    """

    code = "CFG007"
    name = "config.model_missing"
    causes = ("model_missing",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when no meta-architecture that can be built is set."""
        kind = subject.pipeline.meta_architecture
        if kind in _BUILT:
            return
        if kind:
            found = f"the model is a {kind}, which is registered nowhere"
        elif subject.pipeline.proto.HasField("model"):
            found = "`model` holds no meta-architecture"
        elif subject.text.text.strip():
            found = "no model is described"
        else:
            found = "the config is empty"
        yield self.finding(
            "model_missing",
            Severity.FATAL,
            fields=("model",),
            found=found,
            expected="a model { ssd { ... } }, or faster_rcnn or center_net",
            why="The OD API stops with a ValueError when it builds the model.",
            loss_ap=100.0,
        )


_RESNETS = ("resnet50", "resnet101", "resnet152")
# The class maps of builders/model_builder.py, by meta-architecture.
TF2_FEATURE_EXTRACTORS: dict[str, frozenset[str]] = {
    "ssd": frozenset(
        {
            "ssd_mobilenet_v1_keras",
            "ssd_mobilenet_v1_fpn_keras",
            "ssd_mobilenet_v2_keras",
            "ssd_mobilenet_v2_fpn_keras",
            *(f"ssd_{resnet}_v1_fpn_keras" for resnet in _RESNETS),
            *(f"ssd_efficientnet-b{number}_bifpn_keras" for number in range(8)),
        }
    ),
    "faster_rcnn": frozenset(
        {
            "faster_rcnn_inception_resnet_v2_keras",
            *(f"faster_rcnn_{resnet}_keras" for resnet in _RESNETS),
            *(f"faster_rcnn_{resnet}_fpn_keras" for resnet in _RESNETS),
        }
    ),
    "center_net": frozenset(
        {
            "resnet_v2_50",
            "resnet_v2_101",
            *(f"resnet_v1_{depth}_fpn" for depth in (18, 34, 50, 101)),
            *(f"hourglass_{depth}" for depth in (10, 20, 32, 52, 104)),
            "mobilenet_v2",
            "mobilenet_v2_fpn",
            "mobilenet_v2_fpn_sep_conv",
        }
    ),
}
TF1_FEATURE_EXTRACTORS = frozenset(
    {
        *("ssd_inception_v2", "ssd_inception_v3", "ssd_pnasnet", "ssd_spaghettinet"),
        *("ssd_mobilenet_v1", "ssd_mobilenet_v1_fpn", "ssd_mobilenet_v1_ppn"),
        *("ssd_mobilenet_v2", "ssd_mobilenet_v2_fpn", "ssd_mobilenet_v2_mnasfpn"),
        *("ssd_mobilenet_v3_large", "ssd_mobilenet_v3_small", "ssd_mobilenet_v3_small_pruned"),
        *("ssd_mobilenet_edgetpu", "embedded_ssd_mobilenet_v1"),
        *(f"ssd_mobiledet_{target}" for target in ("cpu", "dsp", "edgetpu", "gpu")),
        *(f"ssd_{resnet}_v1_fpn" for resnet in _RESNETS),
        *(f"ssd_{resnet}_v1_ppn" for resnet in _RESNETS),
        *("faster_rcnn_nas", "faster_rcnn_pnas", "faster_rcnn_inception_v2"),
        *("faster_rcnn_inception_resnet_v2", *(f"faster_rcnn_{resnet}" for resnet in _RESNETS)),
    }
)


class FeatureExtractorUnknown(Rule):
    """The feature extractor is one of TensorFlow 1's, or none at all, and no model can be built.

    Anti-pattern

        feature_extractor {
          type: "ssd_mobilenet_v2"
        }

    Configs of the TF1 zoo (samples/configs, archives named *_coco_2018_03_29) name extractors
    that model_builder knows under TensorFlow 1 only.

    Best practice

        feature_extractor {
          type: "ssd_mobilenet_v2_keras"
        }

    A change of the name alone gives a model that starts; its checkpoint has to be one of the TF2
    zoo, and the file in configs/tf2 of the same name is the safer start.

    Source

    builders/model_builder.py: SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP and its siblings, and
    _check_feature_extractor_exists, which raises ValueError.
    """

    code = "CFG006"
    name = "config.tf1_only_model"
    causes = ("tf1_only_model", "feature_extractor_unknown")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the meta-architecture has no such feature extractor."""
        kind = subject.pipeline.meta_architecture
        known = TF2_FEATURE_EXTRACTORS.get(kind)
        if known is None:
            return
        given = str(getattr(subject.pipeline.model, "feature_extractor").type)  # noqa: B009
        if given in known:
            return
        field = f"model.{kind}.feature_extractor.type"
        of_tf1 = given in TF1_FEATURE_EXTRACTORS
        counterpart = f"{given}_keras" if f"{given}_keras" in known else ""
        alike = difflib.get_close_matches(given[:200], sorted(known), n=1, cutoff=0.0)
        close = counterpart or (
            alike[0] if alike and given else subject.reference.feature_extractor
        )
        told = repr(given[:80]) if given else "not set"
        yield self.finding(
            "tf1_only_model" if of_tf1 else "feature_extractor_unknown",
            Severity.FATAL,
            fields=(field,),
            found=f"the feature extractor is {told}"
            + (", which only TensorFlow 1 has" if of_tf1 else f", which is none of {kind}'s"),
            expected=f"{close}, its counterpart in TensorFlow 2"
            if counterpart
            else f"one of the {len(known)} that {kind} has; nearest in name is {close}",
            why="The OD API stops with a ValueError when it builds the model.",
            loss_ap=100.0,
            fix=(FieldFix(field, counterpart),) if counterpart else (),
        )


class EvalInputNotConfigured(Rule):
    """The training records are set and the evaluation's are not, so that nothing is measured.

    Anti-pattern

        train_input_reader {
          tf_record_input_reader { input_path: "annotations/train.record" }
        }
        eval_input_reader {
          tf_record_input_reader { input_path: "PATH_TO_BE_CONFIGURED" }
        }

    The training runs to its end. Only then, or in the second process that evaluates while it
    runs, does model_main_tf2 --checkpoint_dir stop: IndexError without an eval_input_reader,
    ValueError without an input_path, RuntimeError where no file matches, NotFoundError without a
    label map, which the metrics need.

    Best practice

        eval_input_reader {
          label_map_path: "annotations/label_map.pbtxt"
          shuffle: false
          num_epochs: 1
          tf_record_input_reader { input_path: "annotations/test.record" }
        }

    Source

    model_lib_v2.eval_continuously (eval_input_configs[0]), model_lib_v2.eager_eval_loop
    (create_category_index_from_labelmap), builders/dataset_builder.py.
    """

    code = "CFG005"
    name = "config.eval_input_not_configured"
    causes = ("eval_input_not_configured",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding when the training could read and the evaluation could not."""
        train = [one for one in input_patterns(subject.pipeline) if not is_placeholder(one)]
        lacking = _lacking(subject)
        if not train or lacking is None:
            return
        field, found, outcome = lacking
        label_map = str(subject.pipeline.proto.train_input_reader.label_map_path)
        borrowed = field.endswith("label_map_path") and label_map and not is_placeholder(label_map)
        yield self.finding(
            "eval_input_not_configured",
            Severity.FATAL,
            fields=(field,),
            found=found,
            expected="an eval_input_reader with records and a label map of its own",
            why=f"Training runs, but the evaluation stops ({outcome}): no metric is ever computed.",
            loss_ap=80.0,
            fix=(FieldFix(field, label_map),) if borrowed else (),
        )


def _lacking(subject: Subject) -> tuple[str, str, str] | None:
    """Gives field, finding and outcome of what the evaluation lacks; None when it lacks nothing."""
    proto = subject.pipeline.proto
    if not proto.eval_input_reader:
        if any(one.kind == "syntax" for one in subject.text.problems):
            return None  # it may stand where the text could not be parsed
        return "eval_input_reader", "there is no eval_input_reader", "IndexError"
    reader = proto.eval_input_reader[0]
    path = "eval_input_reader[0].tf_record_input_reader.input_path"
    patterns = input_patterns(subject.pipeline, evaluation=True)
    if not [one for one in patterns if one]:
        return path, "the first eval_input_reader names no records", "ValueError"
    if all(is_upstreams_slip(one) for one in patterns):
        return None  # not forgotten: the placeholder's rule says whose it is
    if all(is_placeholder(one) for one in patterns):
        return path, f"the evaluation's records are {patterns[0]!r}", "RuntimeError"
    if not reader.label_map_path:
        field = "eval_input_reader[0].label_map_path"
        return field, "the first eval_input_reader has no label_map_path", "NotFoundError"
    return None


class PlaceholderPath(Rule):
    """Paths still are placeholders, which no file has for a name.

    Anti-pattern

        train_input_reader {
          label_map_path: "annotations/label_map.pbtxt"
          tf_record_input_reader { input_path: "annotations/train.record" }
        }
        eval_input_reader {
          label_map_path: "PATH_TO_BE_CONFIGURED/label_map.txt"
          tf_record_input_reader { input_path: "PATH_TO_BE_CONFIGURED/val2017.tfrecord" }
        }

    Some paths were filled in and others forgotten, most often those of the evaluation or
    `fine_tune_checkpoint`. Shell variables count as well: TensorFlow expands none.

    Best practice

        eval_input_reader {
          label_map_path: "annotations/label_map.pbtxt"
          tf_record_input_reader { input_path: "annotations/test.record" }
        }

    A config in which every path is a placeholder is a template, such as those of configs/tf2 and
    of pipelines/; `odapi_repro.run --data` fills it, and the finding is no more than a reminder.

    Source

    builders/dataset_builder.py (RuntimeError where nothing matches), utils/label_map_util.py and
    model_lib_v2.load_fine_tune_checkpoint, which open these paths as they stand.
    """

    code = "CFG004"
    name = "config.placeholder_path"
    causes = ("placeholder_path",)
    needs_pipeline = False

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields one finding for all placeholders."""
        paths = named_paths(subject.pipeline)
        left = {field: path for field, path in paths.items() if is_placeholder(path)}
        if not left:
            return
        template = len(left) == len(paths)
        # Whoever fills in the placeholder of all configs misses it, and training does not read it.
        slip = all(is_upstreams_slip(path) for path in left.values())
        shown = ", ".join(list(left)[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        first = next(iter(left.values()))
        if template:
            found = f"all {len(left)} paths are placeholders: this is a template"
            why = (
                "Nothing can run before they are filled in, by hand or by --data and --checkpoint."
            )
        else:
            found = f"{len(left)} of {len(paths)} paths are placeholders ({first!r}): {shown}"
            why = _what_happens(left)
            if slip:
                why += " The OD API's own D7 config spells this placeholder with a second E."
        yield self.finding(
            "placeholder_path",
            Severity.INFO if template else Severity.WARNING if slip else Severity.FATAL,
            fields=tuple(left),
            found=found,
            expected="paths of files",
            why=why,
            loss_ap=0.0 if template or slip else 90.0,
            count=len(left),
        )


def _what_happens(left: dict[str, str]) -> str:
    evaluation = all(field.startswith("eval_input_reader") for field in left)
    if evaluation:
        return "Training runs, and the evaluation stops because it finds no such file."
    if list(left) == ["train_config.fine_tune_checkpoint"]:
        return "Training stops at the restore, because there is no such checkpoint."
    return "The OD API stops when it opens the first of them."


_SMALL_RESNETS = ("resnet_v1_18_fpn", "resnet_v1_34_fpn")
_DOWNLOADING = ("mobilenet_v2", "mobilenet_v2_fpn", "mobilenet_v2_fpn_sep_conv")
_FIRST_WITHOUT_RESNET = (2, 13)
_FIELD = "model.center_net.feature_extractor"


class ModelOnThisStack(Rule):
    """The model cannot be built with the TensorFlow that is installed, or not without a network.

    Anti-pattern

        center_net {
          feature_extractor {
            type: "resnet_v1_18_fpn"
          }
        }

    CenterNet's ResNet-18 and -34 are built by a function that Keras shows no longer since
    TensorFlow 2.13: model_main_tf2 stops with an AttributeError. CenterNet's MobileNetV2 fetches
    ImageNet weights while it is built, also when a checkpoint is restored afterwards.

    Best practice

        center_net {
          feature_extractor {
            type: "resnet_v1_50_fpn"
          }
        }

    Or train with `odapi-repro run`, which puts the missing function back. For MobileNetV2, let one
    build run where there is a network, and keep the folder ~/.keras/models.

    Source

    models/keras_models/resnet_v1.py: resnet_v1_18 and resnet_v1_34 call
    keras.applications.resnet.ResNet. models/center_net_mobilenet_v2_feature_extractor.py:
    mobilenet_v2 has weights='imagenet' where depth_multiplier is 1.0. Every model of
    model_builder.py was built on TensorFlow 2.15 and 2.20: docs/compatibility.md.
    """

    code = "CFG009"
    name = "config.stack"
    causes = ("model_stops_on_stack", "backbone_weights_downloaded")

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yields a finding for CenterNet on a small ResNet or on MobileNetV2."""
        if subject.pipeline.meta_architecture != "center_net":
            return
        extractor = subject.pipeline.proto.model.center_net.feature_extractor
        if extractor.type in _SMALL_RESNETS:
            yield from self._without_resnet(extractor.type)
        elif extractor.type in _DOWNLOADING and extractor.depth_multiplier == 1.0:
            yield self.finding(
                "backbone_weights_downloaded",
                Severity.WARNING,
                fields=(f"{_FIELD}.type",),
                found=f"CenterNet on {extractor.type}, which fetches ImageNet weights from the "
                "network while it is built",
                expected="a machine with a network, or the weights in ~/.keras/models",
                why="Without either, the OD API stops with 'URL fetch failure'. It fetches them "
                "even where a restored checkpoint replaces them later.",
            )

    def _without_resnet(self, extractor: str) -> Iterator[Finding]:
        version = _tensorflow()
        if version and version < _FIRST_WITHOUT_RESNET:
            return
        here = f"TensorFlow {version[0]}.{version[1]}, which is installed," if version else ""
        yield self.finding(
            "model_stops_on_stack",
            Severity.FATAL if version else Severity.WARNING,
            fields=(f"{_FIELD}.type",),
            found=f"CenterNet on {extractor}, which {here or 'TensorFlow 2.13 and later'} "
            f"cannot build",
            expected="resnet_v1_50_fpn, or a training by odapi-repro run, which patches this",
            why="model_main_tf2 stops with AttributeError: keras.applications.resnet has had no "
            "ResNet since TensorFlow 2.13.",
            loss_ap=100.0 if version else 0.0,
        )


def _tensorflow() -> tuple[int, int] | None:
    # Here, not above: what it imports would cost every diagnosis.
    from odapi_repro.packages import tensorflow_version

    return tensorflow_version()
