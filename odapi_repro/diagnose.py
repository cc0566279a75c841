"""`python -m odapi_repro.diagnose`: what a config really does, and which deviations hurt."""

from __future__ import annotations

from odapi_repro.startup import loaded

# isort: split
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from odapi_repro.command import Command
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

loaded()


SUMMARY = "what a config or a finished run really does, and which deviations hurt; no TensorFlow"
FORMATS = ("text", "json", "markdown", "sarif")
NEVER = "never"
FAIL_ON = ("fatal", "critical", "warning", "info", NEVER)
# What the protos can hold, and more than anybody has.
_MOST_STEPS = 2**32 - 1
_MOST_IMAGES = 10**12
_MOST_REPLICAS = 10**6

_cli = Command("diagnose", SUMMARY)
FLAGS = _cli.flags
_cli.string(
    "pipeline",
    None,
    "pipeline.config to diagnose (also without the flag, and several); - is standard input",
)
_cli.alias("pipeline_config_path", "pipeline")
_cli.string("reference", None, "what to compare with; the nearest of the catalogue by default")
_cli.enum("format", "text", FORMATS, "how to print it")
_cli.enum("fail_on", NEVER, FAIL_ON, "exit with 1 when a finding is at least this severe")
_cli.count(
    "num_train_steps",
    None,
    "steps of the run where model_main_tf2 is told so: overrides num_steps, not the schedule",
    upper_bound=_MOST_STEPS,
)
_cli.count("train_images", None, "images in the training records", upper_bound=_MOST_IMAGES)
_cli.count("replicas", None, "replicas that share a batch", upper_bound=_MOST_REPLICAS)
_cli.count("checkpoint_every_n", 1000, "as given to model_main_tf2", upper_bound=_MOST_STEPS)
_cli.string(
    "run", None, "model_dir of a training: its losses, rates, evaluations and checkpoints too"
)
_cli.boolean(
    "check_data",
    False,
    "read every record that the config names, too, and rank what is wrong with it among the "
    "findings; `data check` tells more",
)
_cli.string(
    "explain",
    None,
    "a rule's code, its name, a cause, `all` or `quantities`: print the page, and what the rule "
    "found if a config is given",
)
_cli.string(
    "plot", None, "FILE.png or FILE.svg: the learning rate over images seen, beside the reference's"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    return _cli.run(_run, argv)


def _run(positional: list[str], command: str) -> int:
    del command
    configs = [*positional, *([FLAGS.pipeline] if FLAGS.pipeline else [])]
    _check_flags(configs)
    if FLAGS.explain and not configs and not FLAGS.run:
        _explain(FLAGS.explain)
        return EXIT_DONE
    diagnoses = _diagnoses(configs)
    if FLAGS.plot:
        _plot(diagnoses[0], Path(FLAGS.plot))
    if FLAGS.explain and FLAGS.explain not in ("all", "quantities"):
        codes = [rule.code for rule in rules_named(FLAGS.explain)]
        diagnoses = [diagnosis.only(codes) for diagnosis in diagnoses]
    print_diagnoses(diagnoses, FLAGS.format)
    if FLAGS.explain:
        print()
        _explain(FLAGS.explain)
    if FLAGS.fail_on == NEVER:
        return EXIT_DONE
    limit = Severity[FLAGS.fail_on.upper()]
    failed = any(diagnosis.at_or_above(limit) for diagnosis in diagnoses)
    return EXIT_FAILED if failed else EXIT_DONE


def _check_flags(configs: Sequence[str]) -> None:
    """Refuses flags that contradict each other before anything is read."""
    if not configs and not FLAGS.run and not FLAGS.explain:
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
    if FLAGS.explain and FLAGS.format not in ("text", "markdown"):
        raise UserError(
            f"--explain has no {FLAGS.format} form",
            expected="--format text or markdown with it",
            mend="leave --format out",
        )
    alone = [name for name in ("run", "plot", "check_data") if FLAGS[name].value]
    if len(configs) > 1 and alone:
        raise UserError(
            f"{len(configs)} configs were named with --{alone[0]}",
            expected="one config with it",
            mend="call the command once for each",
        )
    if FLAGS.check_data and not configs:
        raise UserError(
            "--check_data without a config",
            expected="a config whose records are to be read",
            mend="name it, or see `odapi-repro data check --help`",
        )
    if FLAGS.plot and not FLAGS.plot.lower().endswith((".png", ".svg")):
        raise UserError(
            f"'{FLAGS.plot}' is no PNG and no SVG",
            expected="--plot FILE.png or --plot FILE.svg",
            mend=f"--plot {FLAGS.plot}.png",
        )


def _diagnoses(configs: list[str]) -> list[Diagnosis]:
    """Reads everything before it diagnoses anything, so that wrong input prints nothing else."""
    history = None
    if FLAGS.run:
        from odapi_repro.diagnosis.finished_run import read_run

        history = read_run(Path(FLAGS.run))
        if not configs and history.config_path is not None:
            configs = [str(history.config_path)]
    reference = reference_named(FLAGS.reference) if FLAGS.reference else None
    circumstances = Circumstances(
        num_train_steps=FLAGS.num_train_steps,
        train_images=FLAGS.train_images,
        num_replicas=FLAGS.replicas,
        checkpoint_every_n=FLAGS.checkpoint_every_n,
    )
    texts = [_named_text(path) for path in configs]
    if FLAGS.check_data:
        return [_with_records(*texts[0], reference, circumstances, history)]
    diagnoses = [
        examine(text, path, rules=RULES, reference=reference, circumstances=circumstances)
        for path, text in texts
    ]
    if history is None:
        return diagnoses
    config = diagnoses[0] if diagnoses else None
    return [_with_run(history, config)]


def _with_run(history: RunHistory, config: Diagnosis | None) -> Diagnosis:
    from odapi_repro.diagnosis.rules import run_rules

    return examine_run(history, FLAGS.run, rules=run_rules.RULES, config=config)


def _with_records(
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
        config = _with_run(history, config)
    unseen = "what augmentation leaves of the boxes: `data check` counts it"
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


def _explain(name: str) -> None:
    from odapi_repro.diagnosis.render import rule_pages
    from odapi_repro.page.terminal_page import print_pages, print_text

    if name == "quantities":
        print_pages([rule_pages.quantities_page()], FLAGS.format)
        return
    rules: Sequence[RuleBase] = all_rules() if name == "all" else rules_named(name)
    if FLAGS.format == "text":
        print_pages([rule_pages.rules_page(rules)], FLAGS.format)
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


if __name__ == "__main__":
    sys.exit(main())
