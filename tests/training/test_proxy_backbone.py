"""The proxies' layers are code, so their names stand for them in a trial's identity."""

from __future__ import annotations

import hashlib

from odapi_repro.training.extensions import proxy_backbone


def test_a_change_of_the_layers_needs_a_new_name() -> None:
    layers = (
        proxy_backbone._EFFICIENTNET_STACKS,
        proxy_backbone._RESNET_STAGES,
        proxy_backbone._STEM_FILTERS,
        proxy_backbone._CROP_FILTERS,
    )
    digest = hashlib.sha256(repr(layers).encode()).hexdigest()[:16]
    assert digest == "3bf61ddb207f2c0e", (
        "rename the extension and its backbones, then write the new digest"
    )
