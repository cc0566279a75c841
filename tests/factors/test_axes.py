"""Which cells a study trains."""

from __future__ import annotations

import pytest
from fake_trials import MASK_RCNN
from fake_trials import plan_of as plan_at

from odapi_repro.features.ablate.study_plan import Plan


def plan_of(*factors: str, **changes: object) -> Plan:
    """At full scale, where the reference's batch is 128."""
    return plan_at(*factors, scale="full", **changes)


def cells(plan: Plan) -> list[dict[str, str]]:
    return [dict(trial.cell) for trial in plan.trials if trial.spec.seed == 1]


def test_one_at_a_time_shares_the_reference_cell() -> None:
    plan = plan_of("batch_size", "augmentation")
    reference = {"batch_size": "128", "augmentation": "reference"}
    found = cells(plan)
    assert found[0] == reference
    assert found.count(reference) == 1
    assert len(found) == 1 + 2 + 2
    for cell in found[1:]:
        assert sum(cell[name] != reference[name] for name in cell) == 1


def test_a_grid_is_every_combination() -> None:
    plan = plan_of("batch_size", "augmentation", design="grid")
    found = {tuple(cell.values()) for cell in cells(plan)}
    batches, options = (set(axis.levels) for axis in plan.axes)
    assert found == {(batch, option) for batch in batches for option in options}


def test_every_cell_has_every_seed_and_a_round_of_seeds_is_a_whole_study() -> None:
    plan = plan_of("batch_size", seeds=3)
    assert [trial.spec.seed for trial in plan.trials] == [1] * 3 + [2] * 3 + [3] * 3
    assert len({trial.trial_id for trial in plan.trials}) == 9


def test_at_says_where_a_factor_stands_and_the_reference_cell_stays() -> None:
    plan = plan_of("augmentation", at={"batch_size": "1/4"})
    found = cells(plan)
    assert found[0] == {"augmentation": "reference", "batch_size": "128"}
    assert {cell["batch_size"] for cell in found[1:]} == {"32"}
    assert {cell["augmentation"] for cell in found[1:]} == {"reference", "none", "flip"}


def test_at_goes_before_a_factors_own_default() -> None:
    plan = plan_of("lr_scaling", at={"batch_size": "8"})
    assert {trial.global_batch_size for trial in plan.trials} == {128, 8}


def test_a_study_of_both_holds_lr_scaling_at_its_own_smallest_batch() -> None:
    plan = plan_of("batch_size", "lr_scaling", levels={"batch_size": ["32", "8"]})
    by_name = {axis.name: axis for axis in plan.axes}
    assert by_name["lr_scaling"].at["batch_size"] == "8"
    assert by_name["batch_size"].at == {}


def test_the_reference_is_added_to_levels_that_leave_it_out_and_counted_once() -> None:
    (axis,) = plan_of("batch_size", levels={"batch_size": ["2", "128", "2", "1x"]}).axes
    assert axis.levels == ("128", "2")


def test_cells_that_come_to_the_same_training_run_once_under_the_reference_rule() -> None:
    # At the reference's batch all learning-rate rules are one.
    plan = plan_of("batch_size", "lr_scaling", design="grid")
    ids = [trial.trial_id for trial in plan.trials]
    assert len(set(ids)) == len(ids) == 1 + 2 * 3
    assert {"batch_size": "128", "lr_scaling": "none"} in cells(plan)
    flip = plan_of("augmentation", pipeline=MASK_RCNN, levels={"augmentation": ["flip"]})
    assert cells(flip) == [{"augmentation": "reference"}]


@pytest.mark.parametrize("design", ["one_at_a_time", "grid"])
def test_a_factor_that_is_varied_in_a_grid_is_held_nowhere(design: str) -> None:
    plan = plan_of("lr_scaling", "batch_size", design=design)
    held = [name for name in plan.foundation if name.startswith("held.")]
    assert held == ([] if design == "grid" else ["held.lr_scaling.batch_size"])
