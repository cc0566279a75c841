"""A wrong flag is refused before anything is printed or made: stdout and disk stay as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from odapi_repro import __main__ as entry

PIPELINES = Path(__file__).resolve().parents[1] / "pipelines"
D3 = str(PIPELINES / "effdet_d3.config")
MASK = str(PIPELINES / "mask_rcnn.config")

RUN = ["run", D3]
ABLATE = [*RUN, "--ablate=batch_size"]
SANITY = [*RUN, "--sanity"]
EXPLAIN = ["explain", "mine.config", "--reference=efficientdet_d3"]
SHOW = ["data", "show", "--data=embedded"]
CHECK = ["data", "check", "--data=embedded"]

WRONG = [
    # levels and factors
    ([*ABLATE, "--levels=2,foo"], "'foo' is no level of batch_size"),
    ([*ABLATE, "--levels=0"], "level '0' of batch_size comes to 0"),
    ([*ABLATE, "--levels=warmup=2"], "not among --ablate"),
    ([*ABLATE, "--levels=,"], "holds no level"),
    ([*ABLATE, "--at=warmup=much"], "'much' is no level of warmup"),
    ([*ABLATE, "--at=lr=2x"], "did you mean 'learning_rate'"),
    ([*ABLATE, "--at=batch_size"], "names no level"),
    ([*RUN, "--ablate=image_size"], "no factor varies the input size"),
    ([*RUN, "--ablate=rois_per_image"], "rois_per_image does not apply"),
    ([*RUN, "--ablate=train_shards", "--levels=1000"], "train_shards"),
    ([*RUN, "--ablate=lr_scaling", "--levels=linaer"], "did you mean 'linear'"),
    ([*RUN, "--ablate=label_noise", "--levels=wrong:2"], "label_noise"),
    ([*RUN, "--ablate=sync_replicas", "--levels=3"], "cannot be shared by 3 replicas"),
    (RUN, "no factor was named"),
    # one flag against another, names, folders, devices
    ([*ABLATE, "--name=../x"], "cannot be the name of a study"),
    ([*ABLATE, "--runs_dir=/dev/null/x"], "not a folder"),
    ([*ABLATE, "--device=tpu"], "number of its cores"),
    ([*ABLATE, "--checkpoint=nowhere/ckpt-0"], "cannot hold its weights"),
    ([*ABLATE, "--scale=full", "--checkpoint=nowhere/ckpt-0"], "no checkpoint nowhere/ckpt-0"),
    ([*ABLATE, "--eval_records=val*"], "without --train_records"),
    ([*ABLATE, "--label_map=mine.pbtxt"], "--label_map is given with --data embedded"),
    ([*ABLATE, "--data=embeded"], "did you mean 'embedded'"),
    ([*ABLATE, "--sample_1_of_n_eval_examples=0"], "sample_1_of_n_eval_examples"),
    ([*ABLATE, "--pipeline==x"], "two equals signs"),
    # what absl refuses
    ([*ABLATE, "--seeds=0"], "seeds"),
    ([*ABLATE, "--steps=many"], "steps"),
    ([*ABLATE, "--scale=tiny"], "scale"),
    ([*ABLATE, "--however_lnog"], "did you mean 'however_long'"),
    # without training
    ([*RUN, "--ablate=nms_iou"], "no checkpoint was named"),
    ([*RUN, "--ablate=nms_iou", "--checkpoint=nowhere"], "nowhere"),
    ([*RUN, "--ablate=nms_iou", "--checkpoint=nowhere", "--seeds=2"], "--seeds"),
    # sanity
    ([*SANITY, "--at=learning_rate=high"], "'high' is no level of learning_rate"),
    ([*SANITY, "--at=nms=0.5"], "unknown factor 'nms'"),
    ([*SANITY, "--name=../x"], "cannot be the name of a study"),
    ([*SANITY, "--checkpoint=nowhere/ckpt-3"], "no checkpoint"),
    ([*SANITY, "--seeds=2"], "--seeds with --sanity"),
    ([*SANITY, "--device=tpu"], "number of its cores"),
    # explain
    ([*EXPLAIN, "--group=batch_size+colour"], "colour is not varied"),
    ([*EXPLAIN, "--hold=lr"], "did you mean 'learning_rate'"),
    ([*EXPLAIN, "--name=../x"], "cannot be the name of a study"),
    ([*EXPLAIN, "--budget=12"], "with the unit"),
    ([*EXPLAIN, "--margin=0"], "--margin 0"),
    ([*EXPLAIN, "--sd=-1"], "--sd -1"),
    ([*EXPLAIN, "--metric=mask_AP"], "predicts no masks"),
    ([*EXPLAIN, "--race", "--seeds=1"], "--race with 1"),
    ([*EXPLAIN, "--steps=0"], "steps"),
    ([*EXPLAIN, "--device=tpu"], "number of its cores"),
    # data
    ([*SHOW, "--split=test"], "split"),
    ([*SHOW, "--tile=1"], "tile"),
    ([*SHOW, "--pipeline=nowhere.config"], "no such pipeline.config"),
    ([*SHOW, "--label_map=x"], "--label_map"),
    ([*SHOW, "--only=rnig"], "did you mean 'ring'"),
    ([*CHECK, "--pipeline=nowhere.config"], "no such pipeline.config"),
    ([*CHECK, "--format=jsn"], "format"),
    ([*CHECK, "--annotations=nowhere.json"], "nowhere.json"),
    (["data", "convert", "--annotations=nowhere.json", "--output_dir=out"], "image_dir"),
    (["data", "convert", "--shards=0"], "annotations"),
    # evaluate
    (["evaluate", "--checkpoint=nowhere", "--data=embedded"], "nowhere"),
    (["evaluate", "--detections=nowhere.json", "--data=embedded"], "nowhere.json"),
    (["evaluate", "--data=embedded"], "--checkpoint"),
    (["evaluate", "mine.json", "--data=embedded", "--name=../x"], "name of an evaluation"),
    # texts
    (["diagnose", "mine.config", "--reference=efficientdet_d33"], "did you mean efficientdet_d3"),
    (["diagnose", "mine.config", "--fail_on=never_ever"], "fail_on"),
    (["diff", "mine.config", "--reference=efficientdet_d33"], "did you mean efficientdet_d3"),
    (["fix", "mine.config", "--keep=colour", "--output=out.config"], "not a factor that can be"),
    (["fix", "mine.config", "--hours=3", "--output=out.config"], "images_per_second"),
    (["zoo", "efficientdet_d33"], "did you mean efficientdet_d3"),
    (["zoo", "--effects", "data_fractoin"], "did you mean 'data_fraction'"),
    (["doctor", "--timeout_seconds=0"], "timeout_seconds"),
    (["doctor", "more"], "an argument that doctor does not take"),
]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODAPI_REPRO_CACHE", str(tmp_path / "cache"))
    text = Path(D3).read_text().replace("batch_size: 128", "batch_size: 2")
    Path("mine.config").write_text(
        text.replace("learning_rate_base: 8e-2", "learning_rate_base: 1")
    )


@pytest.mark.parametrize(("argv", "named"), WRONG, ids=[" ".join(argv) for argv, _ in WRONG])
def test_a_wrong_flag_leaves_stdout_and_the_folder_empty(
    capsys: pytest.CaptureFixture[str], argv: list[str], named: str
) -> None:
    assert entry.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in captured.err
    assert "data: " not in captured.err
    assert "Traceback" not in captured.err
    assert [path.name for path in Path().iterdir()] == ["mine.config"]
