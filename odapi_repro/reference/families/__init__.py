"""The model families of the catalogue: one module each, a table of members and their numbers."""

from odapi_repro.reference.entry import Reference
from odapi_repro.reference.families import (
    automl,
    centernet,
    efficientdet,
    faster_rcnn,
    mask_rcnn,
    ssd,
)

__all__ = ["all_references"]

# In the order of the zoo's table; the second recipe last.
_FAMILIES = (
    centernet.references,
    efficientdet.references,
    ssd.references,
    faster_rcnn.references,
    mask_rcnn.references,
    automl.references,
)


def all_references() -> list[Reference]:
    """Gives every reference; none of them is rendered or parsed yet."""
    return [reference for references in _FAMILIES for reference in references()]
