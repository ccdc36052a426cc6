"""What the model made of every frame of a recorded day, kept, so that rules over time are compared on the same answers.

Frames go through the daemon's normalizer and the model, one by one and, for the comparison, as medians of the slot's
last still crops. Kept by recording, bundle and the code that looks at pictures: a second run reads instead of computing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import edge_runtime
from benchmarks.day_median import CropMedian
from edge_runtime.camera.recording import read_recording
from edge_runtime.cli.day_truth import Seen, read_truth
from edge_runtime.daemon.models import build_parts, load_model
from edge_runtime.layout import read_layout
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.normalize.reference import open_reference
from edge_runtime.records import (
    Frame,
    Image,
    Layout,
    Light,
    ModelId,
    Reason,
    Registration,
    RegistrationStatus,
    Scores,
    SlotQuality,
    Unusable,
    View,
)

MEDIANS = (5, 9)
_NO_PIXELS: Image = np.zeros((1, 1, 3), np.uint8)
_BEGAN = 1.7e9
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Capture:
    """One frame of a day, as the shelf meets it."""

    t: float
    truth: Mapping[str, Seen]
    view: View | Unusable
    scores: Scores | None
    medians: Mapping[int, Scores]
    """Of the crops' medians, by window."""


@dataclass(frozen=True, slots=True)
class RecordedDay:
    layout: Layout
    captures: tuple[Capture, ...]


def load_day(folder: Path, bundle: Bundle, interval_s: float) -> RecordedDay:
    """The day in `folder` (see simulator/record.py) as this bundle sees it."""
    cached = folder / f"scores-{bundle.id.sha256[:8]}-{_code()}.npz"
    if not cached.exists():
        part = cached.with_suffix(".part.npz")
        np.savez_compressed(part, **_measured(folder, bundle, interval_s))
        part.rename(cached)
    return _read(folder, cached, bundle.id, interval_s)


@cache
def _code() -> str:
    """Digest of the rooms that stand between a picture and its scores."""
    digest = hashlib.blake2b(digest_size=4)
    for room in ("normalize", "inference"):
        for path in sorted((Path(edge_runtime.__file__).parent / room).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _measured(folder: Path, bundle: Bundle, interval_s: float) -> dict[str, NDArray[np.float32] | NDArray[np.str_]]:
    layout = read_layout(folder / "layout.json")
    normalizer, model = build_parts(layout, open_reference(layout), load_model(bundle, 1))
    assert model is not None
    cv2.setNumThreads(1)
    windows = {size: CropMedian(size) for size in MEDIANS}
    kept: dict[str, list[object]] = {name: [] for name in ("t", "reason", "moved", "quality", "scores", "crops")}
    slots = len(layout.slots)
    for frame in read_recording(folder / "frames", interval_s):
        view = normalizer.normalize(frame)
        kept["t"].append(frame.captured_monotonic_s)
        if isinstance(view, Unusable):
            kept["reason"].append(str(view.reason))
            kept["moved"].append(False)
            kept["quality"].append(np.zeros((slots, 3)))
            kept["scores"].append(np.zeros((1 + len(MEDIANS), slots, 4)))
            kept["crops"].append(np.zeros((slots, 16, 16), np.uint8))
            continue
        kept["reason"].append("")
        kept["moved"].append(view.registration.moved)
        quality = view.quality
        kept["quality"].append(np.stack([quality.inside, quality.saturated, quality.density], 1))
        kept["crops"].append(_small(view.crops))
        single = model.infer(view)
        rows = [_row(single)]
        clear = single.blocked < 0.5 * bundle.manifest.thresholds.blocked
        for size in MEDIANS:
            fused = windows[size].fuse(view.crops, clear, view.registration.moved)
            # The view's buffer is lent to the model once more: its quality is that of the newest frame.
            rows.append(_row(model.infer(View(**_replaced(view, fused)))))
        kept["scores"].append(np.stack(rows))
    return {
        "t": np.asarray(kept["t"], np.float32),
        "reason": np.asarray(kept["reason"], np.str_),
        "moved": np.asarray(kept["moved"], np.float32),
        "quality": np.asarray(kept["quality"], np.float32),
        "scores": np.asarray(kept["scores"], np.float32),
        "crops": np.asarray(kept["crops"], np.uint8),
    }


def _replaced(view: View, crops: Image) -> dict[str, object]:
    return {name: getattr(view, name) for name in View.__slots__} | {"crops": crops}


def _small(crops: Image) -> NDArray[np.uint8]:
    return np.stack(
        [cv2.resize(cv2.cvtColor(c, cv2.COLOR_BGR2GRAY), (16, 16), interpolation=cv2.INTER_AREA) for c in crops]
    )


def _row(scores: Scores) -> NDArray[np.float32]:
    return np.concatenate([scores.probabilities, scores.blocked[:, None]], axis=1)


def _read(folder: Path, cached: Path, model: ModelId, interval_s: float) -> RecordedDay:
    layout = read_layout(folder / "layout.json")
    truth = read_truth(folder / "truth.csv", interval_s)
    with np.load(cached) as kept:
        arrays = {name: kept[name] for name in kept.files}
    return RecordedDay(layout, tuple(_captures(arrays, truth, model, interval_s)))


def _captures(arrays: Mapping[str, NDArray], truth, model: ModelId, interval_s: float) -> Iterator[Capture]:
    for number, t in enumerate(arrays["t"].tolist()):
        row = truth.at(t, interval_s / 2)
        if row is None:
            continue
        frame = Frame("day", number, _NO_PIXELS, _BEGAN + t, t)
        reason = str(arrays["reason"][number])
        registration = Registration(RegistrationStatus.OK, None, moved=bool(arrays["moved"][number]))
        if reason:
            refused = Unusable(frame, Reason(reason), "", registration, Light(False), {})
            yield Capture(t, row, refused, None, dict.fromkeys(MEDIANS))
            continue
        quality = SlotQuality(*arrays["quality"][number].T)
        view = View(
            frame,
            registration,
            Light(False),
            np.repeat(arrays["crops"][number][..., None], 3, -1),
            quality,
            1.0,
            1.0,
            {},
        )
        found = [Scores(model, p[:, :3], p[:, 3], {}) for p in arrays["scores"][number]]
        yield Capture(t, row, view, found[0], dict(zip(MEDIANS, found[1:], strict=True)))
