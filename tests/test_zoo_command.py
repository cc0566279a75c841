"""`odapi_repro.zoo` as a user meets it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odapi_repro import zoo
from odapi_repro.pipeline import parse_pipeline
from odapi_repro.reference import REFERENCES
from odapi_repro.reference.effect_catalogue import UNKNOWN_EFFECTS


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command and gives what it printed; it must succeed."""

    def run(*arguments: str) -> str:
        assert zoo.main(list(arguments)) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return run


def test_the_list_has_a_line_a_reference_with_its_number_and_a_mark(output: Any) -> None:
    lines = output().splitlines()
    by_name = {line.split()[0]: line.split() for line in lines[1:] if line}
    assert set(REFERENCES) <= set(by_name)
    assert by_name["efficientdet_d3"][1:4] == ["896x896", "45.4", "128"]
    assert by_name["efficientdet_d3"][-1] == "*"
    assert by_name["mask_rcnn_inception_resnet_v2"][2:4] == ["39.0", "34.6"]
    assert by_name["ssd_resnet50_v1_fpn_640"][-1] != "*"
    assert max(map(len, lines)) <= 100


def test_a_family_is_listed_alone(output: Any) -> None:
    found = json.loads(output("--family", "efficientdet", "--format", "json"))["references"]
    assert {row["family"] for row in found} == {"efficientdet"}
    assert len(found) == 16


@pytest.mark.parametrize("form", ["json", "csv", "markdown"])
def test_every_form_of_the_list_has_the_same_rows(output: Any, form: str) -> None:
    text = output("--format", form)
    if form == "json":
        names = [row["name"] for row in json.loads(text)["references"]]
    elif form == "csv":
        names = [row["name"] for row in csv.DictReader(io.StringIO(text))]
    else:
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        names = [line.split("|")[1].strip() for line in rows[2:]]
    assert names == list(REFERENCES)


def test_the_csv_leaves_unreported_numbers_empty(output: Any) -> None:
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(output("--format", "csv")))}
    assert rows["efficientdet_d3"]["mask_AP"] == ""
    assert rows["mask_rcnn_inception_resnet_v2"]["mask_AP"] == "34.6"
    assert rows["efficientdet_d3"]["images_seen"] == "38400000"


def test_one_reference_is_shown_whole(output: Any) -> None:
    text = " ".join(output("efficientdet_d3").split())
    for part in (
        "ssd_efficientdet_d3_896x896_coco17_tpu-32",
        "efficientdet_d3_coco17_tpu-32.tar.gz",
        "45.4 AP: TF2 detection zoo",
        "COCO val2017, 5,000 images",
        "1, 1, 1, 1",
        "global_batch (images) 128",
        "images_seen 38,400,000",
        "images_per_replica 4",
        "epochs 324.6",
        "lr_per_image (1/image) 0.000625",
    ):
        assert part in text


def test_both_numbers_of_a_contradiction_are_shown(output: Any) -> None:
    text = output("mask_rcnn")
    assert all(number in text for number in ("39.0 AP", "34.6 mask_AP", "40.4 AP", "35.5 mask_AP"))


def test_json_of_one_reference_has_its_quantities_and_disputes(output: Any) -> None:
    found = json.loads(output("efficientdet_d6", "--format", "json"))
    assert found["schema"] == 1
    assert found["quantities"]["images_seen"] == {"value": 38_400_000, "unit": "images"}
    assert found["quantities"]["num_replicas"]["value"] == 32
    assert any("1408x1408" in dispute["what"] for dispute in found["disputes"])
    assert found["reported"][0]["value"] == 50.5


def test_what_automls_recipe_loses_is_shown(output: Any) -> None:
    text = output("efficientdet_d3_automl")
    assert "What the pipeline leaves out of that recipe" in text
    text = " ".join(text.split())
    assert "crowd boxes: skipped in training; here trained as positives" in text


@pytest.mark.parametrize("name", ["efficientdet_d3", "centernet_hourglass104_512_kpts"])
def test_the_printed_config_is_the_references(output: Any, name: str) -> None:
    text = output(name, "--config")
    assert text == REFERENCES[name].config_text()
    assert parse_pipeline(text).proto == REFERENCES[name].pipeline().proto


def test_effects_are_listed_by_factor_and_the_unknown_named(output: Any) -> None:
    text = output("--effects")
    assert ["data_fraction", "18", "7.2", "to", "30.9"] in [
        line.split() for line in text.split("\n")
    ]
    for factor in UNKNOWN_EFFECTS:
        assert factor in text


def test_a_factors_figures_have_their_sources(output: Any) -> None:
    text = " ".join(output("--effects", "data_fraction").split())
    assert "-30.90: 100% -> 1% of train2017 [data_1_percent]" in text
    assert "AP 40.9 -> 10 on COCO train2017/val2017 trust near-controlled, primary" in text
    assert "https://github.com/microsoft/SoftTeacher/blob/main/README.md" in text


def test_a_factor_without_figures_is_said_to_be_unknown(output: Any) -> None:
    assert output("--effects", "bfloat16") == f"bfloat16: {UNKNOWN_EFFECTS['bfloat16']}\n"


@pytest.mark.parametrize("form", ["json", "csv", "markdown"])
def test_effects_as_data(output: Any, form: str) -> None:
    text = output("--effects", "crowd", "--format", form)
    if form == "json":
        found = json.loads(text)
        assert [row["factor"] for row in found["effects"]] == ["crowd"] * 3
        assert found["unknown"] == {}
    elif form == "csv":
        assert [row["key"] for row in csv.DictReader(io.StringIO(text))].count("crowd") == 1
    else:
        assert text.count("- source: ") == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["efficientdet_d33"], "did you mean efficientdet_d3"),
        (["one", "two"], "2 names: one, two"),
        (["--config"], "--config without the name of a reference"),
        (["--effects", "data_fractoin"], "did you mean 'data_fraction'"),
        (["--effects", "--family", "centernet"], "--effects with --family"),
        (["--effects", "bfloat16", "--format", "csv"], "has no figures"),
        (["efficientdet_d3", "--config", "--format", "json"], "--config with --format json"),
        (["efficientdet_d3", "--family", "centernet"], "--family with the name of a reference"),
        (["--family", "yolo"], "a flag was not understood"),
        (["--famly", "yolo"], "unknown flag --famly"),
    ],
)
def test_wrong_input_is_one_message_and_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert zoo.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("odapi-repro zoo: ")
    assert words in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("arguments", [[], ["mask_rcnn"], ["--effects"]], ids=str)
def test_the_documentation_shows_what_the_command_prints(
    output: Any, repository: Path, arguments: list[str]
) -> None:
    page = (repository / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert output(*arguments) in page


def test_help_is_exit_0(output: Any) -> None:
    assert "effects" in output("--help")


PROBE = """
import sys
from odapi_repro import zoo
assert zoo.main([]) == 0
listed = [name for name in ("tensorflow", "object_detection") if name in sys.modules]
assert zoo.main(["efficientdet_d3"]) == 0
print(listed, "tensorflow" in sys.modules)
"""


def test_listing_imports_no_proto_and_nothing_imports_tensorflow(repository: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=repository, capture_output=True, text=True, check=True
    )
    assert child.stdout.splitlines()[-1] == "[] False"
