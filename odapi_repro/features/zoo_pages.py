"""The pages of `zoo`: the references, one of them whole, published effects by factor."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from odapi_repro.command import nearest
from odapi_repro.ending import EXIT_DONE
from odapi_repro.errors import UserError
from odapi_repro.page.blocks import (
    BREAK,
    Bullets,
    Facts,
    Headline,
    Note,
    Page,
    Paragraph,
    Section,
    Table,
    code,
    marked,
)
from odapi_repro.page.numbers import number
from odapi_repro.page.terminal_page import print_pages
from odapi_repro.reference import REFERENCES, reference_named
from odapi_repro.reference.effect_catalogue import (
    CHECKED_ON,
    EFFECT_FACTORS,
    UNKNOWN_EFFECTS,
    Check,
    PublishedEffect,
    published_effects,
)
from odapi_repro.reference.entry import Reference

# --- References as rows, for the `zoo` command ---


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


# --- The pages of `zoo`: the references, one of them whole, published effects by factor ---


# Of one reference, in the order printed; `reference_details` has all.
_QUANTITIES: Final = (
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


def references_page(references: Sequence[Reference]) -> Page:
    """Gives a table of references."""
    heads = ("name", "input", "AP", "mask AP", "kpt AP", "batch", "images seen", "hardware", "")
    rows = tuple(_row(reference) for reference in references)
    note = (
        "AP in points, the first number reported: the zoo's where it has one; kpt: of keypoints. "
        "Hardware in TPU cores or GPUs. *: contradicted or in doubt; `zoo NAME` says how. "
        "`zoo NAME --config` prints the pipeline.config."
    )
    header = tuple(head.replace(" ", BREAK) for head in heads)
    return Page("References", (Table(header, rows), Paragraph(marked(note))))


def _row(reference: Reference) -> tuple[str, ...]:
    row = reference_row(reference)
    return (
        row["name"],
        row["input"],
        *("" if row[name] is None else number(row[name]) for name in ("AP", "mask_AP")),
        "" if row["keypoint_AP"] is None else number(row["keypoint_AP"]),
        str(row["batch"]),
        f"{row['images_seen'] / 1e6:.1f} M",
        f"{reference.num_replicas} {reference.source.accelerator.split()[0]}",
        "*" if row["disputed"] else "",
    )


def reference_page(reference: Reference) -> Page:
    """Gives one reference whole: numbers with sources, disputes, recipe in quantities."""
    # Imports the OD API's protos, which the list does without.
    from odapi_repro.diagnosis.render.diagnosis_wording import quantity_label, value_text

    details = reference_details(reference)
    shipped = reference.source.shipped_as
    about = (
        ("config", code(details["config"])),
        ("zoo model", details["zoo_model"] or "none"),
        ("archive", details["archive"] or "none"),
        ("extractor", f"{code(details['feature_extractor'])} ({details['meta_architecture']})"),
        ("hardware", details["hardware"]),
        *([("shipped as", code(f"pipelines/{shipped}"))] if shipped else []),
    )
    reported = (f"{one.text}: {one.source}; {one.protocol}" for one in reference.reported)
    disputes = tuple(f"{one.what} [{one.source}]" for one in reference.disputes)
    left_out = (
        f"{one.aspect}: {one.theirs}; here {one.here}. Effect: {one.effect}"
        for one in reference.unexpressed
    )
    quantities = (
        (quantity_label(name, one["unit"]), value_text(one["value"]))
        for name, one in ((name, details["quantities"][name]) for name in _QUANTITIES)
    )
    return Page(
        reference.name,
        (
            Headline(f"{reference.name}: {reference.source.title}"),
            Facts(about),
            Section("Reported", [Bullets(tuple(reported))]),
            Section("Disputes", [Bullets(disputes or ("none known",))]),
            Section("Recipe", [Facts(tuple(quantities))]),
            Section("What the pipeline leaves out of that recipe", [Bullets(tuple(left_out))]),
        ),
    )


def factors_page() -> Page:
    """Gives every factor with the number of its figures and how large the better ones are."""
    rows = []
    for factor in EFFECT_FACTORS:
        found = published_effects(factor)
        sizes = [abs(one.delta) for one in found if one.delta is not None and _is_usable(one)]
        span = f"{min(sizes):.1f} to {max(sizes):.1f}" if sizes else "none"
        rows.append((factor, str(len(found)), span))
    return Page(
        "Published effects",
        (
            Paragraph(_checked(published_effects())),
            Table(("factor", "figures", "box AP"), tuple(rows)),
            Paragraph("Box AP: the difference on COCO, either way, where it was controlled."),
            Section(
                "No usable published number: unknown, not zero",
                [Facts(tuple(UNKNOWN_EFFECTS.items()))],
            ),
            Paragraph(marked("`zoo --effects FACTOR` lists the figures with their sources.")),
        ),
    )


def factor_page(factor: str) -> Page:
    """Gives the figures of a factor with their sources."""
    unknown = UNKNOWN_EFFECTS.get(factor)
    every = published_effects(factor) if factor in EFFECT_FACTORS else ()
    return Page(
        factor,
        (
            *([Headline(f"{factor}: {unknown}")] if unknown else []),
            *([Paragraph(_checked(every))] if every else []),
            *map(_figure, every),
        ),
    )


def _figure(found: PublishedEffect) -> Note:
    return Note(
        _outcome(found),
        found.change + (f" [{found.key}]" if found.key else ""),
        (
            ("model", f"{found.model}: {_values(found)} on {found.dataset}"),
            ("trust", ", ".join(_trust(found))),
            ("source", f"{found.source} ({found.where})"),
        ),
    )


def _trust(found: PublishedEffect) -> Iterator[str]:
    checked = _CHECKED.get(found.checked, found.checked)
    return filter(None, (found.controlled, found.quality, checked))


def _outcome(found: PublishedEffect) -> str:
    if found.delta is None:
        return found.stated or "?"
    return f"{found.delta:+.2f}" + (f" ({found.stated})" if found.stated else "")


def _values(found: PublishedEffect) -> str:
    if found.before is None and found.after is None:
        return found.metric
    before, after = (
        "?" if value is None else f"{value:g}" for value in (found.before, found.after)
    )
    return f"{found.metric} {before} -> {after}"


_CHECKED: Final[dict[Check, str]] = {"source": "read again", "facts": "read again in the facts"}


def _checked(every: Sequence[PublishedEffect]) -> str:
    """How many of the figures were read again, and when."""
    again = sum(found.checked == "source" for found in every)
    facts = sum(found.checked == "facts" for found in every)
    missing = sum(found.checked == "not found in source" for found in every)
    said = f"{again} of {len(every)} figures were read again at their source ({CHECKED_ON})"
    said += f", {facts} in tables kept with the project" if facts else ""
    return said + (f"; {missing} were not found there." if missing else ".")


def _is_usable(found: PublishedEffect) -> bool:
    return (
        found.checked != "not found in source"
        and found.metric == "AP"
        and found.dataset.startswith("COCO")
        and found.controlled in ("controlled", "near-controlled")
    )


SCHEMA = 1


_PAGES = ("text", "markdown")


def show_zoo(flags: Any, positional: list[str], command: str) -> int:
    """Does what the flags ask for, and gives the exit code."""
    del command
    _check(flags, positional)
    name = positional[0] if positional else None
    if flags.effects:
        _print_effects(name, flags.format)
    elif name is None:
        _print_list(flags.family, flags.format)
    elif flags.config:
        print(reference_named(name).config_text(), end="")
    else:
        _print_one(reference_named(name), flags.format)
    return EXIT_DONE


def _check(flags: Any, positional: Sequence[str]) -> None:
    """Refuses what does not go together."""
    if len(positional) > 1:
        raise UserError(
            f"{len(positional)} names: {', '.join(positional)}",
            expected="one reference or, with --effects, one factor",
            mend=f"zoo {positional[0]}",
        )
    if flags.config and not positional:
        raise UserError(
            "--config without the name of a reference",
            expected="the reference whose pipeline.config is wanted",
            mend="zoo efficientdet_d3 --config",
        )
    pairs = (
        ("--effects", flags.effects, "--config", flags.config),
        ("--effects", flags.effects, "--family", flags.family),
        ("--config", flags.config, f"--format {flags.format}", flags.format != "text"),
        ("--family", flags.family, "the name of a reference", bool(positional)),
    )
    for one, one_given, other, other_given in pairs:
        if one_given and other_given:
            raise UserError(f"{one} with {other}", expected="one of them", mend=f"leave {one} out")


def _print_list(family: str | None, form: str) -> None:
    found = [one for one in REFERENCES.values() if family in (None, one.family)]
    if form in _PAGES:
        print_pages([references_page(found)], form)
        return
    rows = [reference_row(reference) for reference in found]
    _print_rows(rows, {"references": rows}, form)


def _print_one(reference: Reference, form: str) -> None:
    if form in _PAGES:
        print_pages([reference_page(reference)], form)
    else:
        _print_rows([reference_row(reference)], reference_details(reference), form)


def _print_effects(factor: str | None, form: str) -> None:
    known = tuple(dict.fromkeys((*EFFECT_FACTORS, *UNKNOWN_EFFECTS)))
    if factor is not None and factor not in known:
        raise UserError(
            f"'{factor}' is no factor with published effects",
            expected=f"one of {', '.join(known)}",
            mend=f"{nearest(factor, known)}zoo --effects lists them",
        )
    if form in _PAGES:
        print_pages([factors_page() if factor is None else factor_page(factor)], form)
        return
    rows = [
        {"key": one.key, **asdict(one)}
        for one in published_effects()
        if factor in (None, one.factor)
    ]
    unknown = {name: why for name, why in UNKNOWN_EFFECTS.items() if factor in (None, name)}
    if form == "csv" and not rows:
        raise UserError(
            f"'{factor}' has no figures: {UNKNOWN_EFFECTS[str(factor)]}",
            expected="a factor with figures, for a table",
            mend=f"zoo --effects {factor}",
        )
    _print_rows(rows, {"effects": rows, "unknown": unknown}, form)


def _print_rows(rows: Sequence[Mapping[str, Any]], content: Mapping[str, Any], form: str) -> None:
    """Prints rows as csv, None as an empty cell, or what JSON has of them."""
    if form == "json":
        print(json.dumps({"schema": SCHEMA, **content}, indent=2))
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
