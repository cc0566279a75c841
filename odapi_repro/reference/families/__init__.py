"""The model families of the catalogue: one module each, a table of members and their numbers."""

from odapi_repro.reference.entry import Reference
from odapi_repro.reference.families import centernet, efficientdet, rcnn, ssd

__all__ = ["all_references"]

# In the order of the zoo's table; the second recipe last.
_FAMILIES = (
    centernet.references,
    efficientdet.efficientdet_references,
    ssd.references,
    rcnn.faster_rcnn_references,
    rcnn.mask_rcnn_references,
    efficientdet.automl_references,
)


def all_references() -> list[Reference]:
    """Gives every reference; none of them is rendered or parsed yet."""
    return [reference for references in _FAMILIES for reference in references()]
