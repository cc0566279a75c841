"""BMP files are taken where tf.io.decode_image reads them as Pillow does, and only there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from odapi_repro.datasets.image_file import bmp_fault

MODES = {"1": "1 bits a pixel", "P": "palette", "L": "", "RGB": "", "RGBA": ""}


def encoded(mode: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "BMP")
    return file.getvalue()


@pytest.mark.parametrize(("mode", "fault"), MODES.items())
def test_colours_and_greys_are_taken_and_palettes_are_not(mode: str, fault: str) -> None:
    found = bmp_fault(encoded(mode))
    assert fault in found
    assert bool(found) == bool(fault)


def test_a_compressed_bmp_is_not_taken() -> None:
    data = bytearray(encoded("RGB"))
    data[30] = 1
    assert "compressed" in bmp_fault(bytes(data))


def test_half_a_header_is_told() -> None:
    assert "cut short" in bmp_fault(encoded("RGB")[:40])


@pytest.mark.tensorflow
@pytest.mark.parametrize(("mode", "fault"), MODES.items())
def test_that_is_how_tensorflow_reads_them(mode: str, fault: str) -> None:
    import tensorflow as tf

    data = encoded(mode)
    with Image.open(io.BytesIO(data)) as image:
        meant = np.asarray(image.convert("RGB")).astype(int)
    try:
        read = tf.io.decode_image(data, channels=3).numpy().astype(int)
    except tf.errors.InvalidArgumentError:
        read = np.full_like(meant, -1)
    assert bool((read != meant).any()) == bool(fault)
