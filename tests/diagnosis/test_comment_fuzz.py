"""Commented configs, damaged: `fix` keeps every comment, or names it as lost.

200 of them by default; `ODAPI_REPRO_FUZZ=2600 pytest tests/diagnosis/test_comment_fuzz.py` runs as
many as it says. A case is known by its number alone, so that `ODAPI_REPRO_FUZZ_FROM=47
ODAPI_REPRO_FUZZ=1` runs case 47 again.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from odapi_repro import fix
from odapi_repro.reference import reference_named

CASES = int(os.environ.get("ODAPI_REPRO_FUZZ", "200"))
FIRST = int(os.environ.get("ODAPI_REPRO_FUZZ_FROM", "0"))
SEEDS = ("efficientdet_d3", "ssd_mobilenet_v2_320", "faster_rcnn_resnet50_v1_640")
BLOCKS = (
    "my_block {\n  # @ inside\n  x: 1  # @ beside\n  y { # @ deeper\n  }\n}  # @ behind",
    'augment_with: "flips"  # @',
    "batch_size = 7  # @",
    "num_steps 100000  # @",
    "},  # @",
    "{  # @",
    ",  # @",
    "]  # @",
    'label_map_path: "C:\\Users\\me\\x.pbtxt"  # @',
    'input_path: "input_path: "data/x.record""  # @',
    "random_horizontal_flip {}  # @",
    "eval_config {  # @ again\n  batch_size: 1  # @ one\n}  # @ end",
    "train_config { num_steps: 7 }  # @",
    "train_config {\n  optimizer { adam_optimizer { } # @\n  }\n}",
    "<<<<<<< HEAD  # @",
    "batch_size: 3  // @",
    "“batch_size: 3”  # @",
)
COMMENT = re.compile(r"#[^\n]*?(remark \d+(?: \w+)?)(?=\s|$)")


@cache
def seed_lines(name: str) -> tuple[str, ...]:
    text = reference_named(name).config_text().replace("PATH_TO_BE_CONFIGURED", "data")
    return tuple(text.split("\n"))


def damaged(number: int) -> str:
    """A config with remarks on a third of its lines, and blocks, marks and doubles put in."""
    rng = random.Random(number)
    lines = list(seed_lines(rng.choice(SEEDS)))
    lines = [
        f"{line}  # remark {at}" if "#" not in line and rng.random() < 0.3 else line
        for at, line in enumerate(lines)
    ]
    for at in range(rng.choice((1, 1, 2, 4))):
        where = rng.randrange(len(lines))
        sort = rng.randrange(4)
        if sort <= 1:
            lines[where:where] = rng.choice(BLOCKS).replace("@", f"remark {1000 + at}").split("\n")
        elif sort == 2:
            lines[where:where] = lines[where : where + rng.choice((1, 1, 3, 12))]
        elif len(lines) > 20:
            code, mark, comment = lines[where].partition("#")
            lines[where] = code[: rng.randrange(len(code) + 1)] + "  " + mark + comment
    return "\n".join(lines)


def remarks(text: str) -> Counter[str]:
    """The remarks that stand in a comment outside of strings."""
    found: Counter[str] = Counter()
    for line in text.split("\n"):
        code = re.match(r"""(?:[^"'#]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*""", line)
        rest = line[code.end() :] if code is not None else line
        if rest.startswith("#"):
            found.update(COMMENT.findall(rest))
    return found


def test_every_comment_is_in_what_is_written_or_named_as_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "my.config", tmp_path / "out.config"
    named = refused = 0
    for number in range(FIRST, FIRST + CASES):
        text = damaged(number)
        path.write_text(text, encoding="utf-8")
        argv = [str(path), "--output", str(output), "--overwrite", "--format", "json"]
        code = fix.main(argv)
        told = capsys.readouterr()
        if code == 2:
            refused += 1
            continue
        content = json.loads(told.out)
        lost = remarks("\n".join(one["comment"] for one in content["lost_comments"]))
        missing = remarks(text) - remarks(output.read_text(encoding="utf-8"))
        assert not missing - lost, f"case {number}: {missing - lost}"
        named += bool(content["lost_comments"])
    assert refused <= CASES / 10
    # They are kept, but for what is no comment any more.
    assert named <= max(1, CASES / 100)
