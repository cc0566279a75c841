"""The gap in four parts: each known where it is, unknown where it is not, and their sum checked."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from odapi_repro.analysis.attribution import GapPart, GapParts, KnownNumber, gap_parts

REFERENCE, USER = (44.6, 44.9, 44.1), (15.3, 14.1, 14.7)


def trained(values, *, full_scale: bool = True) -> KnownNumber:
    return KnownNumber.of_replicates(values, full_scale=full_scale)


def test_all_five_numbers_give_four_parts_that_sum_to_the_gap() -> None:
    found = gap_parts(
        reported=45.4,
        checkpoint=KnownNumber(45.2),
        reference=trained(REFERENCE),
        user=trained(USER),
        claimed=14.0,
    )
    values = [part.value for part in found.parts]
    assert values == pytest.approx([0.2, 45.2 - 133.6 / 3, 133.6 / 3 - 14.7, 0.7])
    assert (found.total, found.explained, found.remainder) == pytest.approx((31.4, 31.4, 0))


def test_the_config_part_has_welchs_interval_and_a_number_of_one_training_has_none() -> None:
    found = gap_parts(reference=trained(REFERENCE), user=trained(USER)).part("config")
    theirs = stats.ttest_ind(REFERENCE, USER, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    single = gap_parts(reference=trained(REFERENCE), user=trained((14.0,))).part("config")
    assert single.value == pytest.approx(133.6 / 3 - 14)
    assert single.se is single.low is single.high is None


def test_evaluation_of_a_published_checkpoint_has_no_noise_of_training() -> None:
    part = gap_parts(reported=45.4, checkpoint=KnownNumber(44.9)).part("evaluation")
    assert (part.value, part.se) == (pytest.approx(0.5), 0.0)
    assert part.low == part.high == part.value


def test_what_is_not_known_is_called_unknown_with_the_number_that_is_missing() -> None:
    found = gap_parts(reported=45.4, reference=trained(REFERENCE), user=trained(USER), claimed=14)
    assert [part.value is None for part in found.parts] == [True, True, False, False]
    evaluation = found.part("evaluation")
    assert evaluation.unknown == "not known: our evaluation of the published checkpoint"
    # Together they are known all the same, as the whole gap is.
    assert found.total == pytest.approx(31.4)
    assert found.remainder == pytest.approx(45.4 - 133.6 / 3)


def test_a_proxy_is_not_compared_with_published_numbers() -> None:
    found = gap_parts(
        reported=45.4,
        checkpoint=KnownNumber(45.2),
        reference=trained((25.0, 25.4), full_scale=False),
        user=trained((9.0, 9.3), full_scale=False),
        claimed=14.0,
    )
    known = {part.name: part.value for part in found.parts if part.value is not None}
    assert known == {"evaluation": pytest.approx(0.2), "config": pytest.approx(16.05)}
    assert "another scale" in found.part("environment").unknown
    # What the proxy tells is shown at its own scale, and is no part of the published gap.
    assert not found.part("config").full_scale
    assert (found.explained, found.remainder) == (pytest.approx(0.2), pytest.approx(31.2))


def test_without_the_users_number_there_is_no_total() -> None:
    found = gap_parts(reported=45.4, checkpoint=KnownNumber(45.2))
    assert (found.total, found.remainder) == (None, None)
    assert found.explained == pytest.approx(0.2)


def test_parts_that_do_not_sum_are_refused() -> None:
    part = GapPart("evaluation", 1.0)
    unknown = GapPart("environment", None, unknown="not known")
    with pytest.raises(ValueError, match="the parts sum to 1"):
        GapParts((part, unknown), total=None, explained=2.0, remainder=None)


def test_a_single_diverged_training_of_the_user_counts_for_0() -> None:
    part = gap_parts(reference=trained(REFERENCE), user=trained((0.0,))).part("config")
    assert part.value == pytest.approx(133.6 / 3)
    assert not math.isnan(part.value or math.nan)
