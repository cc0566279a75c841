"""The rules, by group, and the lookup by code, name or cause."""

from __future__ import annotations

from odapi_repro.command import nearest
from odapi_repro.diagnosis.rule import Rule, RuleBase
from odapi_repro.diagnosis.rules import (
    batch_rules,
    checkpoint,
    config,
    data,
    evaluation,
    image,
    model,
    schedule,
)
from odapi_repro.errors import UserError

__all__ = ["RULES", "all_rules", "rules_named"]

RULES: tuple[Rule, ...] = (
    *config.RULES,
    *checkpoint.RULES,
    *data.RULES,
    *schedule.RULES,
    *batch_rules.RULES,
    *image.RULES,
    *model.RULES,
    *evaluation.RULES,
)


def all_rules(*, of_records: bool = True) -> tuple[RuleBase, ...]:
    """Gives the rules about configs, then those about finished runs, then those about records.

    What reads runs and records is imported here: that of records needs numpy.
    """
    from odapi_repro.diagnosis.rules import run_rules

    if not of_records:
        return (*RULES, *run_rules.RULES)
    from odapi_repro.diagnosis.rules import records

    return (*RULES, *run_rules.RULES, *records.RULES)


def rules_named(name: str) -> tuple[RuleBase, ...]:
    """Gives the rules with this code, dotted name or cause, of configs, runs and records.

    Raises:
        UserError: none has it; names the nearest.
    """
    wanted = name.strip()
    for rule in all_rules(of_records=False):
        if wanted.upper() == rule.code or wanted == rule.name:
            return (rule,)
    rules = all_rules()
    found = tuple(
        rule
        for rule in rules
        if wanted.upper() == rule.code or wanted == rule.name or wanted in rule.causes
    )
    if found:
        return found
    known = [word for rule in rules for word in (rule.code, rule.name, *rule.causes)]
    raise UserError(
        f"no rule '{name}'",
        expected="a rule's code (LR001), its name or a cause",
        mend=f"{nearest(name, known)}docs/rules.md lists them",
    )
