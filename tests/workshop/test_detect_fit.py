"""A detector's confidence is fitted to what labelled shelves say of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import Refused
from edge_runtime.layout import write_layout
from edge_runtime.records import Slot
from edge_runtime.workshop.detect_fit import Seen, fit_detector, fit_to
from edge_runtime.workshop.field_bench.dataset import read_bench
from tests.inference.detect.graphs import manifest_of, model_bytes


def seen_of(temperature: float, count: int = 4000) -> Seen:
    """Slots whose truth is as sure as their shares are at this temperature."""
    random = np.random.default_rng(4)
    shares = random.dirichlet([0.5, 0.5, 0.5], count)
    logits = np.log(np.maximum(shares, 1e-7)) / temperature
    real = np.exp(logits - logits.max(1, keepdims=True))
    real /= real.sum(1, keepdims=True)
    truth = (random.random((count, 1)) > np.cumsum(real, 1)).sum(1).clip(0, 2)
    covariates = np.zeros((count, 5))
    covariates[:, 0] = 1.0
    return Seen(shares, covariates, truth)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_the_truth_was_made_with_is_found(temperature: float) -> None:
    fitted = fit_to(seen_of(temperature))
    assert np.exp(fitted.confidence.base) == pytest.approx(temperature, rel=0.12)
    assert fitted.loss_after <= fitted.loss_before


def test_a_worse_view_lowers_confidence_where_it_was_wrong_there() -> None:
    sharp, blurred = seen_of(1.0), seen_of(4.0)
    blurred.covariates[:, 1] = 0.5
    both = Seen(*(np.concatenate([getattr(sharp, name), getattr(blurred, name)]) for name in Seen.__slots__))
    found = fit_to(both).confidence
    assert np.exp(found.base) == pytest.approx(1.0, rel=0.15)
    assert np.exp(0.5 * found.blur) == pytest.approx(4.0, rel=0.25)


def dataset(folder: Path, frames: int) -> Path:
    """One shelf of twelve slots with a textured back; empty ones are dark, stocked ones bright, as the detector knows them."""
    shelf = folder / "shelves" / "a"
    (shelf / "frames").mkdir(parents=True)
    (folder / "dataset.json").write_text('{"format": "field-dataset/1"}')
    random = np.random.default_rng(7)
    back = cv2.resize(random.integers(60, 190, (60, 80, 3), np.uint8), (960, 720), interpolation=cv2.INTER_NEAREST)
    corners = [(20 + 235 * (k % 4), 20 + 235 * (k // 4)) for k in range(12)]
    slots = tuple(
        Slot(f"s{k}", "sku", ((x, y), (x + 150, y), (x + 150, y + 150), (x, y + 150)))
        for k, (x, y) in enumerate((float(x), float(y)) for x, y in corners)
    )
    cv2.imwrite(str(shelf / "reference.jpg"), back)
    write_layout(shelf / "layout.json", "reference.jpg", (960, 720), slots)
    lines = ["frame,condition,severity,slot,state,covered"]
    for frame in range(frames):
        picture = np.asarray(back).copy()
        for k, (x, y) in enumerate(corners):
            empty = bool(random.random() < 0.5)
            picture[y : y + 150, x : x + 150] = 15 if empty else 225
            lines.append(f"f{frame},lab,0,s{k},{'empty' if empty else 'stocked'},0.0")
        cv2.imwrite(str(shelf / "frames" / f"f{frame}.jpg"), picture)
    (shelf / "truth.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_detector_that_is_right_becomes_surer(tmp_path: Path) -> None:
    done: list[int] = []
    shelves = read_bench(dataset(tmp_path, 10))
    fitted = fit_detector(model_bytes("yolov8"), manifest_of("yolov8"), shelves, done.append)
    assert fitted.slots == 120 and done == list(range(1, 11))
    assert fitted.confidence.base < 0 and fitted.loss_after < fitted.loss_before < 0.5


def test_too_little_to_fit_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="labelled slots"):
        fit_detector(model_bytes("yolov8"), manifest_of("yolov8"), read_bench(dataset(tmp_path, 2)))
