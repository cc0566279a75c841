"""A runs folder that something has damaged: no traceback, and no table that changed unsaid.

By hand, about two seconds a damage: `python tests/e2e/corrupt_runs.py [DAMAGES [SEED]]`. A study
and an explanation of trials that a fake worker runs are made once. Then, again and again, one file
of theirs is damaged at random, both commands are given again, and what they do is judged: exit code
0 with the same table, or with the damage said in the table or on stderr; or exit code 2 and one
message that names the file.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(REPOSITORY), str(HERE.parent / "support")]

import pandas as pd  # noqa: E402
from fake_trials import EFFICIENTDET, FAKE_WORKER, small_records  # noqa: E402

from odapi_repro import explain, run  # noqa: E402
from odapi_repro.features.ablate import study_plots as plots  # noqa: E402
from odapi_repro.trials import session  # noqa: E402

TIMES = {"wall_seconds", "train_seconds", "eval_seconds", "images_per_second"}
SKIPPED = {".lock", "train.log"}  # nobody reads them


def commands(folder: Path) -> dict[str, Callable[[], int]]:
    """The two commands on a folder, without TensorFlow and without figures."""
    made = small_records()
    shared = [
        f"--train_records={made.train_pattern}",
        f"--eval_records={made.val_pattern}",
        f"--label_map={made.label_map_path}",
        f"--runs_dir={folder / 'runs'}",
        f"--results_dir={folder / 'results'}",
        "--scale=proxy",
    ]
    case = REPOSITORY / "examples" / "issue_10530.config"
    study = [f"--pipeline={EFFICIENTDET}", "--ablate=batch_size", "--levels=1/2", "--name=study"]
    explanation = [f"--pipeline={case}", "--reference=efficientdet_d3", "--name=explained"]
    explanation += ["--design=both_ends", "--seeds=1", "--hold=train_shards,learning_rate"]
    return {
        "study": functools.partial(run.main, [*study, "--seeds=2", *shared]),
        "explained": functools.partial(explain.main, [*explanation, *shared]),
    }


def without_figures() -> None:
    """Replaces what takes long and is not what this is about."""
    from odapi_repro.features.explain.report import explanation_figures

    plots.render_plots = lambda report: {}
    explanation_figures.render_figures = lambda report: {}
    session.LocalExecutor = functools.partial(session.LocalExecutor, worker=FAKE_WORKER)
    session.check_worker_environment = lambda *_: None


def table(folder: Path, name: str) -> pd.DataFrame:
    rows = pd.read_csv(folder / "results" / name / "trials.csv")
    return rows.drop(columns=[one for one in rows.columns if one in TIMES])


def _cut(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) or 1)])


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"x")
    content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


def _written(*texts: bytes) -> Callable[[Path, random.Random], None]:
    return lambda path, rng: path.write_bytes(rng.choice(texts)) and None


def _edited(path: Path, rng: random.Random) -> None:
    """Changes one value of a JSON file, adds one or takes one away."""
    try:
        value = json.loads(path.read_text())
    except ValueError:
        return _cut(path, rng)
    place = value
    while isinstance(place, dict) and place:
        key = rng.choice(sorted(place))
        if isinstance(place[key], dict) and place[key] and rng.random() < 0.7:
            place = place[key]
            continue
        action = rng.randrange(3)
        if action == 0:
            del place[key]
        elif action == 1:
            place["another"] = 1
        else:
            odd = (None, [], {}, "text", -1, 1e308, 2**70, True, float("nan"), [[1]], "\x1b[2J")
            place[key] = rng.choice(odd)
        break
    path.write_text(json.dumps(value))
    return None


def _gone(path: Path, _: random.Random) -> None:
    path.unlink()


def _replaced(path: Path, rng: random.Random) -> None:
    path.unlink()
    kind = rng.randrange(5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.symlink_to(path)
    elif kind == 2:
        path.symlink_to("nowhere")
    elif kind == 3:
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")


def _folder(path: Path, rng: random.Random) -> None:
    """Puts something else where the trial's folder was."""
    folder = path.parent
    aside = folder.with_name("moved")
    folder.rename(aside)
    kind = rng.randrange(4)
    if kind == 0:
        folder.symlink_to(aside)
    elif kind == 1:
        folder.symlink_to(folder)
    elif kind == 2:
        folder.write_text("a file")
    # else: it is gone


DAMAGES = (
    *(_cut, _flip, _flip, _edited, _edited, _edited, _gone, _replaced, _folder),
    _written(b"", b"[]", b"null", b"7", b'"text"', b"{}", b'{"version": 1}'),
    _written(b"\xff\xfe\x00", b"[" * 100_000, b'{"version": ' + b"9" * 5000 + b"}"),
)


def damage(folder: Path, rng: random.Random) -> tuple[Path, str]:
    """Damages one file of a copy and says which, and how."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in SKIPPED
        and (path.parent.parent.name == "runs" or path.name in ("study.json", "explanation.json"))
    ]
    path, how = rng.choice(files), rng.choice(DAMAGES)
    if how is _folder and path.parent.parent.name != "runs":
        how = _cut
    how(path, rng)
    return path, getattr(how, "__name__", "written")


def judged(
    folder: Path, name: str, call: Callable[[], int], whole: pd.DataFrame, path: Path
) -> str:
    """Gives what a command did with a damaged folder; what begins with `!` must not be."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = call()
    said = err.getvalue()
    if "Traceback" in said or "an error of this program" in said or code not in (0, 1, 2):
        return f"! code {code}: {said[-1500:]}"
    if "\x1b" in said or "\x1b" in out.getvalue():
        return "! an escape reached the terminal"
    named = path.name in said or path.parent.name in said
    if code == 2:
        return "refused" if named else f"! refused without naming {path.name}: {said}"
    now = table(folder, name)
    messages = "message" in now.columns and now["message"].notna().any()
    if now.drop(columns="message").equals(whole.drop(columns="message")):
        return "same table"
    if code == 1 or named or messages:
        return "changed, and said"
    return "! changed unsaid:\n" + str(now.compare(whole) if now.shape == whole.shape else now)


def main(damages: int = 500, seed: int = 1) -> int:
    """Damages and judges; 1 where something was not as it has to be."""
    without_figures()
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "made"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for call in commands(made).values():
                assert call() == 0
        whole = {name: table(made, name) for name in commands(made)}
        for number in range(damages):
            # Always the same place, which identities do not hold but messages do.
            folder = Path(scratch) / "damaged"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(made, folder, symlinks=True)
            path, how = damage(folder, rng)
            for name, call in commands(folder).items():
                outcome = judged(folder, name, call, whole[name], path)
                outcomes[outcome.split(":")[0]] += 1
                if outcome.startswith("!"):
                    bad += 1
                    print(
                        f"{number} {how} {path.relative_to(folder)} {name}\n{outcome}", flush=True
                    )
    print(f"{damages} damages, two commands each: {dict(outcomes)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
