"""Ten thousand damaged configs: each gives findings or one clear error, in bounded time and memory.

150 of them by default; `ODAPI_REPRO_FUZZ=10000 pytest tests/diagnosis/test_fuzz.py` runs as many
as it says, some 30 a second. A case is known by its number alone, so that
`ODAPI_REPRO_FUZZ_FROM=4711 ODAPI_REPRO_FUZZ=1` runs case 4711 again.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from fake_diagnosis import markdown_of, text_of
from google.protobuf import text_format

from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.outcome import examine
from odapi_repro.diagnosis.render.diagnosis_json import render_json, render_sarif
from odapi_repro.diagnosis.rules import RULES
from odapi_repro.errors import UserError
from odapi_repro.pipeline import Circumstances, flatten_fields, parse_pipeline, set_field
from odapi_repro.pipeline.parse import read_config_file
from odapi_repro.reference import REFERENCES, reference_named

CASES = int(os.environ.get("ODAPI_REPRO_FUZZ", "150"))
FIRST = int(os.environ.get("ODAPI_REPRO_FUZZ_FROM", "0"))
# A case takes 0.03 s; broken texts are given up after about a second of mending.
MOST_SECONDS = 10.0
MOST_KIB = 400 * 1024
SEEDS = (
    "efficientdet_d0",
    "efficientdet_d7",
    "ssd_mobilenet_v2_320",
    "ssd_resnet50_v1_fpn_640",
    "faster_rcnn_resnet50_v1_640",
    "mask_rcnn_inception_resnet_v2",
    "centernet_hourglass104_512",
    "centernet_resnet50_v1_fpn_512_kpts",
)
BITS = (
    "{", "}", "<", ">", "[", "]", ":", ",", ";", '"', "'", "\\", "#", "-", "\n", "\t", "\0", "\xff",
    "é", "1e999", "-1", "nan", "inf", "0", "0x", "9" * 30, "true", "V1", "\\x", "[a.b/c]", "{" * 50,
    "}" * 50, "model {", "train_config {", 'input_path: "a"', "C:\\data\\new",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 3, 7, 100, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, 0.0, -0.0, 1e-45, 1e-8, 0.5,
    1e38, -1e38, float("inf"), -float("inf"), float("nan"),
)  # fmt: skip
STRINGS = (
    "", "x", "/", "data/x-00000-of-00100", "x-?????-of-99999", "x-00000-of-00000", "a*", "[", "~",
    "gs://b/c", "C:\\a\\b", "é" * 300, "x" * 5000, "\x1b[2J", "coco_detection_metrics",
    "classification", "detection", "model/ckpt-0.index", "{}", "%s", "../" * 50, "\n",
)  # fmt: skip


@cache
def seed_text(name: str) -> str:
    return reference_named(name).config_text().replace("PATH_TO_BE_CONFIGURED", "data")


def damage_bytes(text: str, rng: random.Random) -> bytes:
    """Bytes changed, cut out, doubled or put in."""
    data = bytearray(text.encode())
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(data) + 1), rng.choice((0, 1, 1, 4, 40, 400))
        sort = rng.randrange(4)
        if sort == 0:
            data[at : at + length] = rng.choice(BITS).encode("utf-8", "surrogateescape")
        elif sort == 1:
            data[at : at + length] = bytes(rng.randrange(256) for _ in range(rng.randrange(4)))
        elif sort == 2:
            data[at:at] = data[at : at + length] * rng.choice((1, 3))
        else:
            del data[at : at + length]
    return bytes(data)


def damage_lines(text: str, rng: random.Random) -> bytes:
    """Lines dropped, doubled, moved, or changed in one word."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 2, 5, 20))):
        at = rng.randrange(len(lines))
        sort = rng.randrange(4)
        if sort == 0 and len(lines) > 2:
            del lines[at]
        elif sort == 1:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif sort == 2:
            word = rng.choice(("x", "-1", "1e9", "ssd", ""))
            lines[at] = re.sub(r"[\w.]+", word, lines[at], count=1)
        else:
            lines[at] = lines[at].split(": ")[0] + ": " + rng.choice(BITS)
    return "\n".join(lines).encode()


