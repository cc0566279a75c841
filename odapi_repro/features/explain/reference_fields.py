"""What to write into a user's config so that one deviation is gone and the others stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from odapi_repro.factors import FACTORS, Level
from odapi_repro.pipeline import Pipeline, read_recipe, render_recipe
from odapi_repro.pipeline.fields import field_differences

_TRAIN_FILES = "train_input_reader.tf_record_input_reader.input_path"


def reference_fields(
    reference: Pipeline,
    levels: Mapping[str, tuple[Level, Level]],
    factors: Collection[str],
    *,
    num_replicas: int = 1,
) -> tuple[tuple[str, str], ...]:
    """Gives field and value, as text, that bring some factors to the reference's level.

    What they move along is among them: at a user's smaller batch the reference's number of images
    takes more steps.

    Args:
        reference: at its own scale.
        levels: factor -> (reference's, user's) level of every deviation that a factor expresses.
        factors: those to mend, together.
        num_replicas: of the reference.
    """
    before = _rendered(reference, levels, (), num_replicas)
    after = _rendered(reference, levels, factors, num_replicas)
    files = (
        [(_TRAIN_FILES, f"the pattern that names all {levels['train_shards'][0].label} files")]
        if "train_shards" in factors
        else []
    )
    changed = field_differences(after.proto, before.proto)
    return (*files, *((path, _text(value)) for path, value, _ in changed))


def _rendered(
    reference: Pipeline,
    levels: Mapping[str, tuple[Level, Level]],
    mended: Collection[str],
    num_replicas: int,
) -> Pipeline:
    recipe = read_recipe(reference, num_replicas=num_replicas)
    for name, (_, user) in levels.items():
        # Which shards are read is a matter of files, which the reference leaves open.
        if name not in mended and name != "train_shards":
            recipe = FACTORS[name].edit(recipe, user)
    return render_recipe(recipe, reference)


def _text(value: object) -> str:
    if value is None:
        return "left out"
    return f"{value:.7g}" if isinstance(value, float) else str(value)
