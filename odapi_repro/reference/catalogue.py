"""All references by name: the 36 pipelines of configs/tf2, and google/automl's recipe beside them.

Six models of the zoo's table have no file in configs/tf2 (two CenterNets without keypoints, two
CenterNets with MobileNet v2, two Faster R-CNNs with Inception ResNet v2), and so no entry here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

from odapi_repro.errors import UserError
from odapi_repro.reference.entry import Reference


class _Catalogue(Mapping[str, Reference]):
    """References by short name, in the zoo's order; made from the families when first looked at."""

    def __getitem__(self, name: str) -> Reference:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @cached_property
    def _entries(self) -> dict[str, Reference]:
        from odapi_repro.reference.families import all_references

        return {reference.name: reference for reference in all_references()}


REFERENCES: Mapping[str, Reference] = _Catalogue()


def reference_named(name: str) -> Reference:
    """Gives the reference of a short name, a config's name, a zoo model or a zoo archive.

    Case, `.config` and the sort of separator do not matter: `EfficientDet D3 896x896`,
    `ssd_efficientdet_d3_896x896_coco17_tpu-32`, `efficientdet_d3` and the file `effdet_d3` are one.

    Raises:
        UserError: no such reference; names the nearest.
    """
    import difflib

    aliases = {
        _plain(alias): reference
        for reference in REFERENCES.values()
        for alias in _aliases(reference)
    }
    wanted = _plain(name)
    if wanted in aliases:
        return aliases[wanted]
    close = [alias for alias in aliases if wanted and wanted in alias]
    close += difflib.get_close_matches(wanted, aliases, n=12, cutoff=0.5)
    names = list(dict.fromkeys(aliases[alias].name for alias in close))[:3]
    nearest = f"did you mean {' or '.join(names)}? " if names else ""
    raise UserError(
        f"'{name}' is no reference",
        expected="a short name, the name of a config in configs/tf2, or of a model in the zoo",
        mend=f"{nearest}python -m odapi_repro.zoo lists all {len(REFERENCES)}",
    )


def _aliases(reference: Reference) -> list[str]:
    archive = reference.archive.rsplit("/", maxsplit=1)[-1].removesuffix(".tar.gz")
    names = (reference.name, reference.config, reference.zoo_model, archive)
    return [alias for alias in (*names, reference.source.shipped_as) if alias]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower().removesuffix(".config"))
