"""A few of the mutations of tests/e2e/mutate_json.py; by hand it does thousands."""

from __future__ import annotations

import mutate_json
import pytest

CASES = 40  # of each of the four


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> mutate_json.Workplace:
    return mutate_json.made_workplace(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize("target", mutate_json.TARGETS)
def test_mutated_json_ends_in_a_result_or_in_one_message(
    target: str, workplace: mutate_json.Workplace
) -> None:
    found = [mutate_json.case(target, number, 7, workplace) for number in range(CASES)]
    assert [why for why, _ in found if why] == []
    codes = {said.splitlines()[0] for _, said in found}
    assert codes >= {"exit code 0", "exit code 2"}, (
        "mutations that are harmless, and some that are not"
    )
