"""How many of the training images are copies of others."""

from __future__ import annotations

from odapi_repro.factors.share import ShareFactor


class DuplicateShare(ShareFactor):
    """Share of the training images that are copies of other training images."""

    name = "duplicate_share"
    also_called = "duplicates duplicate copies"
    summary = "share of the training images that are copies of others (0, 0.5, 90%)"
    owns = ("duplicate_share",)
    holds = (
        "the number of records and images seen are held: copies take the place of other images, "
        "which are then never seen. Which, follows the seed; the evaluation records, batch and "
        "schedule are held."
    )
    reference_share = 0.0
    default_shares = (0.0, 0.5, 0.9)
