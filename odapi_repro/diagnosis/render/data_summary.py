"""What records hold, as a section of a page and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from odapi_repro.diagnosis.render.wording import labelled
from odapi_repro.page.blocks import Facts, Section, Table, code

if TYPE_CHECKING:
    from odapi_repro.datasets.census.facts import DataFacts, SplitFacts


_HEADS = {"train": "training", "eval": "evaluation"}
_MOST_CLASSES = 12
_WIDEST = 60  # letters of a cell; a class may have thousands


def data_section(data: DataFacts) -> Section:
    """Gives the numbers of each split, then what was and what was not looked at."""
    cells = [_cells(one) for one in data.splits]
    names = dict.fromkeys(name for one in cells for name in one)
    rows = tuple((name, *(one.get(name, "-") for one in cells)) for name in names)
    header = ("", *(_HEADS[one.split] for one in data.splits))
    return Section(
        f"Records: {data.name}", [Table(header, rows, widest=_WIDEST), Facts(tuple(_notes(data)))]
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
        yield "pipeline", code(data.pipeline)
    if data.label_map:
        yield "label map", code(data.label_map)
    yield from labelled("compared", data.compared)
    yield from labelled("not looked at", data.not_looked_at)


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
        "an image, median": f"{median:,}",
        "an image, 90 % up to": f"{ninth:,}",
        "an image, most": f"{most:,}",
        "crowd": _share(facts.crowd, facts.boxes),
        "with mask": _share(facts.masks, facts.boxes),
    }
    for word, count in facts.boxes_by_size.items():
        cells[word] = _share(count, facts.boxes)
    classes = facts.objects_by_class
    cells["classes"] = f"{sum(1 for count in classes.values() if count):,} of {len(classes):,}"
    if len(classes) <= _MOST_CLASSES:
        cells |= {f"of {code(name)}": f"{count:,}" for name, count in classes.items()}
    if facts.unknown_class:
        cells["of no class"] = _share(facts.unknown_class, facts.boxes)
    return cells


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({100 * count / whole:.1f} %)" if whole and count else f"{count:,}"
