"""A view in, scores out; and a golden set that tells a good model from another one."""

from __future__ import annotations

import numpy as np
import pytest
from lifecycle.bundles import golden, manifest_of, model_bytes

from edge_runtime.errors import ModelFault
from edge_runtime.inference.classifier import SlotClassifier
from edge_runtime.inference.probe import check_golden, measure_latency, probe_model
from edge_runtime.inference.session import open_session
from edge_runtime.records import (
    ANSWERS,
    Frame,
    Image,
    Light,
    Registration,
    RegistrationStatus,
    SlotQuality,
    State,
    View,
)


def view_of(crops: Image) -> View:
    ones = np.ones(len(crops), np.float32)
    return View(
        frame=Frame("cam", 0, crops[0], 0.0, 0.0),
        registration=Registration(RegistrationStatus.OFF, None),
        light=Light(False),
        crops=crops,
        quality=SlotQuality(ones, 0 * ones, ones),
        sharpness=1.0,
        noise=0.0,
        ms={},
    )


def classifier_for(behaviour: str, reference: Image) -> SlotClassifier:
    session = open_session(model_bytes(behaviour), manifest_of())
    return SlotClassifier(session, manifest_of(), "ab" * 32, reference)


def test_identical_crops_are_stocked_and_changed_ones_are_not() -> None:
    reference = golden()["reference"]
    current = reference.copy()
    current[3] += 40
    scores = classifier_for("good", reference).infer(view_of(current))
    best = [ANSWERS[column] for column in scores.probabilities.argmax(axis=1)]
    assert best[0] is State.STOCKED and best[3] is State.EMPTY
    assert scores.probabilities.shape == (8, 3) and scores.blocked.shape == (8,)
    assert scores.model.sha256 == "ab" * 32 and scores.ms["infer"] > 0


@pytest.mark.parametrize("behaviour", ["nan", "crash"])
def test_a_misbehaving_model_raises_for_the_guard(behaviour: str) -> None:
    reference = golden()["reference"]
    with pytest.raises(ModelFault):
        classifier_for(behaviour, reference).infer(view_of(reference))


def test_another_number_of_slots_than_was_commissioned_is_the_callers_fault() -> None:
    reference = golden()["reference"]
    with pytest.raises(ValueError, match="8 reference crops"):
        classifier_for("good", reference).infer(view_of(reference[:5]))


def test_the_golden_set_passes_for_its_own_model_only() -> None:
    report = check_golden(open_session(model_bytes(), manifest_of()), manifest_of(), golden())
    assert report.passed and report.count == 8 and report.agreement == 1.0
    with pytest.raises(ModelFault, match="golden set with an error"):
        probe_model(model_bytes(), manifest_of(), golden("golden_off"))
    with pytest.raises(ModelFault, match="golden set with an error"):
        probe_model(model_bytes("always_empty"), manifest_of(), golden())


@pytest.mark.parametrize("member", ["current", "reference", "logits", "tolerance"])
def test_a_golden_set_that_does_not_fit_is_a_model_fault(member: str) -> None:
    parts = golden()
    missing = {name: array for name, array in parts.items() if name != member}
    odd = {**parts, member: np.full(3, np.nan)}
    for broken in (missing, odd):
        with pytest.raises(ModelFault, match=member):
            probe_model(model_bytes(), manifest_of(), broken)


def test_the_tolerance_may_be_named_for_what_it_bounds() -> None:
    parts = golden()
    parts["tolerance_logits"] = parts.pop("tolerance")
    assert probe_model(model_bytes(), manifest_of(), parts).passed


def test_latency_is_measured_over_the_asked_slots() -> None:
    latency = measure_latency(open_session(model_bytes(), manifest_of()), manifest_of(), slots=4, rounds=3)
    assert latency.slots == 4 and 0 < latency.median_ms <= latency.p95_ms
