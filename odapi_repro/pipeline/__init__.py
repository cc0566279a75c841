"""pipeline.config as data: parsing, field paths, recipe, schedule and quantities."""

from odapi_repro.pipeline.fields import (
    bind_records,
    descend,
    field_differences,
    flatten_fields,
    placeholder_fields,
    set_field,
)
from odapi_repro.pipeline.parse import Pipeline, load_pipeline, parse_pipeline
from odapi_repro.pipeline.quantities import (
    Circumstances,
    Quantities,
    ShardCount,
    count_shards,
    derive_quantities,
    quantity_definitions,
)
from odapi_repro.pipeline.recipe import LR_RULES, Recipe, read_recipe, render_recipe
from odapi_repro.pipeline.schedule import Schedule, read_schedule

__all__ = [
    "LR_RULES",
    "Circumstances",
    "Pipeline",
    "Quantities",
    "Recipe",
    "Schedule",
    "ShardCount",
    "bind_records",
    "count_shards",
    "derive_quantities",
    "descend",
    "field_differences",
    "flatten_fields",
    "load_pipeline",
    "parse_pipeline",
    "placeholder_fields",
    "quantity_definitions",
    "read_recipe",
    "read_schedule",
    "render_recipe",
    "set_field",
]
