"""References as rows and as text, for the `zoo` command."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from odapi_repro.reference.entry import Reference

__all__ = ["details_text", "list_text", "reference_details", "reference_row", "wrapped"]

_WIDTH = 100
# Of one reference, in the order printed; `reference_details` has all.
_QUANTITIES = (
    "global_batch",
    "images_per_replica",
    "batchnorm",
    "num_steps",
    "images_seen",
    "epochs",
    "optimizer",
    "lr_schedule",
    "lr_base",
    "lr_per_image",
    "warmup_images",
    "gradient_clip_norm",
    "ema_decay",
    "checkpoint_restore",
    "augmentation",
)
_NOT_IN_TEXT = ("family", "recipe")
_LEFT_ALIGNED = ("name", "hardware", "disputed")


def reference_row(reference: Reference) -> dict[str, Any]:
    """Gives what the list says of a reference; None where nothing was reported."""
    return {
        "name": reference.name,
        "input": "x".join(map(str, reference.image_size)),
        "AP": reference.reported_value("AP"),
        "mask_AP": reference.reported_value("mask_AP"),
        "keypoint_AP": reference.reported_value("keypoint_AP"),
        "batch": reference.global_batch_size,
        "images_seen": reference.images_seen,
        "hardware": f"{reference.num_replicas} {reference.source.accelerator}s",
        "disputed": bool(reference.disputes),
        "family": reference.family,
        "recipe": reference.recipe,
    }


def reference_details(reference: Reference) -> dict[str, Any]:
    """Gives everything the catalogue has of one reference, its quantities included."""
    from odapi_repro.pipeline import Circumstances, derive_quantities, quantity_definitions

    circumstances = Circumstances(num_replicas=reference.num_replicas, look_at_disk=False)
    quantities = derive_quantities(reference.pipeline(), circumstances).as_dict()
    units = quantity_definitions()
    return {
        **reference_row(reference),
        "config": reference.config,
        "zoo_model": reference.zoo_model,
        "meta_architecture": reference.meta_architecture,
        "feature_extractor": reference.feature_extractor,
        "archive": reference.archive,
        "reported": [asdict(metric) for metric in reference.reported],
        "disputes": [asdict(dispute) for dispute in reference.disputes],
        "unexpressed": [asdict(aspect) for aspect in reference.unexpressed],
        "quantities": {
            name: {"value": value, "unit": units[name][0]} for name, value in quantities.items()
        },
    }


def list_text(references: Sequence[Reference]) -> str:
    """Gives an aligned table of references."""
    rows = [_cells(reference_row(reference)) for reference in references]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}

    def line(cells: Mapping[str, str]) -> str:
        padded = (
            cell.ljust(widths[name]) if name in _LEFT_ALIGNED else cell.rjust(widths[name])
            for name, cell in cells.items()
        )
        return "  ".join(padded).rstrip()

    return "\n".join(
        [
            line({name: name for name in widths}),
            *map(line, rows),
            "",
            "AP in points, the first number reported: the zoo's where it has one. *: contradicted",
            "or in doubt; `zoo NAME` says how. `zoo NAME --config` prints the pipeline.config.",
        ]
    )


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    shown = {
        name: "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)
        for name, value in row.items()
        if name not in _NOT_IN_TEXT
    }
    shown["images_seen"] = f"{row['images_seen'] / 1e6:.1f} M"
    shown["disputed"] = "*" if row["disputed"] else ""
    return shown


def details_text(reference: Reference) -> str:
    """Gives one reference whole: numbers with sources, disputes, recipe in quantities."""
    details = reference_details(reference)
    lines = [reference.name, f"  {reference.source.title}", ""]
    for label, value in (
        ("config", details["config"]),
        ("zoo model", details["zoo_model"] or "none"),
        ("archive", details["archive"] or "none"),
        ("extractor", f"{details['feature_extractor']} ({details['meta_architecture']})"),
        ("hardware", details["hardware"]),
        ("shipped as", f"pipelines/{reference.source.shipped_as}"),
    ):
        if value != "pipelines/":
            lines.append(f"  {label:10} {value}")
    lines += ["", "reported"]
    for metric in reference.reported:
        lines += wrapped(f"{metric.text}: {metric.source}; {metric.protocol}")
    lines += ["", "disputes"]
    for dispute in reference.disputes:
        lines += wrapped(f"{dispute.what} [{dispute.source}]")
    if not reference.disputes:
        lines.append("  none known")
    lines += ["", "recipe"]
    for name in _QUANTITIES:
        quantity = details["quantities"][name]
        unit = "" if quantity["unit"] in ("1", name) else f" {quantity['unit']}"
        lines += wrapped(f"{name:20} {_quantity_text(quantity['value'], unit)}")
    if reference.unexpressed:
        lines += ["", "what the pipeline leaves out of that recipe"]
    for aspect in reference.unexpressed:
        lines += wrapped(
            f"{aspect.aspect}: {aspect.theirs}; here {aspect.here}. Effect: {aspect.effect}"
        )
    return "\n".join(lines)


def _quantity_text(value: object, unit: str) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, str):
        return value
    number = f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
    return number + unit


def wrapped(text: str, indent: str = "  ") -> list[str]:
    """Gives the lines of a paragraph, all but the first indented further."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
