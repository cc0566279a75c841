"""The template language: values, whole lines that only some members have, and its mistakes."""

from __future__ import annotations

import string
from importlib import resources

import pytest

from odapi_repro.reference import REFERENCES
from odapi_repro.reference.template import render_template

TEMPLATE = """a: $size
%if big
b: 1
%if not round
c: 2
%end
%else
d: $flag
%end
"""


@pytest.mark.parametrize(
    ("big", "is_round", "expected"),
    [
        (True, True, "a: 3\nb: 1\n"),
        (True, False, "a: 3\nb: 1\nc: 2\n"),
        (False, False, "a: 3\nd: true\n"),
    ],
)
def test_lines_are_kept_by_their_condition(big: bool, is_round: bool, expected: str) -> None:
    values = {"size": 3, "big": big, "round": is_round, "flag": True}
    assert render_template(TEMPLATE, values) == expected


def test_a_value_that_is_not_given_is_refused() -> None:
    with pytest.raises(KeyError, match="size"):
        render_template("a: $size\n", {})
    with pytest.raises(KeyError, match="big"):
        render_template("%if big\n%end\n", {})


@pytest.mark.parametrize("template", ["%end\n", "%else\n", "%if big\n", "%unless big\n%end\n"])
def test_conditions_that_do_not_close_are_refused(template: str) -> None:
    with pytest.raises(ValueError, match="template"):
        render_template(template, {"big": True})


@pytest.mark.parametrize("name", REFERENCES)
def test_no_member_has_a_parameter_that_its_template_ignores(name: str) -> None:
    source = REFERENCES[name].source
    folder = resources.files("odapi_repro.reference") / "templates"
    template = (folder / f"{source.template}.pbtxt").read_text(encoding="utf-8")
    conditions = {line.split()[-1] for line in template.splitlines() if line.startswith("%if")}
    assert set(source.parameters) <= conditions | set(string.Template(template).get_identifiers())
