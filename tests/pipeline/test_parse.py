"""Reading a pipeline.config: what is wrong with it is said with its place, nothing else escapes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline import Pipeline, load_pipeline, parse_pipeline
from odapi_repro.pipeline.parse import MAX_CONFIG_BYTES

EFFICIENTDET = Path(__file__).parents[2] / "pipelines" / "effdet_d3.config"
TEXT = EFFICIENTDET.read_bytes()


def refused(path: Path, data: bytes | None = None) -> ConfigError:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_pipeline(path)
    assert caught.value.where.startswith(str(path))
    return caught.value


def test_a_valid_config_reads_as_its_proto_and_writes_back_to_it() -> None:
    pipeline = load_pipeline(EFFICIENTDET)
    assert pipeline.meta_architecture == "ssd"
    assert pipeline.num_classes == 90
    assert not pipeline.predicts_masks
    assert parse_pipeline(pipeline.to_text()).proto == pipeline.proto


def test_editing_gives_a_copy_and_leaves_the_original() -> None:
    pipeline = load_pipeline(EFFICIENTDET)
    edited = pipeline.edited(lambda proto: setattr(proto.train_config, "batch_size", 2))
    assert (pipeline.proto.train_config.batch_size, edited.proto.train_config.batch_size) == (
        128,
        2,
    )


def test_a_missing_file_names_the_configs_beside_it(tmp_path: Path) -> None:
    (tmp_path / "effdet_d3.config").write_bytes(TEXT)
    error = refused(tmp_path / "efdet_d3.config")
    assert "no such pipeline.config" in error.found
    assert f"did you mean '{tmp_path / 'effdet_d3.config'}'" in error.mend


def test_a_missing_folder_is_a_missing_file(tmp_path: Path) -> None:
    assert "no such" in refused(tmp_path / "nowhere" / "a.config").found


def test_a_name_longer_than_the_system_allows_is_a_missing_file(tmp_path: Path) -> None:
    assert "no such" in refused(tmp_path / ("x" * 300)).found


def test_a_folder_is_refused_with_the_file_in_it(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert "folder" in error.found
    assert "pipeline.config" not in error.mend
    (tmp_path / "my.config").write_bytes(TEXT)
    assert f"found there: {tmp_path / 'my.config'}" in refused(tmp_path).mend


@pytest.mark.parametrize("data", [b"\x80\x81\x82 checkpoint", TEXT[:100] + b"\0" + TEXT[100:]])
def test_a_binary_is_no_text(tmp_path: Path, data: bytes) -> None:
    assert "not a text" in refused(tmp_path / "a.config", data).found


def test_more_than_10_mb_is_refused_unread_and_10_mb_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.config"
    padding = b"#" * (MAX_CONFIG_BYTES - len(TEXT) - 1) + b"\n"
    path.write_bytes(padding + TEXT)
    assert load_pipeline(path).meta_architecture == "ssd"
    assert "at most 10 MB" in refused(path, b" " + padding + TEXT).expected


@pytest.mark.parametrize("data", [b"", b"# only a comment\n", b"train_config { batch_size: 2 }"])
def test_a_config_without_a_model_says_so(tmp_path: Path, data: bytes) -> None:
    assert "describes no model" in refused(tmp_path / "a.config", data).found


def test_an_unknown_field_is_named_with_line_column_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a.config"
    error = refused(path, b"model { ssd { } }\ntrain_config {\n  batch_sise: 2\n}\n")
    assert error.where == f"{path}:3:3"
    assert "'batch_sise' is no field of TrainConfig" in error.found
    assert "did you mean 'batch_size'?" in error.mend


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"model {\n  ssd {\n", ":"),
        (b"model { ssd { } }\ntrain_config { batch_size: two }\n", ":2:28"),
        (b"model { ssd { } }\ntrain_config { batch_size: 1 batch_size: 2 }\n", ":2:42"),
        (b"model { ssd { } }\n}\n", ":2:1"),
    ],
)
def test_a_syntax_error_has_its_line_and_column(tmp_path: Path, data: bytes, place: str) -> None:
    path = tmp_path / "a.config"
    assert refused(path, data).where.startswith(f"{path}{place}")


def _mutate(text: bytes, cuts: list[tuple[int, int, bytes]], end: int) -> bytes:
    data = bytearray(text)
    for start, length, inserted in cuts:
        at = start % (len(data) + 1)
        data[at : at + length] = inserted
    return bytes(data[: end % (len(data) + 1)] if end % 3 else data)


@settings(max_examples=120, deadline=None)
@given(
    cuts=st.lists(
        st.tuples(
            st.integers(0, len(TEXT)),
            st.integers(0, 40),
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from(
                    [b"{", b"}", b"[", b"<", b'"', b"\\", b":", b"-", b"1e999", b"[a.b/c]"]
                ),
            ),
        ),
        max_size=4,
    ),
    end=st.integers(0, len(TEXT)),
)
def test_a_damaged_config_is_a_pipeline_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int, bytes]], end: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.config"
    path.write_bytes(_mutate(TEXT, cuts, end))
    outcome: object
    try:
        outcome = load_pipeline(path)
    except ConfigError as error:
        outcome = error.where.partition(":")[0]
    assert isinstance(outcome, Pipeline) or outcome == str(path)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["model", "ssd", "train_config", "batch_size", "{", "}", ":", "<", ">", "[", "]", "1",
             "-1", "1.5", "nan", '"x', "'y'", "\\377", '"\\377"', "#", "\n", "type", "extensions",
             "9" * 5000, "{" * 500, "fine_tune_checkpoint:", "model{ssd{", "num_classes:"]
        ),
        max_size=12,
    ).map(" ".join)
)  # fmt: skip
def test_any_sequence_of_tokens_is_a_pipeline_or_a_config_error(text: str) -> None:
    try:
        outcome = parse_pipeline(text).meta_architecture
    except ConfigError as error:
        outcome = error.found
    assert outcome


@pytest.mark.parametrize(
    "text", ["model { ssd { " * 3000, 'model { ssd { feature_extractor { type: "\\377" } } }']
)
def test_deep_nesting_and_bytes_that_are_no_utf8_are_config_errors(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_pipeline(text)


def test_a_line_however_long_is_quoted_by_its_beginning_only() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pipeline('{"images": [' + "1, " * 20_000 + "]}", "results.json")
    assert len(str(caught.value)) < 700
