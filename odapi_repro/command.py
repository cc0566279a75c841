"""What all commands share: absl flags, `--help`, exit codes, one message for a user's error."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from odapi_repro.ending import EXIT_DONE, EXIT_USAGE, guarded
from odapi_repro.errors import UserError
from odapi_repro.foreign_text import command_line, shown

_HELP_FLAGS = {"--help", "-help", "-h", "--helpfull", "-helpfull", "--helpshort", "-helpshort"}


def nearest(name: str, known: Sequence[str]) -> str:
    """Gives `did you mean 'x'? ` for the known name nearest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{match[0]}'? " if match else ""


def parse_flags(flag_values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Parses `argv` (without the program's name) and gives the positional arguments.

    What an earlier call in the same process has set is forgotten first.

    Raises:
        UserError: for an unknown flag, a value that the flag does not take, or a sign too many.
    """
    _check_signs(argv)
    for name in flag_values:
        flag_values[name].unparse()
    try:
        return list(flag_values(["odapi-repro", *argv])[1:])
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        raise UserError(
            f"unknown flag --{name}",
            expected="one of the flags that --help lists",
            mend=f"{nearest(name, list(flag_values))}see --help",
        ) from error
    except flags.Error as error:
        raise UserError(
            f"a flag was not understood: {error}",
            expected="a value of the flag's type",
            mend="see --help",
        ) from error


def _check_signs(argv: Sequence[str]) -> None:
    """Refuses what would be read as a value or a file that begins with a sign.

    `--flag==x`, `--flag =x` and `--flag = x`, and a long dash as word processors make of two.
    """
    for before, argument, after in zip(["", *argv], argv, [*argv[1:], ""], strict=False):
        if argument == "--":
            return
        double = re.fullmatch(r"--?([A-Za-z]\w*)=\s*=+\s*(.*)", argument, re.DOTALL)
        apart = re.fullmatch(r"--?([A-Za-z]\w*)=?", before) if argument.startswith("=") else None
        if double or apart:
            name = (double or apart)[1]  # type: ignore[index]
            value = double[2] if double else argument.lstrip("= ") or after
            what = "two equals signs" if double else "a space before its equals sign"
            raise UserError(
                f"--{name} has {what}: {' '.join([before, argument] if apart else [argument])}",
                expected="one equals sign with no space around it, or a space in its place",
                mend=f"--{name}={value or 'VALUE'}",
            )
        if dash := re.match(r"[\u2012-\u2015\u2212]+-?([A-Za-z]\w*)", argument):
            raise UserError(
                f"{argument} begins with a long dash, which a program for texts has put there",
                expected="two hyphens before a flag's name",
                mend=f"--{argument[dash.start(1) :]}",
            )


class Command:
    """One command: its flags, and how it is run.

    Args:
        name: behind `odapi-repro`, e.g. `data show`.
        summary: what it does, in one line.
    """

    def __init__(self, name: str, summary: str) -> None:
        self.flags = flags.FlagValues()

        def of(define: Callable[..., object], **fixed: Any) -> Callable[..., object]:
            return functools.partial(define, flag_values=self.flags, **fixed)

        self.string, self.strings = of(flags.DEFINE_string), of(flags.DEFINE_multi_string)
        self.list, self.enum = of(flags.DEFINE_list), of(flags.DEFINE_enum)
        self.boolean, self.alias = of(flags.DEFINE_bool), of(flags.DEFINE_alias)
        self.number, self.integer = of(flags.DEFINE_float), of(flags.DEFINE_integer)
        self.count = of(flags.DEFINE_integer, lower_bound=1)
        self._name, self._summary = name, summary

    def data_flags(self, unnamed: str, *, data: str | None = None, trains: bool = True) -> None:
        """Defines the flags that name records, which `datasets.source.resolve_data` heeds.

        Args:
            unnamed: what is looked at where none of them is given.
            data: the default of `--data`.
            trains: whether training records are looked at.
        """
        self.string(
            "data",
            data,
            "embedded, or a folder of train* and val* records and a label map; without any data "
            f"flag {unnamed}",
        )
        for split, kind in (("train", "training"), ("eval", "evaluation"))[not trains :]:
            self.string(
                f"{split}_records",
                None,
                f"globs of {kind} records, comma-separated; they go before those of --data",
            )
        self.string(
            "label_map", None, "label map; by default that of --data, of the config, or beside"
        )

    def run(self, main: Callable[[list[str], str], int], argv: Sequence[str] | None) -> int:
        """Runs the command and gives its exit code (docs/run.md#exit-codes).

        Args:
            main: gets the positional arguments, after the flags were parsed, and the command as it
                is typed. Whatever it raises is told in one message on stderr: no exception leaves
                this function.
            argv: what was typed behind the name; by default what this program was called with.
        """
        arguments = sys.argv[1:] if argv is None else argv
        module, *rest = self._name.split()

        def run() -> int:
            if _HELP_FLAGS.intersection(arguments):
                typed = f"python -m odapi_repro.{self._name}"
                print(f"{typed}: {self._summary}\n\nflags:\n{self.flags.get_help()}", flush=True)
                return EXIT_DONE
            typed = command_line(["python", "-m", f"odapi_repro.{module}", *rest, *arguments])
            return main(parse_flags(self.flags, arguments), typed)

        return guarded(run, name=self._name)


def dispatch(
    arguments: Sequence[str], commands: Mapping[str, str], *, program: str, module: str
) -> int:
    """Runs the command that the first argument names and gives its exit code.

    Args:
        arguments: the command's name and what it gets; none, or a request for help, lists them.
        commands: name -> what it does, in one line.
        program: as it is typed, e.g. `odapi-repro data`.
        module: what the name of a command is put behind to give its module, e.g.
            `odapi_repro.data_`; it is imported when it is needed.
    """
    if not arguments or arguments[0] in ("-h", "--help", "-help", "help"):
        listed = "".join(f"  {name:10} {summary}\n" for name, summary in commands.items())
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(
                f"usage: {program} <command> [flags]\n\n{listed}\n"
                f"`{program} <command> --help` lists the flags of a command.\n"
            )
            sys.stdout.flush()
        return EXIT_DONE if arguments else EXIT_USAGE
    name = arguments[0]
    if name not in commands:
        print(
            f"{program}: unknown command '{shown(name)}'\n"
            f"  expected: one of {', '.join(commands)}\n"
            f"  help: {nearest(name, list(commands))}see {program} --help",
            file=sys.stderr,
        )
        return EXIT_USAGE

    def run() -> int:
        exit_code: int = importlib.import_module(f"{module}{name}").main(list(arguments[1:]))
        return exit_code

    return guarded(run, name=name)
