"""How many of the training images there are."""

from __future__ import annotations

from odapi_repro.factors.share import ShareFactor


class TrainFraction(ShareFactor):
    """Share of the training images that is kept, drawn at random."""

    name = "train_fraction"
    also_called = "data_fraction fraction dataset_size data_size num_images subset train_size"
    summary = "share of the training images that is kept, drawn at random (1, 0.5, 10%)"
    owns = ("train_fraction",)
    holds = (
        "images seen are held, so the fewer images there are, the more often each is seen. Which "
        "are kept follows the seed, a smaller share out of the larger; the evaluation records, "
        "batch and schedule are held."
    )
    reference_share = 1.0
    default_shares = (1.0, 0.5, 0.1)
