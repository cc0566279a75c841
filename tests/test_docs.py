"""What README, docs and results say can be followed: imports, links with anchors, files, flags."""

from __future__ import annotations

import ast
import builtins
import contextlib
import csv
import importlib
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from odapi_repro import __main__ as entry

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", *(f"{room}/**/*.md" for room in ("docs", "results", "benchmarks")))
    for page in REPOSITORY.glob(pattern)
)
FENCE = re.compile(r"^( *)(```+|~~~+) *([\w+-]*)[^\n]*\n(.*?)^\1\2`* *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|(?:src|href)=\"([^\"]+)\"")
MODULE = re.compile(r"python3? -m odapi_repro(?:\.([a-z_]+))?(?:\s+(.*))?$")
PROGRAM = re.compile(r"odapi-repro(?:\s+(.*))?$")
OURS = re.compile(
    r"(?:odapi_repro|tests|benchmarks|docs|results|pipelines|examples)(?:/[\w.-]+)*/[\w-]+\."
    r"(?:py|md|sh|csv|jsonl?|config|yml|png|svg)\b"
)


def named(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


every_page = pytest.mark.parametrize("page", PAGES, ids=named)


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives the headings of a page, and those that it names itself."""
    prose = FENCE.sub("", text_of(page))
    found = set(re.findall(r"<a (?:name|id)=\"([^\"]+)\"", prose))
    seen: Counter[str] = Counter()
    for title in re.findall(r"^#{1,6} +(.*?) *#*$", prose, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def inline_code(page: Path) -> list[str]:
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", FENCE.sub("", text_of(page)))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for _, _, language, body in FENCE.findall(text_of(page)):
        if language in languages:
            yield body


@every_page
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", FENCE.sub("", text_of(page)))
    broken = []
    for target in (first or second for first, second in LINK.findall(prose)):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (
            anchor and (there.suffix != ".md" or anchor not in anchors_of(there))
        ):
            broken.append(target)
    assert broken == []


@every_page
def test_every_import_and_name_of_a_python_example_is_there(page: Path) -> None:
    for example in blocks(page, "python", "py"):
        tree = ast.parse(example)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for one in node.names:
                    importlib.import_module(one.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                for one in node.names:
                    if not hasattr(module, one.name):
                        importlib.import_module(f"{node.module}.{one.name}")
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        known = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                known |= {(one.asname or one.name).split(".")[0] for one in node.names}
            elif isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                known.add(node.name)
        assert {node.id for node in names} - known == set()


@every_page
def test_every_file_of_ours_that_is_named_is_there(page: Path) -> None:
    """What a command prints may name the results that it has just made."""
    shown = [path for block in blocks(page, "") for path in OURS.findall(block)]
    paths = [path for text in inline_code(page) for path in OURS.findall(text)]
    paths += [path for path in shown if not path.startswith("results/")]
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


@cache
def flags_of(command: str) -> frozenset[str]:
    """The flags that a command lists, e.g. of `run` or `data check`."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert entry.main([*command.split(), "--help"]) == 0
    listed = re.findall(r"^  (?:-\w,)?-?-(?:\[no\])?(\w+)", said.getvalue(), re.MULTILINE)
    return frozenset({*listed, "help"})


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Command and flags of everything on a page that calls the tool."""
    lines = [
        line.strip().removeprefix("$ ")
        for block in blocks(page, "", "yaml")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    for line in [*lines, *inline_code(page)]:
        if module := MODULE.search(line):
            words = [*([module[1]] if module[1] else []), *(module[2] or "").split()]
        elif program := PROGRAM.search(line):
            words = (program[1] or "").split()
        else:
            continue
        with contextlib.suppress(ValueError):
            words = shlex.split(" ".join(words), comments=True)
        for stop in ("|", "&&", ";", ">", "&"):
            words = words[: words.index(stop)] if stop in words else words
        if not words or words[0] not in entry.COMMANDS:
            continue
        command = words[0]
        if command == "data":
            if len(words) < 2 or words[1] not in ("check", "convert", "show"):
                continue
            command = f"data {words[1]}"
        flags = [re.match(r"--(\w+)", word) for word in words]
        yield command, [flag[1] for flag in flags if flag]


@every_page
def test_every_flag_of_a_command_that_is_named_exists(page: Path) -> None:
    unknown = {
        f"{command} --{flag}"
        for command, flags in commands(page)
        for flag in flags
        if flag.removeprefix("no") not in flags_of(command) and flag not in flags_of(command)
    }
    assert unknown == set()


HAND_WRITTEN = [page for page in PAGES if page.parent in (REPOSITORY, REPOSITORY / "docs")]


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=named)
def test_prose_is_wrapped_at_120_columns(page: Path) -> None:
    """Outside tables and code; an image with its address is one word."""
    prose = FENCE.sub("", text_of(page)).splitlines()
    assert not [line for line in prose if len(line) > 120 and not line.startswith(("|", "!["))]


def test_the_pages_are_those_that_people_read_and_call_the_tool() -> None:
    pages = {named(page) for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "docs/run.md", "docs/mask_recall.md"} <= pages
    assert sum(len(list(commands(page))) for page in PAGES) > 100


def test_the_tables_of_one_sweep_are_those_of_its_results() -> None:
    """Every row that docs/post_hoc.md takes from the Mask R-CNN sweep is one of effects.csv."""
    table = text_of(REPOSITORY / "docs" / "post_hoc.md").rsplit("| as configured |", 1)[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[1:]]
    folder = REPOSITORY / "results" / "mask_rcnn-mask_recall-proxy"
    with (folder / "effects.csv").open(encoding="utf-8", newline="") as file:
        effects = {
            (row["factor"], row["to"]): row
            for row in csv.DictReader(file)
            if row["metric"] == "mask_AR100"
        }
    assert len(rows) == 14
    factor = ""
    for name, level, *_, difference, interval, verdict in rows:
        factor = re.sub(r"`(\w+)`.*", r"\1", name) or factor
        found = effects[factor, level]
        assert float(difference) == pytest.approx(float(found["delta"]), abs=0.0501)
        low, high = map(float, interval.split(" to "))
        assert (low, high) == pytest.approx((float(found["low"]), float(found["high"])), abs=0.0501)
        assert verdict == found["verdict"]
