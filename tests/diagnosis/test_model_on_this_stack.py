"""A model is called impossible for the TensorFlow that is installed, and for no other."""

from __future__ import annotations

import pytest

from odapi_repro.diagnosis.finding import Finding
from odapi_repro.diagnosis.outcome import diagnose, subject_of
from odapi_repro.diagnosis.rules.config import required_parts
from odapi_repro.pipeline import set_field
from odapi_repro.reference import reference_named


def found(extractor: str) -> list[Finding]:
    reference = reference_named("centernet_resnet101_v1_fpn_512")
    field = "model.center_net.feature_extractor.type"
    pipeline = reference.pipeline().edited(lambda proto: set_field(proto, field, extractor))
    subject = subject_of(pipeline.to_text(), "my.config", reference=reference)
    return list(diagnose(subject, [required_parts.ModelOnThisStack()]))


@pytest.mark.parametrize(
    ("installed", "severity", "said"),
    [
        ((2, 20), "fatal", "TensorFlow 2.20, which is installed, cannot build"),
        ((2, 13), "fatal", "TensorFlow 2.13, which is installed, cannot build"),
        (None, "warning", "TensorFlow 2.13 and later cannot build"),
    ],
)
def test_a_small_resnet_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch,
    installed: tuple[int, int] | None,
    severity: str,
    said: str,
) -> None:
    monkeypatch.setattr(required_parts, "_tensorflow", lambda: installed)
    (finding,) = found("resnet_v1_18_fpn")
    assert finding.severity.word == severity
    assert said in finding.found


def test_an_older_tensorflow_builds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(required_parts, "_tensorflow", lambda: (2, 12))
    assert found("resnet_v1_34_fpn") == []


def test_weights_are_fetched_on_every_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(required_parts, "_tensorflow", lambda: (2, 12))
    (finding,) = found("mobilenet_v2_fpn_sep_conv")
    assert finding.cause == "backbone_weights_downloaded"
