"""Images as a pipeline hands them to the model, drawn in a child by the OD API's own functions."""

from odapi_repro.trials.model_inputs.drawing import (
    draw_model_inputs,
    each_model_input,
    model_inputs,
)

__all__ = ["draw_model_inputs", "each_model_input", "model_inputs"]
