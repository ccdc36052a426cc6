from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.manifest import Confidence, Thresholds
from edge_runtime.workshop.calibrate import UNKNOWN, answer, fit_confidence, fit_thresholds, temperature
from edge_runtime.workshop.crops import CropSet, frame_of
from edge_runtime.workshop.labels import BLOCKED, softmax
from edge_runtime.workshop.measure import balanced, calibration_error, figures, table

N = 6000


def made(sharpness: float | NDArray[np.float32] = 1.0, severity: int = 0, seed: int = 0) -> CropSet:
    rng = np.random.default_rng(seed)
    label = rng.choice(4, N, p=(0.4, 0.25, 0.25, 0.1)).astype(np.int8)
    one, nothing = np.ones(N, np.float32), np.zeros(N, np.float32)
    blank = np.zeros((N, 1, 1, 3), np.uint8)
    return CropSet(
        references=blank[:1],
        current=blank,
        slot=np.zeros(N, np.int32),
        label=label,
        covered=nothing,
        condition=np.full(N, "lab" if severity == 0 else "defocus"),
        severity=np.full(N, severity, np.int8),
        shelf=np.full(N, "a"),
        usable=np.ones(N, bool),
        inside=one,
        density=one,
        saturated=nothing,
        sharpness=one * np.float32(sharpness) if isinstance(sharpness, float) else sharpness,
        noise=nothing,
    )


