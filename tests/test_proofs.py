"""Every proof of the Makefile has its last output, which says of what revision it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "proofs"
SCRIPT = ROOT / "tests" / "e2e" / "proof.py"
HEAD = re.compile(
    r"command: (?P<command>.+)\nrevision: (?P<revision>[0-9a-f]{12}|no git)(, with changes)?\n"
    r"date: \d{4}-\d\d-\d\d\nseconds: \d+\nprocessor: .+, \d+ cores\nexit code: (?P<code>-?\d+)\n\n"
)
MAKEFILE = (ROOT / "Makefile").read_text()
RULES = re.findall(r"^proof-(\w+):.*\n\t\$\(PROOF\) (\w+) --", MAKEFILE, re.M)


def test_a_proof_is_named_as_its_target() -> None:
    targets = re.findall(r"^proof-(\w+):", MAKEFILE, re.M)
    assert [target for target, _ in RULES] == [name for _, name in RULES]
    assert {*targets} - {name for _, name in RULES} == {"odapi"}, "whose tables are kept instead"


@pytest.mark.parametrize("name", [name for _, name in RULES])
def test_each_proof_holds_and_its_last_output_is_kept(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    head = HEAD.match(text)
    assert head is not None, text[:400]
    assert head["code"] == "0"
    assert len(text) > head.end(), "nothing was printed"
    assert not re.search(r"/(home|root|work|tmp)/", text)


def test_a_proof_that_fails_leaves_its_failure_and_exits_with_its_code(tmp_path: Path) -> None:
    script = SCRIPT.read_text().replace("parents[2]", f"parents[0] / {str(tmp_path)!r}")
    copy = tmp_path / "proof.py"
    copy.write_text(script)
    code = f"import sys; print('in', {str(tmp_path)!r}); sys.exit('it broke')"
    done = subprocess.run(
        [sys.executable, str(copy), "broken", "--", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    kept = (tmp_path / "benchmarks" / "proofs" / "broken.txt").read_text()
    assert done.returncode == 1
    assert "exit code: 1\n\nin .\nit broke\n" in kept
    assert "in " in done.stdout
