"""A factor of a field that no quantity of the recipe owns: its class, a line of the registry."""

from __future__ import annotations

import pytest
from fake_trials import EFFICIENTDET, plan_of

from odapi_repro.factors import FACTORS
from odapi_repro.factors.factor import FieldFactor, Level, Setting
from odapi_repro.pipeline import descend, parse_pipeline


class Clipping(FieldFactor):
    """The norm to which gradients are clipped."""

    name = "clipping"
    summary = "norm to which gradients are clipped"
    holds = "everything else is held."
    path = "train_config.gradient_clipping_by_norm"

    def default_levels(self, setting: Setting) -> tuple[Level, ...]:
        return (self.level(10.0), self.level(1.0))

    def parse_level(self, text: str, setting: Setting) -> Level:
        return self.level(float(text))


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FACTORS, Clipping.name, Clipping())


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("scale", ["full", "proxy"])
def test_each_level_is_the_field_of_its_trials_and_nothing_else_moves(scale: str) -> None:
    trials = plan_of("clipping", pipeline=EFFICIENTDET, scale=scale).trials
    pipelines = {one.cell["clipping"]: parse_pipeline(one.pipeline_text, "x") for one in trials}
    assert set(pipelines) == {"0", "10", "1"}, "the reference clips nothing"
    for label, pipeline in pipelines.items():
        assert descend(pipeline.proto, Clipping.path) == float(label)
        pipeline.proto.train_config.ClearField("gradient_clipping_by_norm")
    assert pipelines["10"].proto == pipelines["1"].proto


@pytest.mark.usefixtures("_registered")
def test_it_goes_together_with_factors_of_the_recipe() -> None:
    trials = plan_of("clipping", "batch_size", design="grid").trials
    assert len({one.trial_id for one in trials}) == len(trials) == 9
