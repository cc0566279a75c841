from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from odapi_repro import doctor
from odapi_repro.features.environment_page import environment_page
from odapi_repro.page.terminal_page import terminal_page
from odapi_repro.trials import environment
from odapi_repro.trials.environment import Probe

TESTED_220 = dict.fromkeys(environment.DISTRIBUTIONS, "1.0") | {
    "tensorflow": "2.20.0",
    "keras": "3.15.1",
    "tf-keras": "2.20.1",
    "tf-models-official": "2.20.0",
}
TESTED_215 = TESTED_220 | {
    "tensorflow": "2.15.1",
    "keras": "2.15.0",
    "tf-keras": "2.15.1",
    "tf-models-official": "2.15.0",
}
CPU = {"name": "/physical_device:CPU:0", "kind": "CPU", "model": ""}
HEALTHY = Probe(
    {
        "devices": [CPU],
        "cuda": "",
        "patches": [{"name": "pillow_getsize", "reason": "r", "applies": True}],
        "object_detection": "imports",
    }
)
H100 = {"name": "NVIDIA H100", "memory": "81559 MiB", "driver": "580.95"}


def report_of(versions=TESTED_220, probe=HEALTHY, gpus=(), lock_folder=None, runs_dir=None):
    return environment.collect(
        runs_dir=runs_dir or Path("runs"),
        probe=None if probe is None else lambda: probe,
        version_of=versions.get,
        gpus=lambda: list(gpus),
        lock_folder=lock_folder or Path("/nonexistent"),
    )


def render(report, found):
    return terminal_page(environment_page(report, found))


@pytest.fixture
def fake_edges(monkeypatch):
    """Replaces what `main` looks at by a tested stack; gives a setter for other versions."""

    real = environment.collect

    def use(versions=TESTED_220, probe=HEALTHY):
        def collect(*, runs_dir, probe: object):
            asked = None if probe is None else lambda: answer
            return real(runs_dir=runs_dir, probe=asked, version_of=versions.get, gpus=lambda: [])

        answer = probe
        monkeypatch.setattr(doctor, "collect", collect)

    use()
    return use


def test_a_tested_stack_that_imports_lacks_nothing_and_is_exit_0(fake_edges, capsys, monkeypatch):
    monkeypatch.setattr(environment, "LEAST_FREE_BYTES", 0)
    monkeypatch.setattr(environment, "stack_of", lambda versions, python: environment.STACKS[0])
    assert doctor.main([]) == 0
    text = capsys.readouterr().out
    assert "TensorFlow 2.20, tested" in text
    assert text.startswith("training can run here\n")


def test_a_missing_tensorflow_is_exit_1_with_the_command_that_mends_it(fake_edges, capsys):
    fake_edges(TESTED_220 | {"tensorflow": None})
    assert doctor.main([]) == 1
    text = capsys.readouterr().out
    assert "error: not installed: tensorflow" in text
    assert "make setup" in text
    assert "pip install --no-deps --require-hashes -r requirements.lock" in text
    assert "training cannot run here" in text


def test_json_is_json_and_nothing_else(fake_edges, capsys):
    doctor.main(["--format=json"])
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    assert report["packages"]["tensorflow"] == "2.20.0"
    assert isinstance(report["lacks"], list)


def test_tensorflow_is_not_asked_when_it_is_not_installed():
    def probe() -> Probe:
        raise AssertionError("asked")

    report = environment.collect(
        runs_dir=Path("runs"), probe=probe, version_of={}.get, gpus=list, lock_folder=Path("/n")
    )
    assert report["tensorflow"]["asked"] is False


def test_nodevices_asks_nothing_and_says_that_importing_was_not_tried():
    report = report_of(probe=None)
    text = render(report, [])
    assert "whether it imports was not tested" in text
    assert "training can run here" not in text


@pytest.mark.parametrize(
    ("probe", "named"),
    [
        (Probe({}, "no answer after 3 s"), "TensorFlow could not be imported (no answer after 3"),
        (
            Probe({"devices": [CPU]}, "exit code 1: ImportError: lvis"),
            "the OD API could not be imported (exit code 1: ImportError: lvis)",
        ),
    ],
)
def test_what_did_not_import_is_told_apart(probe, named):
    found = environment.lacks(report_of(probe=probe))
    assert found[0].needed
    assert found[0].what.startswith(named)


def test_a_gpu_that_tensorflow_does_not_see_is_a_note_and_training_can_run():
    report = report_of(gpus=[H100])
    notes = [lack for lack in environment.lacks(report) if "GPU" in lack.what]
    assert [note.needed for note in notes] == [False]
    assert 'pip install "tensorflow[and-cuda]==2.20.0"' in notes[0].mend
    assert "NVIDIA H100, 81559 MiB, driver 580.95" in render(report, notes)


