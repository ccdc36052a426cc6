"""Registration by condition and severity: success, exactness, time.

    python -m benchmarks.normalize.registration DATASET [--json]

DATASET is a field dataset (`edge-runtime` simulator or any other). Where a shelf has a geometry.json with the exact
homography and lens of every frame, the error is the distance of the slots' corners (those in the frame) from the truth,
mean per frame in reference pixels; elsewhere only the registration's own residual is shown. A frame is right if its
error is below 1.5 px.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.layout import read_layout
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.register import Fit, Registrar
from edge_runtime.normalize.warp import project

RIGHT_PX = 1.5


def true_corners(corners: np.ndarray, homography: np.ndarray, k1: float, size: tuple[int, int]) -> np.ndarray:
    """Where the slots' corners really are, lens included (`simulator.geometry.lens_maps` inverted)."""
    pinhole = project(homography, corners)
    if not k1:
        return pinhole
    centre, reach = (np.array(size) - 1) / 2, float(np.hypot(*size)) / 2
    start = (pinhole - centre) / reach
    bent = start.copy()
    for _ in range(60):
        bent = start * (1 + max(k1, 0.0)) / (1 + k1 * (bent**2).sum(1, keepdims=True))
    return bent * reach + centre


def error_px(fit: Fit, corners: np.ndarray, truth: dict[str, object], size: tuple[int, int], unit: float) -> float:
    assert fit.warp is not None
    right = true_corners(corners, np.array(truth["homography"]), float(truth["k1"]), size)  # type: ignore[arg-type]
    shown = ((right > 0) & (right < np.array(size) - 1)).all(1)
    off = np.hypot(*(fit.warp.points(corners) - right).T) / unit
    return float(off[shown].mean()) if shown.any() else float("nan")


def measure(dataset: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for shelf in sorted(p for p in (dataset / "shelves").iterdir() if p.suffix != ".part"):
        layout = read_layout(shelf / "layout.json")
        registrar = Registrar(layout, cv2.cvtColor(open_reference(layout), cv2.COLOR_BGR2GRAY))
        corners = np.array([s.polygon for s in layout.slots]).reshape(-1, 2)
        known = shelf / "geometry.json"
        geometry = json.loads(known.read_text()) if known.exists() else {}
        for path in sorted((shelf / "frames").glob("*.jpg")):
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            size = (grey.shape[1], grey.shape[0])
            began = time.perf_counter()
            fit = registrar.register(grey)
            ms = 1e3 * (time.perf_counter() - began)
            named = re.match(r"(\w+)-s(\d)", path.stem)
            truth = geometry.get(path.stem)
            known_error = truth is not None and fit.warp is not None
            rows.append(
                {
                    "shelf": shelf.name,
                    "frame": path.stem,
                    "condition": named[1] if named else path.stem.split("-")[0],
                    "severity": int(named[2]) if named else 0,
                    "ok": fit.warp is not None,
                    "error": error_px(fit, corners, truth, size, size[0] / layout.image_size[0])
                    if known_error
                    else None,
                    "residual": fit.residual_px,
                    "share": fit.share,
                    "rails": fit.rail_share,
                    "inliers": fit.inliers,
                    "lens": fit.warp.lens if fit.warp else None,
                    "detail": fit.detail,
                    "ms": ms,
                }
            )
    return rows


def table(rows: list[dict[str, object]]) -> None:
    groups: dict[tuple[str, int], list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        groups[str(row["condition"]), int(row["severity"])].append(row)  # type: ignore[call-overload]
    print("condition    s    n   found  right   median    p95    max px  share(min)   rails(min)   ms")
    for (condition, severity), part in sorted(groups.items()):
        found = [r for r in part if r["ok"]]
        errors = np.array([r["residual"] if r["error"] is None else r["error"] for r in found], float)
        shown = (np.median(errors), np.percentile(errors, 95), errors.max()) if len(errors) else (np.nan,) * 3
        print(
            f"{condition:12s} {severity} {len(part):4d}  {len(found) / len(part):6.3f} {(errors < RIGHT_PX).sum() / len(part):6.3f}"
            f"  {shown[0]:7.2f} {shown[1]:7.2f} {shown[2]:7.2f}   {min(float(r['share']) for r in part):5.2f}"  # type: ignore[arg-type]
            f"       {min(float(r['rails']) for r in part):5.2f}  {np.median([r['ms'] for r in part]):7.1f}"  # type: ignore[arg-type]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--json", action="store_true", help="one line a frame instead of the table")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    rows = measure(chosen.dataset)
    if chosen.json:
        print("\n".join(json.dumps(row) for row in rows))
    else:
        table(rows)


if __name__ == "__main__":
    main()
