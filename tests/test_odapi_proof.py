"""What the OD API's own tests gave is accounted for, and the page says it as the tables do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from odapi_repro.diagnosis.rules.config.required_parts import TF2_FEATURE_EXTRACTORS

ROOT = Path(__file__).resolve().parent.parent


def _accounts() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "odapi_accounts", ROOT / "tests" / "e2e" / "odapi_accounts.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


accounts = _accounts()


@pytest.mark.parametrize("stack", accounts.STACKS)
def test_each_test_that_does_not_pass_has_one_account(stack: str) -> None:
    for row in accounts.faulty(stack):
        covering = [one for one in accounts.ACCOUNTS if one.covers(row)]
        assert len(covering) == 1, (row, covering)


def test_no_account_is_about_nothing() -> None:
    rows = [row for stack in accounts.STACKS for row in accounts.faulty(stack)]
    for account in accounts.ACCOUNTS:
        assert any(map(account.covers, rows)), account


@pytest.mark.parametrize("stack", accounts.STACKS)
def test_every_module_and_every_feature_extractor_was_tried(stack: str) -> None:
    modules = {row["module"] for row in accounts.rows_of(stack)}
    assert len(modules) == 135
    tried = {
        (row["meta_architecture"], row["feature_extractor"]) for row in accounts.models_of(stack)
    }
    assert tried == {(kind, one) for kind, ones in TF2_FEATURE_EXTRACTORS.items() for one in ones}


def test_the_page_has_the_tables_of_the_proofs() -> None:
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    made = text.split(accounts.BEGIN)[1].split(accounts.END)[0]
    assert made.strip() == accounts.page().strip(), (
        "docs/compatibility.md: put in what python tests/e2e/odapi_accounts.py prints"
    )
