"""The pages of rules and of quantities, made from their definitions."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from odapi_repro.diagnosis.rule import RuleBase
from odapi_repro.page.blocks import Block, Code, Page, Paragraph, Section, Table, code, marked
from odapi_repro.pipeline import quantity_definitions

SECTIONS = ("Anti-pattern", "Best practice", "Source")


def rules_page(rules: Sequence[RuleBase]) -> Page:
    """Gives the pages of rules for a terminal."""
    return Page("Rules", tuple(map(_rule_section, rules)))


def quantities_page() -> Page:
    """Gives the definitions of all quantities; docs/quantities.md is its Markdown."""
    compared = "What `diagnose` and `diff` compare configs in."
    made = (
        "Made by `python -m odapi_repro.diagnose --explain quantities --format markdown`; edit "
        "`pipeline/quantities.py` instead."
    )
    rows = tuple(
        (code(name), unit, meaning) for name, (unit, meaning) in quantity_definitions().items()
    )
    return Page(
        "Quantities",
        (
            Section("", [Paragraph(marked(text)) for text in (compared, made)], "file"),
            Table(("quantity", "unit", "meaning"), rows, numeric_from=3),
        ),
    )


def rules_markdown(rules: Sequence[RuleBase]) -> str:
    """Gives all pages with a table of causes before them, as docs/rules.md has them."""
    lines = [
        "# Rules of `diagnose`",
        "",
        "Made by `python -m odapi_repro.diagnose --explain all --format markdown`; edit the rules'"
        " docstrings instead.",
        "",
        "| cause | rules |",
        "| --- | --- |",
    ]
    by_cause: dict[str, list[RuleBase]] = {}
    for rule in rules:
        for cause in rule.causes:
            by_cause.setdefault(cause, []).append(rule)
    for cause in sorted(by_cause):
        links = ", ".join(f"[{rule.code}](#{rule.code.lower()})" for rule in by_cause[cause])
        lines.append(f"| `{cause}` | {links} |")
    for rule in rules:
        lines += ["", page_markdown(rule, heading="##")]
    return "\n".join(lines) + "\n"


def page_markdown(rule: RuleBase, heading: str = "") -> str:
    """Gives one rule's page; with a heading that can be linked to where its level is given."""
    lines = []
    if heading:
        causes = ", ".join(f"`{cause}`" for cause in rule.causes)
        named = textwrap.wrap(f"`{rule.name}`: {causes}", 120, break_on_hyphens=False)
        lines += [f"{heading} {rule.code}", "", *named, ""]
    lines += _as_markdown(rule.page().splitlines())
    return "\n".join(lines).rstrip()


def _rule_section(rule: RuleBase) -> Section:
    blocks: list[Block] = [Paragraph(f"causes: {', '.join(rule.causes)}")]
    inside = blocks
    for part in re.split(r"\n\s*\n", rule.page()):
        if part in SECTIONS:
            inside = []
            blocks.append(Section(part, inside))
        else:
            snippet = part.startswith("    ")
            inside.append(Code(textwrap.dedent(part)) if snippet else Paragraph(_line(part)))
    return Section(f"{rule.code}  {rule.name}", blocks)


def _line(text: str) -> str:
    return " ".join(text.split())


def _as_markdown(lines: Iterable[str]) -> list[str]:
    """Headings become bold, indented snippets fenced; blank lines inside a snippet stay in it."""
    made: list[str] = []
    snippet: list[str] = []
    for line in [*lines, "-"]:
        if line.startswith("    ") or (snippet and not line.strip()):
            snippet.append(line)
            continue
        if snippet:
            made += ["```", *_dedented(snippet), "```", ""]
            snippet = []
        if line in SECTIONS:
            made += [f"**{line}**", ""]
        elif line or (made and made[-1]):
            made.append(line)
    return made[:-1]


def _dedented(snippet: list[str]) -> list[str]:
    while not snippet[-1].strip():
        snippet.pop()
    return [line[4:] for line in snippet]
