"""One kind of result is never written over another, and is named."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from odapi_repro.errors import UserError
from odapi_repro.features.ablate.study_record import STUDY_FILE
from odapi_repro.trials.environment import check_writable
from odapi_repro.trials.record_file import check_no_other_result, check_result_kind

KINDS = {
    "study.json": "a study of factors (run)",
    "sweep.json": "a study of factors without training (run --checkpoint)",
    "sanity.json": "a sanity run (run --sanity)",
    "explanation.json": "an explanation (explain)",
    "evaluation.json": "an evaluation (evaluate)",
}


@pytest.mark.parametrize(("there", "coming"), list(itertools.permutations(KINDS, 2)))
def test_each_kind_is_refused_for_each_other_by_its_name(
    tmp_path: Path, there: str, coming: str
) -> None:
    (tmp_path / there).write_text("{")
    (tmp_path / coming).write_text("{}")
    for check in (check_result_kind, check_no_other_result):
        with pytest.raises(UserError) as refused:
            check(tmp_path, coming)
        assert refused.value.found == f"this folder holds {KINDS[there]}"
        assert refused.value.where == str(tmp_path)


@pytest.mark.parametrize("own", KINDS)
def test_a_folder_of_its_own_or_of_nothing_is_taken(tmp_path: Path, own: str) -> None:
    check_no_other_result(tmp_path, own)
    (tmp_path / "README.md").write_text("# mine")
    check_result_kind(tmp_path, own)
    with pytest.raises(UserError, match=f"holds a README.md without {own}"):
        check_no_other_result(tmp_path, own)
    (tmp_path / own).write_text("{}")
    check_no_other_result(tmp_path, own)


def test_a_file_in_the_place_of_the_results_folder_is_named_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("in the way")
    with pytest.raises(UserError, match="study"):
        STUDY_FILE.write(tmp_path / "study", {})
    with pytest.raises(UserError, match="this is not a folder"):
        check_writable(tmp_path / "study")
