"""The pages of rules and of quantities, made from their definitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from odapi_repro.diagnosis.render.markdown import escaped
from odapi_repro.diagnosis.rule import RuleBase
from odapi_repro.pipeline import quantity_definitions

__all__ = [
    "SECTIONS",
    "page_markdown",
    "quantities_markdown",
    "quantities_text",
    "rules_markdown",
    "rules_text",
]

SECTIONS = ("Anti-pattern", "Best practice", "Source")


def rules_text(rules: Sequence[RuleBase]) -> str:
    """Gives the pages of rules for a terminal."""
    return (
        "\n\n".join(
            f"{rule.code}  {rule.name}\ncauses: {', '.join(rule.causes)}\n\n{_plain_page(rule)}"
            for rule in rules
        )
        + "\n"
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
        lines += [f"{heading} {rule.code}", "", f"`{rule.name}`: {causes}", ""]
    lines += _as_markdown(rule.page().splitlines())
    return "\n".join(lines).rstrip()


def _plain_page(rule: RuleBase) -> str:
    return "\n".join(f"    {line}".rstrip() for line in rule.page().splitlines())


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


def quantities_text() -> str:
    """Gives the definitions of all quantities for a terminal."""
    return "".join(
        f"{name} ({unit}): {meaning}\n" if unit != "1" else f"{name}: {meaning}\n"
        for name, (unit, meaning) in quantity_definitions().items()
    )


def quantities_markdown() -> str:
    """Gives the definitions of all quantities, as docs/quantities.md has them."""
    lines = [
        "# Quantities",
        "",
        "What `diagnose` and `diff` compare configs in. Made by `python -m odapi_repro.diagnose"
        " --explain quantities --format markdown`; edit `pipeline/quantities.py` instead.",
        "",
        "| quantity | unit | meaning |",
        "| --- | --- | --- |",
        *(
            f"| `{name}` | {unit} | {escaped(meaning)} |"
            for name, (unit, meaning) in quantity_definitions().items()
        ),
    ]
    return "\n".join(lines) + "\n"
