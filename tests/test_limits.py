"""What is packed is bounded before it takes memory, and a flag raises the bound."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_sets import CocoSet
from PIL import Image

import odapi_repro
from odapi_repro import data_check, data_convert, data_show, evaluate
from odapi_repro.datasets.annotations import AnnotatedImage
from odapi_repro.datasets.image_file import opened_image
from odapi_repro.datasets.limits import TooLarge
from odapi_repro.datasets.tfrecord import masked_crc32c, read_records, write_records
from odapi_repro.errors import DataError
from odapi_repro.evaluation.coco_data import read_ground_truth
from odapi_repro.evaluation.coco_data.json_file import read_json
from odapi_repro.features.evaluate.evaluation_pictures import DrawnObject, Page, Tile, render_page

LABEL_MAP = "item { id: 1 name: 'person' }\n"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int) -> bytes:
    """A grey PNG whose header may give it any size; all its pixels are there, packed."""
    rows = zlib.compressobj(9)
    pixels = b"".join(rows.compress(bytes(1 + width)) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bmp(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def gif(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "GIF")
    return stream.getvalue()


def main_of(command: Any, *argv: str) -> int:
    code: int = command.main(list(argv))
    return code


def flags_of(made: CocoSet, *more: str) -> list[str]:
    return [
        f"--annotations={made.json_path}", f"--image_dir={made.images}",
        f"--output_dir={made.output}", "--workers=1", *more,
    ]  # fmt: skip


def peak_of(work: Any) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def one(tmp_path: Path) -> CocoSet:
    made = CocoSet(tmp_path)
    made.image(1, name="1.png")
    made.annotation(1, [2, 3, 20, 10])
    made.write()
    return made


@pytest.mark.parametrize("decode", ["--decode_images", "--nodecode_images"])
def test_convert_refuses_an_image_of_too_many_pixels(
    one: CocoSet, decode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (one.images / "1.png").write_bytes(png(200, 300))
    one.content["images"][0] |= {"width": 200, "height": 300}
    one.write()
    flags = flags_of(one, decode)
    assert main_of(data_convert, *flags, "--max_image_pixels=59999") == 2
    error = capsys.readouterr().err
    assert "1.png is of 200 x 300 pixels, 60,000 in all" in error
    assert "--max_image_pixels=59999" in error
    assert main_of(data_convert, *flags, "--max_image_pixels=60000") == 0


def test_a_small_png_of_a_gigabyte_is_refused_by_itself(
    one: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    (one.images / "1.png").write_bytes(png(20_000, 20_000))
    one.content["images"][0] |= {"width": 20_000, "height": 20_000}
    one.write()
    flags = flags_of(one, "--decode_images")
    peak = peak_of(lambda: main_of(data_convert, *flags))
    assert "400,000,000 in all" in capsys.readouterr().err
    assert peak < 50e6


def zipped(made: CocoSet, data: bytes) -> Path:
    archive = made.folder / "images.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("1.png", data)
    return archive


def test_a_zip_that_unpacks_to_too_much_is_refused_by_its_directory(
    one: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = zipped(one, (one.images / "1.png").read_bytes() + bytes(60_000_000))
    flags = [*flags_of(one, "--max_unpacked_bytes=30000000"), f"--image_dir={archive}"]
    peak = peak_of(lambda: main_of(data_convert, *flags))
    error = capsys.readouterr().err
    assert "bytes unpacked; --max_unpacked_bytes=30000000 allows fewer" in error
    assert peak < 20e6


def test_a_zip_whose_directory_lies_is_unpacked_no_further_than_it_says(
    one: CocoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (one.images / "1.png").read_bytes() + bytes(60_000_000)
    archive = zipped(one, data)
    content = archive.read_bytes()
    size = struct.pack("<I", len(data))
    assert content.count(size) >= 2
    archive.write_bytes(content.replace(size, struct.pack("<I", 5000)))
    flags = [*flags_of(one), f"--image_dir={archive}"]
    peak = peak_of(lambda: main_of(data_convert, *flags))
    assert "1.png unpacks to more than the 5,000 bytes of the directory" in capsys.readouterr().err
    assert peak < 20e6


def test_a_gzipped_json_is_counted_while_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "results.json.gz"
    path.write_bytes(gzip.compress(b"[" + b" " * 100_000_000 + b"]"))

    def refused() -> None:
        with pytest.raises(DataError, match="unpack to more than 1,000,000"):
            read_json(path, "detections", max_bytes=1_000_000)

    assert peak_of(refused) < 10e6
    truth = tmp_path / "truth.json.gz"
    truth.write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="--max_unpacked_bytes with a larger number"):
        read_ground_truth(truth, max_bytes=1_000_000)
    for named in ("--detections", "--ground_truth"):
        other = tmp_path / "other.json"
        other.write_text("[]")
        flags = {"--detections": str(other), "--ground_truth": str(other)} | {named: str(path)}
        argv = [f"{name}={value}" for name, value in flags.items()]
        assert evaluate.main([*argv, "--max_unpacked_bytes=1000000", "--no_report"]) == 2
        said = capsys.readouterr().err
        assert named == "--ground_truth" or "this is a" in said or "unpack to more" in said
    path.write_bytes(gzip.compress(b"[]" + b" " * 998))
    assert read_json(path, "detections", max_bytes=1000) == []


@pytest.mark.parametrize("encoded", [png(30, 40), bmp(30, 40), gif(30, 40)])
def test_headers_of_every_format_are_looked_at_before_pixels(encoded: bytes) -> None:
    with pytest.raises(TooLarge, match="is of 30 x 40 pixels"), opened_image(encoded, 1199):
        pass
    with opened_image(encoded, 1200) as image:
        assert image.size == (30, 40)


def test_headers_that_claim_more_than_pillow_would_take_are_read(tmp_path: Path) -> None:
    with opened_image(bmp(30_000, 30_000), max_pixels=None) as image:
        assert image.size == (30_000, 30_000)
    with pytest.raises(TooLarge):
        opened_image(bmp(30_000, 30_000)).__enter__()


def records_of(folder: Path, encoded: bytes, size: tuple[int, int], **more: Any) -> None:
    image = AnnotatedImage(
        source_id="7", filename="7.png", height=size[0], width=size[1], image_format="png",
        encoded_image=encoded, boxes=np.array([[0.1, 0.1, 0.5, 0.5]], np.float32),
        class_ids=np.array([1]), class_names=("person",), is_crowd=np.zeros(1, np.bool_), **more,
    )  # fmt: skip
    write_records(folder / "train-00000-of-00001.tfrecord", [image.to_example()])
    (folder / "label_map.pbtxt").write_text(LABEL_MAP)


def test_show_draws_a_message_instead_of_too_many_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records_of(tmp_path, png(20_000, 20_000), (20_000, 20_000))
    output = tmp_path / "show"
    argv = [f"--data={tmp_path}", f"--output_dir={output}", "--draws=0"]
    peak = peak_of(lambda: main_of(data_show, *argv))
    assert (output / "records_train.png").exists()
    assert peak < 100e6


def test_check_names_the_limit_and_its_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = png(90, 80)
    records_of(tmp_path, png(90, 80), (80, 90), masks_png=(mask,))
    argv = [f"--data={tmp_path}", "--workers=1"]
    assert data_check.main([*argv, "--max_image_pixels=7199"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "is of 90 x 80 pixels, 7,200 in all; --max_image_pixels=7199" in text
    assert data_check.main([*argv, "--max_image_pixels=7200"]) == 0
    assert "7,200 in all" not in capsys.readouterr().out


def test_pictures_of_an_evaluation_leave_out_what_is_too_large_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(png(60, 40))
    box = {"category_id": 1, "bbox": [2, 3, 20, 10]}
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 60} for i in (1, 2)],
        "annotations": [{"id": i, "image_id": i, "area": 200, **box} for i in (1, 2)],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps([{"image_id": 1, "score": 0.5, **box}]))
    argv = ["--detections=found.json", "--ground_truth=truth.json", "--images=.", "--resamples=0"]
    assert evaluate.main([*argv, "--max_image_pixels=2399"]) == 0
    assert "1.png is not shown: it is of 60 x 40 pixels" in capsys.readouterr().err
    assert not list(tmp_path.glob("results/*/pictures/*"))
    assert evaluate.main([*argv, "--name=again"]) == 0
    assert "not shown" not in capsys.readouterr().err
    assert list(tmp_path.glob("results/again/pictures/*.png"))


def test_boxes_far_away_are_drawn_without_an_image_of_that_size() -> None:
    tile = Tile(
        image=0, title="", note="", objects=(DrawnObject((0, 0, 1e9, 3e8), "far", "missed"),),
        detections=(),
    )  # fmt: skip
    page = Page(name="worst", title="", tiles=(tile,))
    assert render_page(page, {}).startswith(b"\x89PNG")


def test_pillow_opens_images_in_one_place_only() -> None:
    package = Path(odapi_repro.__file__).parent
    opening = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "Image.open(" in path.read_text(encoding="utf-8")
    ]
    assert opening == ["datasets/image_file.py"]
    assert Image.MAX_IMAGE_PIXELS is None, "its own check has no flag"


def test_a_record_that_claims_more_bytes_than_its_file_has_takes_no_memory(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**62)
    path = tmp_path / "one.tfrecord"
    path.write_bytes(length + struct.pack("<I", masked_crc32c(length)) + bytes(100))

    def refused() -> None:
        with pytest.raises(DataError, match="truncated TFRecord"):
            list(read_records(path))

    assert peak_of(refused) < 1e6