def damage_values(text: str, rng: random.Random) -> bytes:
    """A config that parses, with values that nobody would write."""
    pipeline = parse_pipeline(text)
    paths = list(flatten_fields(pipeline.proto))
    proto = pipeline.edited(lambda _: None).proto
    for _ in range(rng.choice((1, 2, 4, 12))):
        path = rng.choice(paths)
        value = rng.choice((None, *STRINGS, *NUMBERS, *NUMBERS, True, False))
        if value is None and rng.random() < 0.5:
            path = path.rsplit(".", rng.randrange(1, 4))[0]
        try:
            set_field(proto, path, value)
        except (ValueError, TypeError, KeyError, IndexError):
            continue
    return str(text_format.MessageToString(proto, as_utf8=True)).encode()


def truncate(text: str, rng: random.Random) -> bytes:
    """The beginning, the end, or a piece."""
    data = text.encode()
    one, other = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return rng.choice((data[:other], data[one:], data[one:other]))


def mix(text: str, rng: random.Random) -> bytes:
    """The beginning of one config with the end of another."""
    other = seed_text(rng.choice(SEEDS))
    return (text[: rng.randrange(len(text))] + other[rng.randrange(len(other)) :]).encode()


DAMAGES: tuple[Callable[[str, random.Random], bytes], ...] = (
    damage_bytes,
    damage_lines,
    damage_values,
    damage_values,
    truncate,
    mix,
)


def case(number: int) -> tuple[bytes, random.Random]:
    rng = random.Random(number)
    return rng.choice(DAMAGES)(seed_text(rng.choice(SEEDS)), rng), rng


def check(data: bytes, path: Path, rng: random.Random) -> str:
    """Diagnoses one damaged config; gives `refused`, `clean` or the worst severity."""
    path.write_bytes(data)
    try:
        text = read_config_file(path, lenient=True)
    except UserError as error:
        return "refused" if str(error).startswith(str(path)) else "an error without a place"
    reference = None if rng.random() < 0.5 else REFERENCES[rng.choice(sorted(REFERENCES))]
    known = Circumstances(
        num_train_steps=rng.choice((None, 1, 2**32 - 1)),
        train_images=rng.choice((None, 1, 10**12)),
        num_replicas=rng.choice((None, 1, 3, 10**6)),
    )
    told = examine(text, str(path), rules=RULES, reference=reference, circumstances=known)
    content = json.loads(render_json([told]), parse_constant=lambda constant: 1 / 0)
    assert content["schema"] == 1
    form = rng.randrange(3)
    if form == 0:
        assert text_of(told).isprintable() or "\n" in text_of(told)
    elif form == 1:
        assert markdown_of(told).startswith("# ")
    else:
        assert json.loads(render_sarif([told], RULES))["version"] == "2.1.0"
    assert all(one.found and one.expected and one.why for one in told.findings)
    return told.findings[0].severity.word if told.findings else "clean"


def test_damaged_configs_give_findings_or_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.config"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: dict[str, int] = {}
    for number in range(FIRST, FIRST + CASES):
        data, rng = case(number)
        begun = time.process_time()
        try:
            outcome = check(data, path, rng)
        except Exception as error:
            error.add_note(f"case {number}: ODAPI_REPRO_FUZZ_FROM={number} ODAPI_REPRO_FUZZ=1")
            raise
        seconds = time.process_time() - begun
        assert seconds < MOST_SECONDS, f"case {number} took {seconds:.1f} s"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST_KIB, f"{grown} KiB more memory"
    if CASES >= 500:
        # The damage is neither all too small to see nor all too large to read.
        assert outcomes[Severity.FATAL.word] > CASES / 10
        assert outcomes["refused"] < CASES / 4
        assert "an error without a place" not in outcomes