def test_a_gpu_that_tensorflow_sees_is_no_note():
    gpu = {"name": "/physical_device:GPU:0", "kind": "GPU", "model": "NVIDIA H100"}
    report = report_of(probe=Probe({**HEALTHY.answers, "devices": [CPU, gpu]}), gpus=[H100])
    assert not [lack for lack in environment.lacks(report) if "GPU" in lack.what]


def test_legacy_keras_is_needed_from_tensorflow_2_16_only():
    without = {"tf-keras": None}
    new = environment.lacks(report_of(TESTED_220 | without))
    old = environment.lacks(report_of(TESTED_215 | without))
    assert "tf-keras" in new[0].what
    assert not [lack for lack in old if "tf-keras" in lack.what]


def test_a_full_disk_is_a_lack_that_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "LEAST_FREE_BYTES", 2**80)
    found = environment.lacks(report_of(runs_dir=tmp_path / "not" / "made" / "yet"))
    assert any("yet" in lack.what and "--runs_dir" in lack.mend for lack in found)


@pytest.mark.parametrize(
    ("versions", "python", "name"),
    [
        (TESTED_220, (3, 13), "TensorFlow 2.20"),
        (TESTED_215, (3, 11), "TensorFlow 2.15.1"),
        (TESTED_215, (3, 12), None),
        (TESTED_220 | {"tensorflow": "2.21.0"}, (3, 12), None),
        (TESTED_220 | {"tensorflow": "2.2.0"}, (3, 12), None),
        (TESTED_215 | {"tensorflow": "2.15.0"}, (3, 11), None),
    ],
)
def test_a_stack_is_tested_only_with_its_own_versions_and_pythons(versions, python, name):
    stack = environment.stack_of(versions, python)
    assert (stack.name if stack else None) == name


def test_the_nearest_lock_is_named_with_what_differs(tmp_path):
    (tmp_path / "requirements.lock").write_text("numpy==2.4.6 \\\n    --hash=sha256:0\n")
    (tmp_path / "requirements-light.lock").write_text("numpy==9 \\\nscipy==9 \\\n")
    report = report_of(TESTED_220 | {"numpy": "2.4.5"}, lock_folder=tmp_path)
    assert report["lock"]["name"] == "requirements.lock"
    assert report["lock"]["differing"] == {"numpy": "2.4.5 instead of 2.4.6"}
    assert "differs in numpy 2.4.5 instead of 2.4.6" in render(report, [])


def test_pins_that_hold_on_some_platforms_only_are_not_compared():
    lock = "a==1 \\\n    --hash=sha256:0\nb==2 ; sys_platform == 'win32' \\\n    --hash=sha256:0\n"
    assert environment.pins_of(lock) == {"a": "1"}


def test_the_users_home_is_shown_as_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ODAPI_REPRO_CACHE", str(tmp_path / "cache"))
    probe = Probe({}, f"exit code 1: ImportError in {tmp_path}/site-packages/x.py")
    report = report_of(probe=probe, runs_dir=tmp_path / "runs")
    text = render(report, environment.lacks(report))
    assert "~/runs" in text
    assert "~/site-packages" in text
    assert str(tmp_path) not in json.dumps(report)


def test_what_the_child_said_before_its_time_was_up_is_kept(monkeypatch):
    said = f'{environment._PROBE_MARK}{{"devices": []}}\nnoise\n'.encode()

    def too_slow(*args, **kwargs):
        raise subprocess.TimeoutExpired("python", 5, output=said)

    monkeypatch.setattr(environment.subprocess, "run", too_slow)
    probe = environment.probe_tensorflow(5)
    assert probe.answers == {"devices": []}
    assert probe.error == "no answer after 5 s"


def test_a_child_that_dies_gives_its_last_line(monkeypatch):
    died = subprocess.CompletedProcess("python", 1, stdout="", stderr="Traceback\nImportError: x\n")
    monkeypatch.setattr(environment.subprocess, "run", lambda *args, **kwargs: died)
    assert environment.probe_tensorflow(5).error == "exit code 1: ImportError: x"


def test_without_nvidia_smi_there_are_no_gpus(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    assert environment.nvidia_gpus() == []


def test_an_argument_is_refused(capsys):
    assert doctor.main(["my.config"]) == 2
    assert "my.config" in capsys.readouterr().err


def test_no_tensorflow_is_imported_in_this_process():
    script = (
        "import sys; from odapi_repro import doctor; doctor.main(['--nodevices']);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert "not asked" in child.stdout


@pytest.mark.tensorflow
def test_a_real_child_reaches_the_od_api_with_the_patches_applied():
    probe = environment.probe_tensorflow(300)
    assert probe.error == ""
    assert probe.answers["object_detection"] == "imports"
    assert any(device["kind"] == "CPU" for device in probe.answers["devices"])
    applied = {patch["name"] for patch in probe.answers["patches"] if patch["applies"]}
    assert "pillow_getsize" in applied
