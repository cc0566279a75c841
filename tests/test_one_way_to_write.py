"""Files are written by odapi_repro.files alone, and a disk that is full costs nobody his file."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from odapi_repro.datasets.label_map import LabelMap, write_label_map
from odapi_repro.errors import EnvironmentMissing

PACKAGE = Path(__file__).parents[1] / "odapi_repro"
WRITERS = {
    *("write_text", "write_bytes", "imwrite", "tofile", "rename", "symlink_to", "hardlink_to"),
    *("NamedTemporaryFile", "mkstemp", "TFRecordWriter"),
    *(f"{room}.{name}" for room in ("os", "shutil") for name in ("replace", "copy", "move")),
    *("shutil.copyfile", "shutil.copy2", "shutil.copytree"),
}
"""Functions that write a file or put one in the place of another."""
TO_PATH_OR_STREAM = {"savefig": "stream", "np.savez": "file", "np.savez_compressed": "file"}
"""Functions that write to a path or to what is open, by the name that the latter has here."""
EXCEPTIONS = {
    "files/writing.py": "the one way",
    "ending.py": "a traceback for a report, in the folder of temporary files, under a new name",
    "signals.py": "opens /dev/null",
    "datasets/made_folder.py": "renames a folder of whole files",
    "evaluation/inference/passes.py": "renames a folder of whole files",
    "trials/trial_store.py": "moves what an earlier attempt has left",
    "trials/evaluations/checkpoint_evaluation.py": "puts a folder of its own in place whole, and "
    "keeps the log of a failure",
}


def in_place(path: Path) -> Iterator[str]:
    """Gives the calls of a module that write files without `odapi_repro.files`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        whole = ast.unparse(function)
        name = whole.rpartition(".")[2]
        texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
        modes = [one for one in texts if isinstance(one, str) and set(one) <= set("rwaxbt+")]
        opened = name in ("open", "fdopen", "GFile") and any(
            set(mode) & set("wax+") for mode in modes
        )
        to = next((at for one, at in TO_PATH_OR_STREAM.items() if one in (whole, name)), None)
        saved = to is not None and ast.unparse(node.args[0]) != to
        if opened or saved or name in WRITERS or whole in WRITERS:
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_no_module_but_one_writes_a_file() -> None:
    found = {
        name: calls
        for path in PACKAGE.rglob("*.py")
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith(tuple(EXCEPTIONS))
        and (calls := list(in_place(path)))
    }
    assert not found


def test_every_exception_is_needed() -> None:
    for name in set(EXCEPTIONS) - {"signals.py"}:
        assert list(in_place(PACKAGE / name)) or name == "files/writing.py"


@pytest.mark.parametrize(
    "code",
    [
        "open(path, 'w')",
        "open(path, mode='wb')",
        "path.open('a')",
        "path.write_text('x')",
        "os.replace(a, b)",
        "np.savez(path, a=1)",
        "figure.savefig(path)",
        "tempfile.NamedTemporaryFile()",
    ],
)
def test_each_way_to_write_is_seen(tmp_path: Path, code: str) -> None:
    (tmp_path / "module.py").write_text(code)
    assert list(in_place(tmp_path / "module.py"))


FEW_BYTES = 200


def no_room() -> None:
    """The system's own limit on a file's size: a write beyond it fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, FEW_BYTES))


def run_without_room(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        preexec_fn=no_room, capture_output=True, text=True, check=False,
    )  # fmt: skip


def is_one_message(done: subprocess.CompletedProcess[str], path: Path) -> bool:
    return (
        done.returncode == 2
        and f"{path}: the file would be larger than this process may write" in done.stderr
        and "ulimit -f" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_fix_overwrite_without_room_leaves_the_only_copy(tmp_path: Path) -> None:
    config = tmp_path / "my.config"
    text = (PACKAGE.parent / "pipelines" / "effdet_d3.config").read_text()
    config.write_text(text.replace("batch_size: 128", "batch_size: 2"))
    before = config.read_bytes()
    done = run_without_room("odapi_repro.fix", config, "--output", config, "--overwrite")
    assert is_one_message(done, config), done.stderr
    assert config.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["my.config"]


def test_a_plot_without_room_leaves_the_earlier_one(tmp_path: Path) -> None:
    plot = tmp_path / "rates.svg"
    plot.write_text("the earlier one")
    config = PACKAGE.parent / "pipelines" / "effdet_d3.config"
    done = run_without_room("odapi_repro.diagnose", config, "--plot", plot)
    assert is_one_message(done, plot), done.stderr
    assert plot.read_text() == "the earlier one"
    assert [one.name for one in tmp_path.iterdir()] == ["rates.svg"]


def test_a_label_map_without_room_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "label_map.pbtxt"
    write_label_map(LabelMap({1: "cat"}), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, hard))
    try:
        with pytest.raises(EnvironmentMissing, match="ulimit -f"):
            write_label_map(LabelMap({i: f"class {i}" for i in range(1, 99)}), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
