"""Renders a reference's pipeline.config: a head of comments, and its family's template.

A template is a text proto with `$name` where members differ and whole lines that only some have:

    %if tpu
    use_static_shapes: true
    %else
    gradient_clipping_by_norm: 10.0
    %end

`%if not tpu` is understood, and blocks nest.
"""

from __future__ import annotations

import string
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # entry.py imports this module
    from odapi_repro.reference.entry import Reference


_FOLDER = Path(__file__).parent / "templates"
_LINE_LENGTH = 100
# Images of COCO train2017 (cocodataset.org), for epochs.
_TRAIN2017 = 118_287


@dataclass(frozen=True)
class ConfigSource:
    """What a config is rendered from.

    Attributes:
        template: name of the file in templates/, without its ending.
        title: first line of the head.
        start: what training starts from, one sentence.
        accelerator: what a replica was, e.g. `TPU core`.
        parameters: values of the template; a bool decides over `%if` lines, too.
        shipped_as: name of the file in pipelines/ that holds the text; empty where none does.
    """

    template: str
    title: str
    start: str
    accelerator: str
    parameters: Mapping[str, object]
    shipped_as: str = ""


def render_config(reference: Reference) -> str:
    """Gives the whole text of a reference's pipeline.config."""
    source = reference.source
    body = render_template(_read(source.template), source.parameters)
    return f"{_head(reference)}\n{body}"


def render_template(template: str, values: Mapping[str, object]) -> str:
    """Gives the template with its values in place and its conditions decided.

    Raises:
        KeyError: the template names a value that is not given.
        ValueError: an `%end` or `%else` without `%if`, or the other way round.
    """
    shown: list[bool] = []
    lines = []
    for number, line in enumerate(template.splitlines(), start=1):
        words = line.split()
        if not line.startswith("%"):
            if all(shown):
                lines.append(string.Template(line).substitute(_texts(values)))
        elif words[0] == "%if":
            shown.append(bool(values[words[-1]]) is not (words[1] == "not"))
        elif words[0] not in ("%else", "%end") or not shown:
            raise ValueError(f"line {number} of a template: '{line}' does not fit here")
        elif words[0] == "%else":
            shown[-1] = not shown[-1]
        else:
            shown.pop()
    if shown:
        raise ValueError(f"a template leaves {len(shown)} %if open")
    return "\n".join(lines) + "\n"


@cache
def _read(template: str) -> str:
    return (_FOLDER / f"{template}.pbtxt").read_text(encoding="utf-8")


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }


def _head(reference: Reference) -> str:
    source = reference.source
    per_replica = reference.global_batch_size / reference.num_replicas
    images = "image" if per_replica == 1 else "images"
    millions = reference.images_seen / 1e6
    paragraphs = [
        f"Reported: {_reported(reference)}.",
        *(f"Disputed: {dispute.what}." for dispute in reference.disputes),
        f"Hardware: {reference.num_replicas} {source.accelerator}s, {per_replica:g} {images} each. "
        f"{millions:.1f} million images seen ({reference.images_seen / _TRAIN2017:.0f} epochs of "
        "train2017).",
        source.start,
    ]
    lines = [source.title, ""]
    for paragraph in paragraphs:
        lines += textwrap.wrap(paragraph, _LINE_LENGTH - 2, break_on_hyphens=False)
    if reference.unexpressed:
        lines += ["", "What that recipe does and a pipeline.config cannot say:"]
    for aspect in reference.unexpressed:
        lines += textwrap.wrap(
            f"{aspect.aspect}: {aspect.theirs}; here {aspect.here}",
            _LINE_LENGTH - 2,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    lines += ["", *(f"  {command}" for command in _commands(reference))]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _reported(reference: Reference) -> str:
    by_source: dict[str, list[str]] = {}
    for metric in reference.reported:
        where = f"{metric.source.partition(' (')[0]}, {metric.protocol.partition(',')[0]}"
        by_source.setdefault(where, []).append(metric.text)
    return "; ".join(f"{' and '.join(found)} ({where})" for where, found in by_source.items())


def _commands(reference: Reference) -> list[str]:
    """Gives commands that study the reference; CenterNet has no proxy, so only at full scale."""
    shipped = reference.source.shipped_as
    if shipped:
        return [f"python -m odapi_repro.run --pipeline pipelines/{shipped} --ablate batch_size"]
    full = " --scale full --data FOLDER" if reference.family == "centernet" else ""
    return [
        f"python -m odapi_repro.zoo {reference.name} --config > pipeline.config",
        f"python -m odapi_repro.run pipeline.config --ablate batch_size{full}",
    ]
