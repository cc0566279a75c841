"""A text that is not UTF-8: where it stops being so, and what it was probably written in."""

# ruff: noqa: RUF001 - the letters that look like others are what this is about

from __future__ import annotations

import codecs

import pytest

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import load_pipeline
from odapi_repro.pipeline.text_encoding import look_at_encoding

WRITTEN = {
    "cp949": (
        "# 학습률을 낮췄다",
        'input_path: "C:/사용자/데이터/train.record"',
        "# 배치 2는 너무 작음 GPU 메모리 부족",
        'label_map_path: "D:/객체검출/라벨맵.pbtxt"',
        "# 김철수",
    ),
    "cp936": (
        "# 学习率",
        'input_path: "D:/数据/训练/train.record"',
        "# 测试",
        'fine_tune_checkpoint: "D:/毕业设计/模型/ckpt-0"',
        "# 注意：显存不够",
    ),
    "cp932": (
        "# 学習率を下げた",
        'input_path: "C:/ユーザー/デスクトップ/train.record"',
        "# テスト用データ",
        'input_path: "D:/学習/画像/表.record"',  # the second byte of the last one is a backslash
    ),
    "cp1251": (
        "# скорость обучения",
        'input_path: "C:/Пользователи/Иван/данные/train.record"',
        "# ТУТ НЕ ТРОГАТЬ",
        "# тест",
    ),
    "cp1252": (
        "# größer",
        'input_path: "C:/Users/José/datos/train.record"',
        "# données à moi – l’essai",
        "# für die Größe",
        "# 5 µm, 30°",
    ),
    "cp1250": ("# zmieniłem współczynnik", 'input_path: "C:/Users/Łukasz/dane"'),
    "cp1254": ("# eğitim verisi küçük", 'input_path: "C:/Çağrı/görüntü"'),
    "cp1253": ("# ρυθμός μάθησης", "# δεδομένα"),
}


def escaped(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("encoding", "line"), [(name, line) for name, lines in WRITTEN.items() for line in lines]
)
def test_a_line_is_read_as_it_was_written(encoding: str, line: str) -> None:
    data = b"model {\n  " + line.encode(encoding) + b"\n}\n"
    found = look_at_encoding(escaped(data))
    assert found is not None
    assert found.text == f"model {{\n  {line}\n}}\n"
    assert found.sample == line
    assert (found.line, found.lines) == (2, 1)
    assert data[found.offset] == found.byte >= 0x80
    assert data.split(b"\n")[1][found.column - 1] == found.byte


@pytest.mark.parametrize("encoding", list(WRITTEN))
def test_a_whole_file_names_its_encoding(encoding: str) -> None:
    text = "\n".join(WRITTEN[encoding])
    found = look_at_encoding(escaped(text.encode(encoding)))
    assert found is not None
    assert (found.encoding, found.text) == (encoding, text)


@pytest.mark.parametrize(
    "data",
    [
        "# 學習率 資料 訓練".encode("big5"),
        "# скорость обучения".encode("koi8-r"),
        "# معدل التعلم".encode("cp1256"),
        "# אימון".encode("cp1255"),
        b"# \x81\xff\x8d \xa0",
        b"# \xc3(",
    ],
)
def test_where_nothing_fits_nothing_is_guessed(data: bytes) -> None:
    found = look_at_encoding(escaped(data))
    assert found is not None
    assert found.encoding == ""
    assert "iconv" in found.mend("my.config")


def test_lines_in_utf8_are_read_as_such_beside_others() -> None:
    data = "# 학습률, größer\n".encode() + "# größer\n".encode("cp1252")
    found = look_at_encoding(escaped(data))
    assert found is not None
    assert (found.encoding, found.line) == ("cp1252", 2)
    assert found.text == "# 학습률, größer\n# größer\n"


def test_utf8_with_and_without_a_mark_is_none_of_this() -> None:
    for text in ("model { }", "# 학습률 größer", "\ufeff# größer", "# \ufffd"):
        assert look_at_encoding(text) is None


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf16_is_known_by_its_mark(mark: bytes) -> None:
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    found = look_at_encoding(escaped(mark + "model { }\r\n# 학습\r\n".encode(encoding)))
    assert found is not None
    assert (found.encoding, found.text) == (encoding, "model { }\r\n# 학습\r\n")


@pytest.mark.parametrize("encoding", ["cp949", "cp936", "cp932", "cp1251", "cp1252", "utf-16"])
def test_who_needs_utf8_gets_one_message_with_the_place_and_the_way(encoding, tmp_path) -> None:
    path = tmp_path / "my.config"
    line = WRITTEN.get(encoding, ("# x",))[0]
    path.write_bytes(f"model {{ ssd {{ }} }}\n{line}\n".encode(encoding))
    with pytest.raises(ConfigError, match="not UTF-8, at which the OD API stops") as caught:
        load_pipeline(path)
    assert str(caught.value).startswith(f"{path}:")
    assert f"python -m odapi_repro.fix {path}" in caught.value.mend
