"""The rules about finished runs, on histories made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_diagnosis import CONFIG, text_of

from odapi_repro.diagnosis.finding import Finding, Severity
from odapi_repro.diagnosis.finished_run import CheckpointOnDisk, Evaluation, RunHistory
from odapi_repro.diagnosis.outcome import examine, examine_run, subject_of
from odapi_repro.diagnosis.render.diagnosis_json import diagnosis_json
from odapi_repro.diagnosis.rule import RunSubject
from odapi_repro.diagnosis.rules import RULES, run_rules
from odapi_repro.diagnosis.subject import Subject
from odapi_repro.reference import reference_named

STEPS = 300_000


def config(**replaced: str) -> Subject:
    """The reference's config, with texts in it replaced."""
    text = CONFIG
    for old, new in replaced.items():
        text = text.replace(old, new)
    return subject_of(text, "pipeline.config", reference=reference_named("efficientdet_d3"))


def series(at: Callable[[int], float], last: int = STEPS) -> tuple[tuple[int, float], ...]:
    return tuple((step, at(step)) for step in range(last // 100, last + 1, last // 100))


def falling(step: int) -> float:
    return 1.0 / (1.0 + step / 20_000)


def checkpoint(number: int, step: int | None, fault: str = "") -> CheckpointOnDisk:
    prefix = Path("run") / f"ckpt-{number}"
    return CheckpointOnDisk(prefix, number, step, fault, True, 1000, 0.0)


def evaluation(step: int, ap: float, reader: str = "") -> Evaluation:
    return Evaluation(step, {"AP": ap}, {}, {}, reader)


def history(**changes: Any) -> RunHistory:
    """A run that went well: all steps, the config's rates, a loss that fell, the last saved."""
    told: dict[str, Any] = {
        "path": Path("run"),
        "steps_reached": STEPS,
        "learning_rates": series(config().schedule.at),
        "losses": {"total_loss": series(falling), "classification_loss": series(falling)},
        "first_nonfinite_step": None,
        "first_nonfinite_losses": (),
        "steps_per_second": 2.0,
        "evaluations": (evaluation(STEPS // 2, 38.0), evaluation(STEPS, 45.0)),
        "images_evaluated": None,
        "images_evaluated_bounds": None,
        "evaluation_stopped_by": "",
        "checkpoints": (checkpoint(1, 0), checkpoint(300, STEPS)),
        "restarts": 0,
        "config_path": None,
        "damage": (),
    }
    return RunHistory(**told | changes)


def findings(told: RunHistory, subject: Subject | None = None) -> Iterator[Finding]:
    for rule in run_rules.RULES:
        yield from rule.check(RunSubject(told, subject))


def causes(told: RunHistory, subject: Subject | None = None) -> dict[str, Severity]:
    return {one.cause: one.severity for one in findings(told, subject)}


def diverged_from(step: int) -> RunHistory:
    losses = {
        "classification_loss": series(lambda at: falling(at) if at < step else math.nan),
        "localization_loss": series(falling),
        "total_loss": series(lambda at: falling(at) if at < step else math.nan),
    }
    return history(
        losses=losses, first_nonfinite_step=step, first_nonfinite_losses=("classification_loss",)
    )


def test_a_run_that_went_well_has_no_finding_with_its_config_or_without() -> None:
    assert causes(history(), config()) == {}
    assert causes(history()) == {}


def test_a_loss_that_is_nan_is_fatal_and_told_with_its_step_and_rate() -> None:
    (found,) = findings(diverged_from(60_000), config())
    assert (found.cause, found.severity) == ("run_diverged", Severity.FATAL)
    assert "classification_loss is NaN or infinite in the report of step 60,000" in found.found
    assert "the one of step 57,000 was still good" in found.found
    assert "the learning rate was 0.072" in found.found


def test_a_loss_that_explodes_and_stays_up_is_critical() -> None:
    up = {"total_loss": series(lambda step: falling(step) if step < 150_000 else 40.0)}
    assert causes(history(losses=up)) == {"run_diverged": Severity.CRITICAL}


@pytest.mark.parametrize(
    ("restore", "evaluations", "severity"),
    [
        ("classification", (), Severity.WARNING),
        ("full", (), Severity.INFO),
        ("full", (evaluation(STEPS, 0.1),), Severity.CRITICAL),
        ("classification", (evaluation(STEPS, 0.1),), Severity.CRITICAL),
        ("classification", (evaluation(STEPS, 30.0),), None),
    ],
)
def test_a_loss_that_stays_on_its_plateau_is_weighed_by_checkpoint_and_ap(
    restore: str, evaluations: tuple[Evaluation, ...], severity: Severity | None
) -> None:
    flat = {"classification_loss": series(lambda step: 1.1)}
    subject = config(**{'_type: "classification"': f'_type: "{restore}"'})
    assert subject.quantities.checkpoint_restore == restore
    told = causes(history(losses=flat, evaluations=evaluations), subject)
    assert told == ({"loss_plateau": severity} if severity is not None else {})


def test_a_best_checkpoint_that_is_not_the_last_is_told_with_where_it_is() -> None:
    evaluations = (evaluation(100_000, 31.2), evaluation(STEPS, 24.7))
    saved = (checkpoint(100, 100_000), checkpoint(300, STEPS))
    (found,) = findings(history(evaluations=evaluations, checkpoints=saved))
    assert (found.cause, found.severity) == ("best_checkpoint_not_last", Severity.WARNING)
    assert "24.7 at the last step evaluated, 300,000, and 31.2 at step 100,000" in found.found
    assert "still here as ckpt-100" in found.found
    assert found.loss_ap == pytest.approx(6.5)
    (gone,) = findings(history(evaluations=evaluations))
    assert "no longer here" in gone.found


@pytest.mark.parametrize(("last", "severity"), [(44.8, None), (44.0, Severity.INFO)])
def test_noise_between_evaluations_is_no_finding(last: float, severity: Severity | None) -> None:
    evaluations = (evaluation(200_000, 45.0), evaluation(STEPS, last))
    told = causes(history(evaluations=evaluations))
    assert told == ({"best_checkpoint_not_last": severity} if severity is not None else {})


@pytest.mark.parametrize(
    ("reached", "severity"),
    [(122_000, Severity.CRITICAL), (210_000, Severity.WARNING), (298_000, Severity.INFO)],
)
def test_a_run_that_stopped_early_is_weighed_by_what_is_missing(
    reached: int, severity: Severity
) -> None:
    cut = history(
        steps_reached=reached,
        learning_rates=(),
        losses={"total_loss": series(falling, reached)},
        evaluations=(),
        checkpoints=(checkpoint(9, reached),),
    )
    assert causes(cut, config()) == {"run_stopped_early": severity}
    assert causes(cut) == {}


def test_steps_that_no_checkpoint_holds_are_told() -> None:
    saved = (checkpoint(1, 0), checkpoint(2, 200_000))
    (found,) = findings(history(checkpoints=saved), config())
    assert (found.cause, found.severity) == ("last_checkpoint_not_saved", Severity.WARNING)
    assert (
        "step 300,000 was reached and the last whole checkpoint is of step 200,000" in found.found
    )
    assert "100,000 steps" in found.why


def test_an_evaluation_that_an_exception_ended_is_critical() -> None:
    told = history(evaluation_stopped_by="OOM when allocating", images_evaluated_bounds=(1, 100))
    (found,) = findings(told, config())
    assert (found.cause, found.severity) == ("evaluation_incomplete", Severity.CRITICAL)
    assert "after 1 to 100 images by an exception: OOM when allocating" in found.found


@pytest.mark.parametrize(
    ("bounds", "fires"),
    [((101, 200), True), ((4901, 5000), False), ((5000, 5000), False), ((1, None), False)],
)
def test_fewer_images_than_cocos_are_told_where_the_count_is_known(
    bounds: tuple[int, int | None], fires: bool
) -> None:
    subject = config(PATH_TO_BE_CONFIGURED="data")
    told = causes(history(images_evaluated_bounds=bounds), subject)
    assert told == ({"evaluation_incomplete": Severity.WARNING} if fires else {})


def test_rates_that_are_not_the_configs_are_told() -> None:
    rates = series(lambda step: config().schedule.at(step) / 2)
    (found,) = findings(history(learning_rates=rates), config())
    assert (found.cause, found.severity) == ("applied_lr_differs", Severity.WARNING)
    assert "of 100 reports differ" in found.found
    assert causes(history(learning_rates=rates)) == {}


@pytest.mark.parametrize(("broken", "severity"), [(1, Severity.INFO), (300, Severity.WARNING)])
def test_a_broken_checkpoint_is_worse_when_it_is_the_newest(
    broken: int, severity: Severity
) -> None:
    fault = "its data are missing"
    saved = [checkpoint(n, STEPS, fault if n == broken else "") for n in (1, 299, 300)]
    (found,) = findings(history(checkpoints=tuple(saved)))
    assert (found.cause, found.severity) == ("checkpoint_incomplete", severity)
    assert found.found == f"ckpt-{broken} cannot be restored: its data are missing"


def test_restarts_are_for_information() -> None:
    assert causes(history(restarts=2)) == {"run_restarted": Severity.INFO}


def test_an_empty_history_breaks_no_rule() -> None:
    empty = history(
        steps_reached=None, learning_rates=(), losses={}, evaluations=(), checkpoints=()
    )
    assert causes(empty) == {}
    assert causes(empty, config()) == {"run_stopped_early": Severity.CRITICAL}
    assert causes(empty, subject_of("no pipeline", "a.config")) == {}


def test_findings_of_a_run_are_ranked_with_those_of_its_config() -> None:
    of_config = examine(CONFIG.replace("batch_size: 128", "batch_size: 2"), "a.config", rules=RULES)
    told = examine_run(diverged_from(60_000), "run", rules=run_rules.RULES, config=of_config)
    assert told.findings[0].cause == "run_diverged"
    assert told.findings[0].where.startswith("a.config:")
    assert len(told.findings) == len(of_config.findings) + 1
    content = diagnosis_json(told)
    assert content["run"]["first_nonfinite_step"] == 60_000
    assert content["run"]["evaluations"][1]["metrics"] == {"AP": 45.0}


def test_the_gap_to_the_reported_ap_is_told_on_cocos_own_images() -> None:
    for text, told in (
        (CONFIG, "; 31.4 below the reported 45.4"),
        (CONFIG.replace("2017", ""), ""),
    ):
        of_config = examine(text, "a.config", rules=())
        run_of = examine_run(
            history(evaluations=(evaluation(STEPS, 14.0),)), "run", rules=(), config=of_config
        )
        assert f"  AP       14.0 at step 300,000{told}\n" in text_of(run_of)


def test_what_a_config_lets_expect_is_left_out_where_the_run_has_settled_it() -> None:
    text = CONFIG.replace("num_steps: 300000", "num_steps: 300500")
    of_config = examine(text, "a.config", rules=RULES)
    assert "last_checkpoint_not_saved" in {one.cause for one in of_config.findings}
    saved = history(steps_reached=300_500, checkpoints=(checkpoint(1, 300_500),))
    told = examine_run(saved, "run", rules=run_rules.RULES, config=of_config)
    assert "last_checkpoint_not_saved" not in {one.cause for one in told.findings}


def test_a_run_without_a_config_is_told_by_its_files_alone() -> None:
    told = examine_run(diverged_from(60_000), "run", rules=run_rules.RULES)
    content = diagnosis_json(told)
    assert (content["pipeline"], content["reference"], content["quantities"]) == (None, None, {})
    text = text_of(told)
    assert "AP       45.0 at step 300,000" in text
    assert "saved    2 checkpoints, the last of step 300,000" in text


@pytest.mark.parametrize("rule", run_rules.RULES, ids=lambda rule: rule.code)
def test_the_page_of_a_run_rule_has_its_parts(rule: Any) -> None:
    lines = rule.page().splitlines()
    assert lines[0].endswith(".")
    for heading in ("Anti-pattern", "Best practice", "Source"):
        assert heading in lines
    assert rule.code.startswith("RUN")
    assert rule.name.startswith("run.")
