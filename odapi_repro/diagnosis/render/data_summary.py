"""What records hold, as a small table of text or Markdown and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from odapi_repro.diagnosis.render.wording import plain
from odapi_repro.foreign_text import shortened_name

if TYPE_CHECKING:
    from odapi_repro.datasets.census.facts import DataFacts, SplitFacts

__all__ = ["data_json", "data_lines", "data_rows"]

_HEADS = {"train": "training", "eval": "evaluation"}
_MOST_CLASSES = 12
_WIDEST = 60  # letters of a cell; a class may have thousands


def data_rows(data: DataFacts) -> list[tuple[str, ...]]:
    """Gives rows of a table: a name and a text for each split; the head first."""
    rows = [("", *(_HEADS[one.split] for one in data.splits))]
    cells = [_cells(one) for one in data.splits]
    names = dict.fromkeys(name for one in cells for name in one)
    rows += [(name, *(one.get(name, "-") for one in cells)) for name in names]
    return rows


def data_lines(data: DataFacts, columns: int) -> Iterator[str]:
    """Gives the table as lines of text, then what was and what was not looked at."""
    rows = [tuple(shortened_name(cell, _WIDEST) for cell in row) for row in data_rows(data)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        first, *rest = row
        cells = "  ".join(f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        yield f"{first:<{widths[0]}}  {cells}".rstrip()
    for label, told in _notes(data):
        lead = f"    {label:<13} "
        yield from textwrap.wrap(
            plain(told),
            width=columns,
            initial_indent=lead,
            subsequent_indent=" " * len(lead),
            break_long_words=False,
            break_on_hyphens=False,
        )


def data_json(data: DataFacts) -> dict[str, Any]:
    """Gives the facts for programs."""
    return {
        "name": data.name,
        "label_map": data.label_map or None,
        "splits": {one.split: _split_json(one) for one in data.splits},
        "compared_with": list(data.compared),
        "not_looked_at": list(data.not_looked_at),
    }


def _notes(data: DataFacts) -> Iterator[tuple[str, str]]:
    if data.pipeline:
        yield "pipeline", data.pipeline
    if data.label_map:
        yield "label map", data.label_map
    for told in data.compared:
        yield "compared", told
    for told in data.not_looked_at:
        yield "not looked at", told


def _split_json(facts: SplitFacts) -> dict[str, Any]:
    content = asdict(facts)
    del content["split"]
    return content


def _cells(facts: SplitFacts) -> dict[str, str]:
    shards = f" of {facts.shards_named:,} named" if facts.shards_named > facts.files else ""
    cells = {
        "files": f"{facts.files:,}{shards}",
        "size": f"{facts.bytes / 1e6:,.1f} MB",
        "records": f"{facts.records:,}",
        "images": f"{facts.images:,}",
        "that decode": f"{facts.images_decoded:,}",
        "without boxes": _share(facts.images_empty, facts.images),
    }
    if facts.image_sizes is not None:
        for side, (low, middle, high) in zip(("height", "width"), facts.image_sizes, strict=True):
            cells[f"{side}, pixels"] = f"{low:,} - {high:,}, median {middle:,}"
    median, ninth, most = facts.boxes_per_image
    cells |= {
        "boxes": f"{facts.boxes:,}",
        "an image": f"median {median:,}, 90 % up to {ninth:,}, most {most:,}",
        "crowd": _share(facts.crowd, facts.boxes),
        "with mask": _share(facts.masks, facts.boxes),
    }
    for word, count in facts.boxes_by_size.items():
        cells[word] = _share(count, facts.boxes)
    classes = facts.objects_by_class
    cells["classes"] = f"{sum(1 for count in classes.values() if count):,} of {len(classes):,}"
    for name, count in _shown(classes):
        cells[f"  {plain(name)}"] = f"{count:,}"
    if facts.unknown_class:
        cells["of no class"] = _share(facts.unknown_class, facts.boxes)
    return cells


def _shown(classes: Any) -> Sequence[tuple[str, int]]:
    """Gives the classes with their objects where they are few."""
    return list(classes.items()) if len(classes) <= _MOST_CLASSES else []


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({100 * count / whole:.1f} %)" if whole and count else f"{count:,}"
