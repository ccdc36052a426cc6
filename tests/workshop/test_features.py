"""The feature sets: numpy and ONNX say the same, and the numbers mean what their names say."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import Refused
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.features import ALONE, FEATURE_SETS, PAIR, FeatureSet, feature_set, features
from edge_runtime.workshop.features_graph import features_graph

PARITY = 2e-6


def by_graph(chosen: FeatureSet, current: np.ndarray, reference: np.ndarray) -> np.ndarray:
    size = current.shape[2], current.shape[1]
    session = ort.InferenceSession(features_graph(chosen, size).SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"current": current} | ({"reference": reference} if chosen.pair else {})
    return np.asarray(session.run(None, feeds)[0])


def by_numpy(chosen: FeatureSet, current: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return features(current, reference if chosen.pair else None)


@given(
    chosen=st.sampled_from([PAIR, ALONE]),
    rows=st.integers(1, 4),
    size=st.tuples(st.integers(2, 24), st.integers(2, 24)),
    seed=st.integers(0, 2**32 - 1),
    darkest=st.integers(0, 255),
    lightest=st.integers(0, 255),
)
@settings(max_examples=40, deadline=None)
def test_numpy_and_onnx_say_the_same(
    chosen: FeatureSet, rows: int, size: tuple[int, int], seed: int, darkest: int, lightest: int
) -> None:
    rng = np.random.default_rng(seed)
    low, high = sorted((darkest, lightest))
    shape = (2, rows, 4 * size[1], 4 * size[0], 3)
    current, reference = rng.integers(low, high + 1, shape, dtype=np.uint8)
    found, expected = by_graph(chosen, current, reference), by_numpy(chosen, current, reference)
    assert found.dtype == expected.dtype == np.float32
    assert found.shape == expected.shape == (rows, chosen.width) == (rows, len(chosen.names))
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= PARITY * max(1.0, float(np.abs(expected).max()))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_flat_crop_has_finite_features(value: int) -> None:
    crop = np.full((1, 80, 80, 3), value, np.uint8)
    for chosen in (PAIR, ALONE):
        assert np.array_equal(by_graph(chosen, crop, crop), by_numpy(chosen, crop, crop))


def test_the_same_picture_twice_correlates_and_does_not_differ(crops: CropSet) -> None:
    rows = dict(zip(PAIR.names, features(crops.references, crops.references)[0].tolist(), strict=True))
    assert rows["mean_correlation"] > 0.9
    still = [name for name in rows if name.endswith(("change", "_b", "_g", "_r")) and not name.startswith("deviation")]
    assert len(still) == 17 * 4
    assert all(rows[name] == 0 for name in still)


def test_an_emptied_slot_differs_where_it_was_emptied() -> None:
    rng = np.random.default_rng(1)
    reference = rng.integers(0, 256, (1, 80, 80, 3), np.uint8)
    current = reference.copy()
    current[:, :20, 20:40] = 30
    rows = dict(zip(PAIR.names, features(current, reference)[0].tolist(), strict=True))
    changed = {name.removesuffix("_change") for name, value in rows.items() if name.endswith("_change") and value > 0}
    assert changed - {"mean", "deviation"} == {"row0_column1"}
    assert rows["row0_column1_spread"] < rows["row0_column1_spread_reference"]


def test_a_row_does_not_depend_on_its_neighbours(crops: CropSet) -> None:
    reference = crops.reference_of(slice(None))
    together = features(crops.current, reference)
    alone = np.concatenate([features(crops.current[k : k + 1], reference[k : k + 1]) for k in range(5)])
    assert np.array_equal(together[:5], alone)


def test_names_are_unique_and_the_sets_do_not_change() -> None:
    assert {name: entry.width for name, entry in FEATURE_SETS.items()} == {"grid/1": 198, "grid-alone/1": 108}
    for entry in FEATURE_SETS.values():
        assert len(set(entry.names)) == entry.width


def test_a_brighter_flat_crop_in_numbers() -> None:
    current, reference = (np.full((1, 80, 80, 3), value, np.uint8) for value in (200, 100))
    expected = [100 / 255] * 3 + [1 / 64, 1 / 64, 0.0, 100 / 64, 0.0, 0.0, 0.0, 0.0]
    assert features(current, reference)[0, :11].tolist() == pytest.approx(expected, abs=1e-6)
    assert features(current)[0, :6].tolist() == pytest.approx([72 / 255] * 3 + [1 / 64, 0.0, 0.0], abs=1e-6)


def test_the_graph_is_the_same_bytes_each_time() -> None:
    one, two = (features_graph(PAIR, (80, 80)).SerializeToString(deterministic=True) for _ in "ab")
    assert one == two


@pytest.mark.parametrize("size", [(81, 80), (4, 4), (256, 256)])
def test_a_size_without_a_grid_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(Refused, match=f"{size[0]}x{size[1]}"):
        features_graph(PAIR, size)
    with pytest.raises(Refused, match=f"{size[0]}x{size[1]}"):
        features(np.zeros((1, size[1], size[0], 3), np.uint8))


def test_an_unknown_set_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(Refused, match="grid/2") as caught:
        feature_set("grid/2")
    assert "grid/1" in caught.value.mend