def overconfident(crops: CropSet, factor: NDArray[np.floating] | float, seed: int = 1) -> NDArray[np.float32]:
    """Logits whose softmax is right at temperature `factor`: the label is drawn from it."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2.5, (N, 4))
    shares = softmax(honest)
    drawn = (shares.cumsum(1) > rng.random((N, 1))).argmax(1)
    crops.label[:] = drawn
    return (honest * np.reshape(factor, (-1, 1))).astype(np.float32)


def test_the_base_temperature_is_found() -> None:
    crops = made()
    found = fit_confidence(overconfident(crops, 3.0), crops)
    assert np.exp(found.base) == pytest.approx(3.0, rel=0.1)


def test_a_blurred_view_gets_its_own_temperature() -> None:
    sharpness = np.where(np.arange(N) % 2, 1.0, 0.5).astype(np.float32)
    crops = made(sharpness)
    found = fit_confidence(overconfident(crops, np.where(sharpness < 1, 4.0, 1.5)), crops)
    assert np.exp(found.base) == pytest.approx(1.5, rel=0.15)
    assert np.exp(found.base + 0.5 * found.blur) == pytest.approx(4.0, rel=0.15)


def test_calibrated_confidence_is_believable() -> None:
    crops = made()
    logits = overconfident(crops, 3.0)
    before = answer(logits, crops, Confidence(), Thresholds(0.0, 1.0))
    after = answer(logits, crops, fit_confidence(logits, crops), Thresholds(0.0, 1.0))
    seen = crops.label != BLOCKED

    def error(answers: object) -> float:
        assert isinstance(answers, type(before))
        right = answers.probabilities.argmax(1) == crops.label
        return calibration_error(answers.confidence[seen], right[seen])

    assert error(before) > 0.10
    assert error(after) < 0.04


def test_temperature_stays_within_its_bounds() -> None:
    crops = made(0.0)
    assert temperature(Confidence(base=9.0), crops).max() == 8.0
    assert temperature(Confidence(base=-9.0), crops).min() == 0.25


def test_thresholds_answer_as_much_as_asked() -> None:
    crops = made(severity=3)
    logits = overconfident(crops, 1.0)
    found = fit_thresholds(logits, crops, Confidence(), coverage=0.9)
    said = answer(logits, crops, Confidence(), found).said
    open_to_view = (crops.label != BLOCKED) & (said != BLOCKED)
    assert np.mean(said[open_to_view] != UNKNOWN) == pytest.approx(0.9, abs=0.06)


def test_what_can_not_be_seen_is_unknown() -> None:
    crops = made()
    logits = np.zeros((N, 4), np.float32)
    logits[np.arange(N), crops.label] = 20.0
    crops.usable[:10] = False
    crops.inside[10:20] = 0.1
    said = answer(logits, crops, Confidence(), Thresholds(0.5, 0.5)).said
    assert (said[:10] == UNKNOWN).all()
    assert (said[20:] == crops.label[20:]).all()
    assert set(said[10:20].tolist()) <= {UNKNOWN, BLOCKED}


def test_balanced_accuracy_weighs_classes_alike() -> None:
    truth = np.array([0] * 98 + [1, 2])
    assert balanced(truth, np.zeros(100, int)) == pytest.approx(1 / 3)


def test_unknown_counts_as_wrong_but_not_among_the_answered() -> None:
    crops = made()
    logits = np.zeros((N, 4), np.float32)
    logits[np.arange(N), crops.label] = 20.0
    crops.usable[: N // 2] = False
    found = figures(crops, answer(logits, crops, Confidence(), Thresholds(0.5, 0.5)), np.ones(N, bool))
    assert found.answered == 1.0
    assert found.accuracy == pytest.approx(0.5, abs=0.03)
    assert found.coverage == pytest.approx(0.5, abs=0.03)
    assert found.confident_errors == 0.0


def test_the_table_has_lab_severities_and_conditions() -> None:
    crops = made(severity=3)
    found = table(crops, answer(np.zeros((N, 4), np.float32), crops, Confidence(), Thresholds(0.0, 1.0)))
    assert list(found) == ["lab", "all S3", "defocus S3"]
    assert np.isnan(found["lab"].accuracy)


def test_frames_are_told_apart_by_their_slots() -> None:
    crops = made().only(np.arange(7))
    crops.slot[:] = (0, 1, 2, 0, 1, 1, 2)
    assert frame_of(crops).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_a_frame_that_is_unsure_as_a_whole_keeps_only_sure_answers() -> None:
    crops = made().only(np.arange(6))
    crops.slot[:] = (0, 1, 2, 0, 1, 2)
    sure, likely, torn = [9.0, 0, 0, -9], [2.5, 0, 0, -9], [0.3, 0, 0, -9]
    logits = np.array([sure, likely, torn, sure, likely, sure], np.float32)
    limits = Thresholds(answer=0.6, blocked=0.5, view=0.88, sure=0.98)
    assert answer(logits, crops, Confidence(), limits).said.tolist() == [0, UNKNOWN, UNKNOWN, 0, 0, 0]


def test_views_are_trusted_as_often_as_asked() -> None:
    crops = made(severity=3, seed=5)
    crops.slot[:] = np.arange(N) % 20
    logits = overconfident(crops, 1.0)
    found = fit_thresholds(logits, crops, Confidence(), coverage=0.985, trusted=0.95)
    assert 0.4 <= found.answer <= 0.9
    said = answer(logits, crops, Confidence(), found).said
    loose = answer(logits, crops, Confidence(), Thresholds(answer=found.answer, blocked=found.blocked)).said
    assert 0.02 < np.mean(loose != said) < 0.08


@pytest.mark.parametrize(("right_until", "limit"), [(0.3, 0.35), (0.5, 0.45), (1.0, 0.65)])
def test_glare_is_answered_as_far_as_answers_are_right(right_until: float, limit: float) -> None:
    crops = made(severity=3, seed=7)
    crops.slot[:] = np.arange(N) % 20
    crops.saturated[:] = np.linspace(0, 1, N)
    crops.label[:] = np.arange(N) % 3
    said = np.where(crops.saturated <= right_until, crops.label, (crops.label + 1) % 3)
    logits = np.zeros((N, 4), np.float32)
    logits[np.arange(N), said] = 3.0
    logits[:, BLOCKED] = -9.0
    assert fit_thresholds(logits, crops, Confidence()).saturated == limit
