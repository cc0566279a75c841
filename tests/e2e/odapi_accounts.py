"""Why each of the OD API's own tests that does not pass does not, and the page that says so.

    python tests/e2e/odapi_accounts.py     # prints tables of docs/compatibility.md

An account covers the rows of `benchmarks/proofs/odapi_tests_*.csv` of one module whose test and
message fit its patterns. `tests/test_odapi_proof.py` holds that every row has one account, that
every account has rows, and that the page is what this prints.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PROOFS = Path(__file__).resolve().parents[2] / "benchmarks" / "proofs"
STACKS = ("2.20", "2.15")
BEGIN = "<!-- made by tests/e2e/odapi_accounts.py -->"
END = "<!-- end -->"

_NO_BEAM = "a tool that makes data sets for Context R-CNN imports apache_beam"
_ONE_DNN = (
    "TensorFlow's oneDNN convolution of nothing gives the shape of what it got. The test passes "
    "with TF_ENABLE_ONEDNN_OPTS=0"
)
_NOT_SHIPPED = "reads a file that the package lacks"


@dataclass(frozen=True)
class Account:
    """Why some tests of one module do not pass.

    Attributes:
        module: dotted, without `object_detection.`.
        whose: `the test's`, `the package's`, `left out`, `TensorFlow's` or `the machine's`.
        why: what was found, and how that is known.
        test: a pattern that the test's name has; all when empty.
        message: a pattern that the message has; all when empty.
    """

    module: str
    whose: str
    why: str
    test: str = ""
    message: str = ""

    def covers(self, row: dict[str, str]) -> bool:
        """Whether this row of a table is one that the account is about."""
        return (
            row["module"] == self.module
            and bool(re.search(self.test, row["test"]))
            and bool(re.search(self.message, row["message"]))
        )


ACCOUNTS: tuple[Account, ...] = (
    Account(
        "builders.model_builder_test",
        "the test's",
        "the abstract half of two modules; builders.model_builder_tf2_test, the other, passes",
        message="NotImplementedError",
    ),
    *(
        Account(module, "the package's", f"{_NOT_SHIPPED}: {file}", message="NotFoundError")
        for module, file in (
            ("builders.dataset_builder_test", "data/pet_label_map.pbtxt"),
            ("builders.decoder_builder_test", "data/pet_label_map.pbtxt"),
            ("core.densepose_ops_test", "dataset_tools/densepose/UV_symmetry_transforms.mat"),
        )
    ),
    Account(
        "core.target_assigner_test",
        "the test's",
        "asks two float32 to be equal to 7 decimals; they differ in the last bit",
        test="test_exponent",
    ),
    *(
        Account(f"dataset_tools.context_rcnn.{module}", "left out", _NO_BEAM, message="'beam'")
        for module in (
            "add_context_to_examples_tf2_test",
            "create_cococameratraps_tfexample_tf2_test",
            "generate_detection_data_tf2_test",
            "generate_embedding_data_tf2_test",
        )
    ),
    *(
        Account(
            f"dataset_tools.{module}",
            "left out",
            f"a tool that makes data sets imports {package}",
            message=package,
        )
        for module, package in (
            ("create_coco_tf_record_test", "contextlib2"),
            ("create_pascal_tf_record_test", "lxml"),
            ("tf_record_creation_util_test", "contextlib2"),
        )
    ),
    Account(
        "dataset_tools.create_kitti_tf_record_test",
        "the test's",
        "gives Pillow an image of float64, which it takes no longer",
        message="<f8",
    ),
    Account(
        "dataset_tools.seq_example_util_test",
        "the package's",
        "seq_example_util.py compares arrays of boxes with an empty list, which NumPy refuses "
        "since 1.25; only the tool that makes sequence examples calls it",
        message="could not be broadcast",
    ),
    Account(
        "meta_architectures.center_net_meta_arch_tf2_test",
        "the test's",
        "takes int() of an array of one number, which NumPy refuses since 2.4",
        test="test_non_max_suppression",
        message="0-dimensional",
    ),
    Account(
        "meta_architectures.deepmac_meta_arch_test",
        "TensorFlow's",
        "a batch of no images: " + _ONE_DNN,
        test="test_mask_network",
        message="InvalidArgumentError",
    ),
    Account(
        "metrics.oid_vrd_challenge_evaluation_utils_test",
        "the test's",
        "compares arrays of records by tf.test's assertAllEqual, which takes none since it "
        "converts what it compares",
        message="TensorFlow DType",
    ),
    Account(
        "model_lib_tf2_test",
        "the package's",
        f"{_NOT_SHIPPED}: samples/configs/ssd_mobilenet_v2_pets_keras.config. The tests of "
        "this project train and evaluate through model_lib_v2 instead",
        message="NotFoundError",
    ),
    *(
        Account(
            f"models.{module}_tf2_test",
            "the machine's",
            "fetches ImageNet weights while it builds, and there was no network",
            message="URL fetch failure",
        )
        for module in (
            "center_net_mobilenet_v2_feature_extractor",
            "center_net_mobilenet_v2_fpn_feature_extractor",
        )
    ),
    Account(
        "models.keras_models.inception_resnet_v2_tf2_test",
        "TensorFlow's",
        "an image of 40 pixels, of which the last blocks get nothing: " + _ONE_DNN,
        test="test_variable_count",
    ),
    Account(
        "utils.visualization_utils_test",
        "the package's",
        "two image summaries call FigureCanvasAgg.tostring_rgb, which Matplotlib 3.10 removed; "
        "no code of the OD API calls them but a function that nothing calls",
        message="tostring_rgb",
    ),
    Account(
        "utils.visualization_utils_test",
        "the package's",
        f"{_NOT_SHIPPED}: test_images/image1.jpg",
        message="image1.jpg",
    ),
)


def rows_of(stack: str) -> list[dict[str, str]]:
    """Gives the rows of a stack's table of tests."""
    with (PROOFS / f"odapi_tests_tf{stack}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def faulty(stack: str) -> list[dict[str, str]]:
    """Gives the rows of tests and modules that do not pass."""
    return [row for row in rows_of(stack) if row["outcome"] not in ("passed", "skipped")]


def models_of(stack: str) -> list[dict[str, str]]:
    """Gives the rows of a stack's table of models."""
    with (PROOFS / f"models_tf{stack}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _counts(stack: str) -> list[str]:
    counts: Counter[str] = Counter()
    for row in rows_of(stack):
        counts[row["outcome"]] += int(row["n"])
    modules = len({row["module"] for row in rows_of(stack)})
    run = sum(counts[kind] for kind in ("passed", "skipped", "error", "failure"))
    names = ("passed", "skipped", "error", "failure", "not_loaded", "died")
    return [stack, str(modules), str(run), *(str(counts[name]) for name in names)]


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page() -> str:
    """Gives the counts of each stack, the accounts with their numbers of tests, and the models."""
    heads = "modules,tests run,passed,skipped by the OD API,errors,failures,not loaded,died"
    parts = [_table(("TensorFlow", *heads.split(",")), [_counts(stack) for stack in STACKS])]
    rows = []
    for account in ACCOUNTS:
        numbers = [str(sum(map(account.covers, faulty(stack)))) for stack in STACKS]
        only = f" ({account.test})" if account.test else ""
        rows.append([f"`{account.module}`{only}", *numbers, account.whose, account.why])
    head = ("module (tests)", *(f"on {stack}" for stack in STACKS), "whose", "why")
    parts.append(_table(head, rows))
    for stack in STACKS:
        models = models_of(stack)
        stops = [row for row in models if row["outcome"] == "stops"]
        named = ", ".join(f"`{row['feature_extractor']}`" for row in stops)
        parts.append(
            f"TensorFlow {stack}: {len(models) - len(stops)} of {len(models)} feature extractors "
            f"are built and run;\n{named} stop."
        )
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page() + "\n")
