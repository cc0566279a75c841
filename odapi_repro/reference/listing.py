"""References as rows, for the `zoo` command."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from odapi_repro.reference.entry import Reference


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
