from __future__ import annotations

import subprocess
import sys

import pytest
from absl import flags

from odapi_repro import __main__ as entry
from odapi_repro import data
from odapi_repro.command import Command, nearest, parse_flags
from odapi_repro.errors import UserError

EXAMPLE = Command("example", "does an example")
EXAMPLE.integer("num_train_steps", 100, "Steps.")
EXAMPLE.string("pipeline", None, "Config.")


@pytest.fixture
def values() -> flags.FlagValues:
    return EXAMPLE.flags


def run(values: flags.FlagValues, *argv: str, main=lambda positional: 0) -> int:
    return EXAMPLE.run(lambda positional, command: main(positional), argv)


def test_a_command_is_told_as_it_was_typed():
    told = []

    def main(positional: list[str], command: str) -> int:
        told.append(command)
        return 0

    assert Command("data show", "shows").run(main, ["a b"]) == 0
    assert told == ["python -m odapi_repro.data show 'a b'"]


def test_positional_arguments_reach_the_command_after_the_flags_were_parsed(values):
    seen = []

    def main(positional: list[str]) -> int:
        seen.extend([*positional, values.num_train_steps])
        return 0

    assert run(values, "a.config", "--num_train_steps=7", main=main) == 0
    assert seen == ["a.config", 7]


@pytest.mark.parametrize("code", [0, 1])
def test_the_commands_own_exit_code_is_given(values, code):
    assert run(values, main=lambda positional: code) == code


def test_an_unknown_flag_is_exit_2_and_names_the_nearest_known_one(values, capsys):
    assert run(values, "--num_trian_steps=7") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "unknown flag --num_trian_steps" in captured.err
    assert "did you mean 'num_train_steps'?" in captured.err
    assert "Traceback" not in captured.err


def test_a_value_of_the_wrong_type_is_exit_2_and_is_named(values, capsys):
    assert run(values, "--num_train_steps=many") == 2
    assert "many" in capsys.readouterr().err


def test_a_flag_without_its_value_is_exit_2(values, capsys):
    assert run(values, "--pipeline") == 2
    assert "pipeline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "named", "mend"),
    [
        (["--pipeline==x.config"], "--pipeline has two equals signs", "--pipeline=x.config"),
        (["-pipeline==x.config"], "--pipeline has two equals signs", "--pipeline=x.config"),
        (["--num_train_steps==7"], "--num_train_steps has two", "--num_train_steps=7"),
        (["--pipeline= =x"], "--pipeline has two equals signs", "--pipeline=x"),
        (["--unknown==x"], "--unknown has two equals signs", "--unknown=x"),
        (["--pipeline", "=x"], "--pipeline has a space before its equals sign", "--pipeline=x"),
        (["--pipeline", "=", "x"], "--pipeline has a space before", "--pipeline=x"),
        (["--pipeline", "="], "--pipeline has a space before", "--pipeline=VALUE"),
        (["\u2013pipeline=x"], "begins with a long dash", "--pipeline=x"),
        (["\u2014num_train_steps", "7"], "begins with a long dash", "--num_train_steps"),
    ],
)
def test_a_sign_too_many_or_another_is_one_message_that_says_so(values, capsys, argv, named, mend):
    def main(positional: list[str]) -> int:
        raise AssertionError("ran")

    assert run(values, *argv, main=main) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in captured.err
    assert f"help: {mend}\n" in captured.err


@pytest.mark.parametrize("argv", [["--pipeline=a==b"], ["--pipeline", "a=b"], ["--", "=x"]])
def test_equals_signs_inside_a_value_are_the_values_own(values, argv):
    assert run(values, *argv) == 0


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_is_exit_0_and_lists_the_flags_without_running_the_command(values, capsys, flag):
    def main(positional: list[str]) -> int:
        raise AssertionError("ran")

    assert run(values, flag, main=main) == 0
    assert "num_train_steps" in capsys.readouterr().out


def test_a_users_error_is_one_message_on_stderr_and_exit_2(values, capsys):
    def main(positional: list[str]) -> int:
        raise UserError("found this", expected="that", mend="type so", where="a.config:3:1")

    assert run(values, main=main) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "odapi-repro example: a.config:3:1: found this\n  expected: that\n  help: type so\n"
    )


def test_an_interrupt_is_exit_130_as_a_shell_has_it(values, capsys):
    def main(positional: list[str]) -> int:
        raise KeyboardInterrupt

    assert run(values, main=main) == 130


def test_an_error_of_ours_is_not_dressed_up_as_the_users(values, capsys):
    def main(positional: list[str]) -> int:
        raise ZeroDivisionError

    assert run(values, main=main) == 70
    assert "an error of this program: ZeroDivisionError" in capsys.readouterr().err


def test_parse_flags_raises_what_a_caller_can_catch(values):
    with pytest.raises(UserError, match="unknown flag"):
        parse_flags(values, ["--nothing_like_it"])


def test_nearest_says_nothing_when_nothing_is_near():
    assert nearest("zzz", ["batch_size", "warmup"]) == ""
    assert nearest("batchsize", ["batch_size", "warmup"]) == "did you mean 'batch_size'? "


def test_the_entry_point_refuses_an_unknown_command_with_the_nearest(capsys):
    assert entry.main(["docter"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "did you mean 'doctor'?" in captured.err


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["help"], 0), ([], 2)])
def test_the_entry_point_lists_its_commands(capsys, argv, code):
    assert entry.main(argv) == code
    listed = capsys.readouterr().out
    assert all(name in listed for name in entry.COMMANDS)


def test_the_entry_point_passes_an_unknown_flag_on_as_exit_2(capsys):
    assert entry.main(["doctor", "--formt=json"]) == 2
    assert "did you mean 'format'?" in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["help"], 0), ([], 2)])
def test_the_commands_on_data_are_listed_and_each_has_help(capsys, argv, code):
    assert data.main(argv) == code
    listed = capsys.readouterr().out
    assert all(name in listed for name in data.COMMANDS)
    for name in data.COMMANDS:
        assert entry.main(["data", name, "--help"]) == 0
        assert f"python -m odapi_repro.data {name}" in capsys.readouterr().out


def test_an_unknown_command_on_data_is_refused_with_the_nearest(capsys):
    assert entry.main(["data", "chek"]) == 2
    assert "did you mean 'check'?" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_a_pipe_whose_reader_has_gone_is_not_an_error(argv):
    script = (
        "import sys\n"
        "from odapi_repro.command import Command\n"
        "command = Command('x', '')\n"
        "command.string('long', None, 'words ' * 100000)\n"
        "def main(positional, typed):\n"
        "    for _ in range(100000): print('a line of output')\n"
        "    return 0\n"
        f"sys.exit(command.run(main, {argv!r}))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(timeout=30) == 0
