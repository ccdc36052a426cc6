from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import Refused
from edge_runtime.manifest import Confidence, Thresholds
from edge_runtime.workshop.calibrate import answer
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.evidence import drift_reference, golden
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.strips import choose_pairs, read_strips, write_strips


def clear(crops: CropSet) -> np.ndarray:
    logits = np.zeros((len(crops), 4), np.float32)
    logits[np.arange(len(crops)), crops.label] = 6.0
    return logits


def test_golden_pairs_are_clear_cases_of_every_label(crops: CropSet) -> None:
    logits = clear(crops)
    with np.load(io.BytesIO(golden(crops, logits, logits, seed=1)), allow_pickle=False) as vectors:
        assert vectors["current"].shape == vectors["reference"].shape == (12, 64, 64, 3)
        assert np.bincount(vectors["logits"].argmax(1)).tolist() == [3, 3, 3, 3]
        assert np.allclose(vectors["probabilities"].sum(1), 1)
    assert golden(crops, logits, logits, seed=1) == golden(crops, logits, logits, seed=1)


def test_a_model_without_a_clear_case_of_a_label_gets_no_golden_pairs(crops: CropSet) -> None:
    logits = clear(crops)
    logits[crops.label == LABELS.index("low")] = 0.0
    with pytest.raises(Refused, match="no clear case of low"):
        golden(crops, logits, logits, seed=1)


@pytest.mark.parametrize("size", [(33, 48), (32, 50)])
def test_a_strip_of_another_shape_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    cv2.imwrite(str(tmp_path / "pairs-00.png"), np.zeros((*size, 3), np.uint8))
    with pytest.raises(Refused, match=f"{size[1]}x{size[0]}"):
        read_strips(tmp_path)


def test_reference_histograms_sum_to_one(crops: CropSet) -> None:
    logits = clear(crops)
    answers = answer(logits, crops, Confidence(), Thresholds(0.5, 0.5))
    with np.load(io.BytesIO(drift_reference(crops, logits, answers)), allow_pickle=False) as found:
        names = [name for name in found if not name.endswith("edges")]
        assert {name.split("_")[0] for name in names} == {"lab", "field"}
        for name in names:
            assert found[name].sum() == np.float32(1.0) or abs(found[name].sum() - 1) < 1e-5


def test_strips_keep_pairs_exactly(crops: CropSet, tmp_path: Path) -> None:
    pairs = choose_pairs(crops, 20, seed=2)
    write_strips(tmp_path, pairs)
    back = read_strips(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert all(np.array_equal(a, b) for a, b in zip(pairs, back, strict=True))


def test_chosen_pairs_hold_lab_and_field_alike(crops: CropSet) -> None:
    chosen, _ = choose_pairs(crops, 32, seed=2)
    lab = {crop.tobytes() for crop in crops.current[crops.severity == 0]}
    assert sum(crop.tobytes() in lab for crop in chosen) == 16
