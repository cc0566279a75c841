"""pipeline.config as data: parsing, field paths, the recipe and how it is rendered."""

from odapi_repro.pipeline.binding import bind_records, placeholder_fields
from odapi_repro.pipeline.fields import field_differences, flatten_fields
from odapi_repro.pipeline.parse import Pipeline, load_pipeline, parse_pipeline
from odapi_repro.pipeline.recipe import LR_RULES, Recipe, read_recipe, render_recipe

__all__ = [
    "LR_RULES",
    "Pipeline",
    "Recipe",
    "bind_records",
    "field_differences",
    "flatten_fields",
    "load_pipeline",
    "parse_pipeline",
    "placeholder_fields",
    "read_recipe",
    "render_recipe",
]
