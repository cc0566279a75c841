"""How plots look: one style, one colour a level, the same bytes from the same numbers."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import matplotlib as mpl
from matplotlib.figure import Figure

from odapi_repro.factors.axes import Axis
from odapi_repro.foreign_text import shortened_name
from odapi_repro.page.results_folder import Drawing

INK: Final = "#1f2328"
MUTED: Final = "#6e7781"
_CATEGORICAL: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, told apart by colour-blind readers."""

_STYLE: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7ea",
    "grid.linewidth": 0.8,
    "text.color": INK,
    # A dollar in a name is a dollar.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "odapi_repro",
    "svg.fonttype": "none",
}


_MOST_LETTERS: Final = 60
_NOT_TOLD: Final = (r"Glyph \d+", "constrained_layout not applied", "Matplotlib currently does not")
"""Warnings that nobody can act on: a letter that the font lacks is drawn as an empty frame (and is
itself in an SVG), one of some scripts without its ligatures; too little room shows."""


@contextmanager
def plot_style() -> Iterator[None]:
    """The style, for figures made inside; the caller's settings come back after it."""
    with mpl.rc_context(cast(Any, _STYLE)), warnings.catch_warnings():
        for message in _NOT_TOLD:
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def legible(name: object, most: int = _MOST_LETTERS) -> str:
    """A name from outside as figures have it: on one line, its middle left out where it is long."""
    plain = shortened_name(name, most)
    # A legend leaves out what begins with an underscore.
    return f" {plain}" if plain.startswith("_") else plain


def drawing(
    name: str, draw: Callable[[], Figure | None], formats: Sequence[str] = ("png", "svg")
) -> Drawing:
    """A figure in this style, to be drawn when it is asked for; without one there are no files."""

    def render() -> dict[str, bytes]:
        with plot_style():
            figure = draw()
            if figure is None:
                return {}
            return {f"{name}.{one}": encode(figure, one) for one in formats}

    return Drawing(name, render)


def captioned(figure: Figure, title: Sequence[str], note: str) -> None:
    """Writes lines above a figure and a note below it, both from its left edge."""
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.supxlabel(note, x=0.01, ha="left", fontsize=8.5, color=MUTED)


def numeric_levels(axis: Axis) -> dict[str, float] | None:
    """The levels as positive numbers, for a log2 axis; None when they are names."""
    try:
        values = {label: float(label) for label in axis.levels}
    except ValueError:
        return None
    return values if all(0 < value < float("inf") for value in values.values()) else None


def title(axis: Axis) -> str:
    """The factor, and where other factors were held on purpose."""
    held = ", ".join(f"{name} {legible(level)}" for name, level in sorted(axis.at.items()))
    return f"{axis.name} at {held}" if held else axis.name


def level_colours(axis: Axis) -> dict[str, Any]:
    """A colour a level: ink for the reference, shades in order for numbers, else hues."""
    others = axis.other_levels
    numeric = numeric_levels(axis)
    colours: dict[str, Any] = {axis.reference_level: INK}
    if numeric and len(others) > 2:
        ranked = sorted(others, key=lambda label: numeric[label])
        shades = mpl.colormaps["plasma"]
        span = max(len(ranked) - 1, 1)
        colours |= {label: shades(0.15 + 0.65 * i / span) for i, label in enumerate(ranked)}
    else:
        colours |= {label: _CATEGORICAL[i % len(_CATEGORICAL)] for i, label in enumerate(others)}
    return colours


def encode(figure: Figure, image_format: str) -> bytes:
    """The figure as PNG or SVG, without a date or a version in it."""
    stream = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if image_format == "svg" else {"Software": None}
    figure.savefig(stream, format=image_format, dpi=160, metadata=metadata)
    return stream.getvalue()
