from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.export import samples as module
from edge_runtime.workshop.export.samples import MAX_ROWS, read_samples
from edge_runtime.workshop.strips import write_strips
from workshop.small import write_vast_picture


def noise(rows: int, side: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, side, side, 3), np.uint8)


def test_without_a_wish_the_shipped_pairs_are_taken() -> None:
    found = read_samples(None)
    assert len(found) == 64
    assert found.current.shape == found.reference.shape == (64, 80, 80, 3)
    assert found.name == "calibration/quantization/80px"


def test_without_a_checkout_the_shipped_bundle_gives_its_golden_crops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "demo_layout", lambda: tmp_path / "demo" / "layout.json")
    found = read_samples(None)
    assert "golden crops of shelf-occupancy" in found.name
    assert len(found) == len(found.reference) > 0
    monkeypatch.setattr(module, "factory_bundles", tuple)
    with pytest.raises(Unavailable, match="no samples ship") as caught:
        read_samples(None)
    assert "--samples" in caught.value.mend


def test_a_folder_of_strips(tmp_path: Path) -> None:
    write_strips(tmp_path, (noise(20), noise(20, seed=1)))
    found = read_samples(tmp_path)
    assert np.array_equal(found.current, noise(20))
    assert np.array_equal(found.reference, noise(20, seed=1))


def test_a_folder_of_pictures_of_any_size(tmp_path: Path) -> None:
    for k, side in enumerate((16, 20, 24)):
        cv2.imwrite(str(tmp_path / f"{k}.png"), noise(1, side)[0])
    found = read_samples(tmp_path)
    assert found.current.shape == (3, 16, 16, 3)
    assert np.array_equal(found.reference[1], found.current[0])
    assert found.resized((8, 12)).current.shape == (3, 12, 8, 3)


def test_a_cut_shelf_finds_the_reference_of_each_crop(crops: CropSet, tmp_path: Path) -> None:
    crops.save(tmp_path / "shelf.npz")
    found = read_samples(tmp_path / "shelf.npz")
    rows = np.unique(np.linspace(0, len(crops) - 1, len(found)).astype(int))
    assert len(found) == min(MAX_ROWS, len(crops))
    assert np.array_equal(found.reference, crops.reference_of(rows))


def test_many_rows_are_thinned_evenly(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", current=noise(600, 8))
    found = read_samples(tmp_path / "many.npz")
    assert len(found) == MAX_ROWS
    assert np.array_equal(found.current[0], noise(600, 8)[0])
    assert np.array_equal(found.current[-1], noise(600, 8)[-1])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": noise(2)}, "no uint8 array `current`"),
        ({"current": noise(2).astype(np.float32)}, "no uint8 array `current`"),
        ({"current": noise(2), "reference": noise(3)}, "two .n, h, w, 3. were expected"),
        ({"current": noise(2)[0]}, "two .n, h, w, 3. were expected"),
        ({"current": noise(0)}, "two .n, h, w, 3. were expected"),
    ],
)
def test_arrays_that_are_no_crops_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    path = tmp_path / "x.npz"
    with path.open("wb") as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]
    with pytest.raises(Refused, match=said):
        read_samples(path)


def test_what_is_not_there_or_not_an_npz(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can not be read"):
        read_samples(tmp_path / "no.npz")
    with pytest.raises(Unavailable, match="holds no crop"):
        read_samples(tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(Refused, match="is not an npz of crops"):
        read_samples(tmp_path / "text.npz")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"current": np.zeros((3, 0, 0, 3), np.uint8)}, "none of their sides zero"),
        (
            {"current": noise(2), "references": noise(1), "slot": np.array([0, 9])},
            "`slot` names rows that `references` lacks",
        ),
    ],
)
def test_arrays_that_hold_no_crops_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "crops.npz", **arrays)
    with pytest.raises(Refused, match=said):
        read_samples(tmp_path / "crops.npz")


def test_a_broken_picture_is_named_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    with pytest.raises(Unavailable, match=r"a\.png is not a readable picture") as caught:
        read_samples(tmp_path)
    assert "Take it out" in caught.value.mend


@pytest.mark.parametrize("name", ["a.png", "pairs-00.png"])
def test_a_vast_picture_is_not_decoded(tmp_path: Path, name: str) -> None:
    write_vast_picture(tmp_path / name)
    with pytest.raises(Unavailable, match="64 megapixels"):
        read_samples(tmp_path)
