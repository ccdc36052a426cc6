"""A folder of drawn shelf photographs with YOLO boxes of their gaps, for the tests of what reads such folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIDE, COLUMNS, ROWS = 320, 8, 4


def write_photographs(folder: Path, count: int, seed: int, split: bool = True) -> Path:
    """`count` pictures of ROWS x COLUMNS packs, about every fifth place empty; two pictures a group, the last groups `val`."""
    rng = np.random.default_rng(seed)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    rows = ["name,split,group,voids"]
    for number in range(count):
        empty = rng.random(ROWS * COLUMNS) < 0.2
        empty[rng.integers(ROWS * COLUMNS)] = True
        picture, boxes = _picture(rng, empty)
        name = f"shelf{number:02}"
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        (folder / "labels" / f"{name}.txt").write_text("\n".join(boxes) + "\n")
        part = "val" if number >= count * 2 // 3 // 2 * 2 else "train"
        rows.append(f"{name},{part},{number // 2},{int(empty.sum())}")
    if split:
        (folder / "split.csv").write_text("\n".join(rows) + "\n")
    return folder


def _picture(rng: np.random.Generator, empty: np.ndarray) -> tuple[np.ndarray, list[str]]:
    picture = np.full((SIDE, SIDE, 3), 200, np.uint8)
    wide, tall = SIDE // COLUMNS, SIDE // ROWS
    boxes = []
    for place, hollow in enumerate(empty):
        x, y = place % COLUMNS * wide, place // COLUMNS * tall
        inner = picture[y + 6 : y + tall - 8, x + 2 : x + wide - 2]
        if hollow:
            inner[:] = rng.integers(15, 45)
            boxes.append(
                f"0 {(x + wide / 2) / SIDE:.6f} {(y + tall / 2 - 1) / SIDE:.6f}"
                f" {(wide - 4) / SIDE:.6f} {(tall - 14) / SIDE:.6f}"
            )
        else:
            pack = rng.integers(60, 256, (9, 5, 3), dtype=np.uint8)
            inner[:] = cv2.resize(pack, inner.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return picture, boxes
