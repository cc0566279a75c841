"""`diagnose`: from the flags to the diagnoses of configs, of a finished run, of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odapi_repro.diagnosis.finding import Severity
from odapi_repro.diagnosis.outcome import Diagnosis, examine, examine_run
from odapi_repro.diagnosis.render.diagnosis_page import print_diagnoses
from odapi_repro.diagnosis.rule import RuleBase
from odapi_repro.diagnosis.rules import RULES, all_rules, rules_named
from odapi_repro.ending import EXIT_DONE, EXIT_FAILED
from odapi_repro.errors import UserError
from odapi_repro.pipeline import Circumstances
from odapi_repro.pipeline.parse import STDIN, read_config_argument
from odapi_repro.reference import Reference, reference_named

if TYPE_CHECKING:
    from odapi_repro.diagnosis.finished_run import RunHistory


NEVER = "never"


def diagnose_configs(flags: Any, positional: list[str], command: str) -> int:
    """Does what the flags ask for, and gives the exit code."""
    del command
    configs = [*positional, *([flags.pipeline] if flags.pipeline else [])]
    _check_flags(flags, configs)
    if flags.explain and not configs and not flags.run:
        _explain(flags, flags.explain)
        return EXIT_DONE
    diagnoses = _diagnoses(flags, configs)
    if flags.plot:
        _plot(diagnoses[0], Path(flags.plot))
    if flags.explain and flags.explain not in ("all", "quantities"):
        codes = [rule.code for rule in rules_named(flags.explain)]
        diagnoses = [diagnosis.only(codes) for diagnosis in diagnoses]
    print_diagnoses(diagnoses, flags.format)
    if flags.explain:
        print()
        _explain(flags, flags.explain)
    if flags.fail_on == NEVER:
        return EXIT_DONE
    limit = Severity[flags.fail_on.upper()]
    failed = any(diagnosis.at_or_above(limit) for diagnosis in diagnoses)
    return EXIT_FAILED if failed else EXIT_DONE


def _check_flags(flags: Any, configs: Sequence[str]) -> None:
    """Refuses flags that contradict each other before anything is read."""
    if not configs and not flags.run and not flags.explain:
        raise UserError(
            "no config was named",
            expected="one or more pipeline.config files, or --run with a training folder",
            mend="python -m odapi_repro.diagnose my.config --reference efficientdet_d3",
        )
    if configs.count(STDIN) > 1:
        raise UserError(
            f"standard input is named {configs.count(STDIN)} times",
            expected="- once: it can be read once",
            mend="name files beside it",
        )
    if flags.explain and flags.format not in ("text", "markdown"):
        raise UserError(
            f"--explain has no {flags.format} form",
            expected="--format text or markdown with it",
            mend="leave --format out",
        )
    alone = [name for name in ("run", "plot", "check_data") if flags[name].value]
    if len(configs) > 1 and alone:
        raise UserError(
            f"{len(configs)} configs were named with --{alone[0]}",
            expected="one config with it",
            mend="call the command once for each",
        )
    if flags.check_data and not configs:
        raise UserError(
            "--check_data without a config",
            expected="a config whose records are to be read",
            mend="name it, or see `odapi-repro data check --help`",
        )
    if flags.plot and not flags.plot.lower().endswith((".png", ".svg")):
        raise UserError(
            f"'{flags.plot}' is neither a PNG nor an SVG",
            expected="--plot FILE.png or --plot FILE.svg",
            mend=f"--plot {flags.plot}.png",
        )


def _diagnoses(flags: Any, configs: list[str]) -> list[Diagnosis]:
    """Reads everything before it diagnoses anything, so that wrong input prints nothing else."""
    history = None
    if flags.run:
        from odapi_repro.diagnosis.finished_run import read_run

        history = read_run(Path(flags.run))
        if not configs and history.config_path is not None:
            configs = [str(history.config_path)]
    reference = reference_named(flags.reference) if flags.reference else None
    circumstances = Circumstances(
        num_train_steps=flags.num_train_steps,
        train_images=flags.train_images,
        num_replicas=flags.replicas,
        checkpoint_every_n=flags.checkpoint_every_n,
    )
    texts = [_named_text(path) for path in configs]
    if flags.check_data:
        return [_with_records(flags, *texts[0], reference, circumstances, history)]
    diagnoses = [
        examine(text, path, rules=RULES, reference=reference, circumstances=circumstances)
        for path, text in texts
    ]
    if history is None:
        return diagnoses
    config = diagnoses[0] if diagnoses else None
    return [_with_run(flags, history, config)]


def _with_run(flags: Any, history: RunHistory, config: Diagnosis | None) -> Diagnosis:
    from odapi_repro.diagnosis.rules import run_rules

    return examine_run(history, flags.run, rules=run_rules.RULES, config=config)


def _with_records(
    flags: Any,
    path: str,
    text: str,
    reference: Reference | None,
    circumstances: Circumstances,
    history: RunHistory | None,
) -> Diagnosis:
    """Reads the records first: the diagnosis of the config then knows how many images there are."""
    from odapi_repro.datasets.source import DataFlags
    from odapi_repro.datasets.workers.worker_pool import available_cores
    from odapi_repro.diagnosis.checked_data import check_data
    from odapi_repro.diagnosis.outcome import examine_records, subject_of
    from odapi_repro.diagnosis.rules import records

    subject = subject_of(text, path, reference=reference, circumstances=circumstances)
    checked = check_data(DataFlags(), subject, annotations={}, workers=available_cores())
    train = checked.subject.census.split("train")
    if train is not None and circumstances.train_images is None and train.records:
        circumstances = replace(circumstances, train_images=train.records)
    config = examine(text, path, rules=RULES, reference=reference, circumstances=circumstances)
    if history is not None:
        config = _with_run(flags, history, config)
    unseen = "what augmentation leaves of the boxes (`data check` counts it)"
    facts = replace(checked.facts, not_looked_at=(*checked.facts.not_looked_at, unseen))
    return examine_records(checked.subject, facts, rules=records.RULES, config=config)


def _named_text(named: str) -> tuple[str, str]:
    """Gives a config's name for messages, and its text."""
    path, text = read_config_argument(named, lenient=True)
    if not text.strip():
        raise UserError(
            "the file is empty",
            expected="a TrainEvalPipelineConfig in protobuf's text format",
            mend="start from one of the files in pipelines/",
            where=path,
        )
    return path, text


def _explain(flags: Any, name: str) -> None:
    from odapi_repro.diagnosis.render import rule_pages
    from odapi_repro.page.terminal_page import print_pages, print_text

    if name == "quantities":
        print_pages([rule_pages.quantities_page()], flags.format)
        return
    rules: Sequence[RuleBase] = all_rules() if name == "all" else rules_named(name)
    if flags.format == "text":
        print_pages([rule_pages.rules_page(rules)], flags.format)
    elif name == "all":
        print_text(rule_pages.rules_markdown(rules))
    else:
        pages = [rule_pages.page_markdown(rule, heading="##") for rule in rules]
        print_text("\n\n".join(pages) + "\n")


def _plot(diagnosis: Diagnosis, path: Path) -> None:
    from odapi_repro.diagnosis.render.schedule_plot import write_schedule_plot

    if diagnosis.subject is None:
        raise UserError(
            "there is no config to plot the schedule of",
            expected="a config, named or in the training folder",
            mend="name it beside --run",
        )
    write_schedule_plot(diagnosis.subject, diagnosis.history, path)
