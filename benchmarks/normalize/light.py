"""The light by condition: what the gate says, what remains, what the model makes of it, what it costs.

    python -m benchmarks.normalize.light DATASET [--shelves N] [--conditions REGEX] [--model BUNDLE]

The same frames and the same model three times: `raw` (polygons scaled, nothing else), `off` (registered, the light as it
is) and `on` (registered and relit). `applied` and `refused` are the gate's answers, `residual` its own figure before and
after. For slots whose truth is stocked, `miss` is the mean absolute difference (grey levels) between crop and reference
crop, off and on; `harmed` counts the frames in which it grew by more than a level. `best` is the balanced accuracy over
stocked, low and empty of the likeliest answer, `said` counts `unknown` as wrong, `wrong` is the share of visible slots
answered and wrong. Conditions that the light makes worse come first. On lab frames nothing may be applied.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.daemon.compose import default_bundle, load_model
from edge_runtime.inference.classifier import SlotClassifier
from edge_runtime.layout import read_layout
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.settings import NormalizeSettings
from edge_runtime.normalize.view import Normalizer, RawNormalizer
from edge_runtime.records import ANSWERS, Frame, Layout, Light, State, View
from edge_runtime.shelf.reading import read_slots
from edge_runtime.workshop.field import FramePicture, ShelfPictures, read_field

WAYS = ("raw", "off", "on")
Truth = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """One frame, one way."""

    truth: Truth
    """Index into ANSWERS of the visible slots."""
    best: Truth
    said: Truth
    """-1 where the answer was none of the three."""
    miss: float
    """NaN without a stocked slot."""
    light: Light
    light_ms: float


class Bench:
    """The three ways of one shelf."""

    def __init__(self, shelf: ShelfPictures, model: Path) -> None:
        self.layout: Layout = read_layout(shelf.layout)
        reference = open_reference(self.layout)
        loaded = load_model(read_bundle(model))
        crop, self._thresholds = loaded.manifest.crop, loaded.manifest.thresholds
        off = NormalizeSettings(stateless=True, light=False)
        self._ways: dict[str, RawNormalizer | Normalizer] = {
            "raw": RawNormalizer(self.layout, reference, crop),
            "off": Normalizer(self.layout, reference, crop, off),
            "on": Normalizer(self.layout, reference, crop, NormalizeSettings(stateless=True)),
        }
        crops = self._ways["on"].reference_crops
        self._references = crops.astype(float)
        self._model = SlotClassifier(loaded.session, loaded.manifest, loaded.id.sha256, crops)

    def answer(self, picture: FramePicture) -> dict[str, Answered] | None:
        """None where the frame is unusable: without a view there is no light."""
        pixels = np.asarray(cv2.imread(str(picture.path)), np.uint8)
        frame = Frame("bench", 0, pixels, 0.0, 0.0)
        states = {row.slot: row.state for row in picture.truth}
        truth = np.array([_index(states[slot.id]) for slot in self.layout.slots], np.int8)
        found = {}
        for name, way in self._ways.items():
            view = way.normalize(frame)
            if not isinstance(view, View):
                return None
            found[name] = self._answered(view, truth)
        return found

    def _answered(self, view: View, truth: Truth) -> Answered:
        scores = self._model.infer(view)
        readings = read_slots(self.layout, view, scores, self._thresholds)
        said = np.array([_index(reading.state) for reading in readings], np.int8)
        miss = np.abs(view.crops - self._references).mean((1, 2, 3))[truth == 0]
        seen, best = truth >= 0, scores.probabilities.argmax(1).astype(np.int8)
        mean = float(miss.mean()) if len(miss) else float("nan")
        return Answered(truth[seen], best[seen], said[seen], mean, view.light, view.ms["light"])


def _index(state: str) -> int:
    return ANSWERS.index(State(state)) if state in ANSWERS else -1


@dataclass(frozen=True, slots=True)
class Row:
    """One condition and severity."""

    name: str
    severity: int
    parts: list[dict[str, Answered]]

    def accuracy(self, way: str, said: bool) -> float:
        """Balanced, per cent."""
        truth = np.concatenate([part[way].truth for part in self.parts])
        answer = np.concatenate([part[way].said if said else part[way].best for part in self.parts])
        return 100 * float(np.mean([np.mean(answer[truth == k] == k) for k in np.unique(truth)]))

    def wrong(self, way: str) -> float:
        """Share answered and wrong, per cent."""
        said = np.concatenate([part[way].said for part in self.parts])
        truth = np.concatenate([part[way].truth for part in self.parts])
        return 100 * float(np.mean((said >= 0) & (said != truth)))

    def line(self) -> str:
        lights = [part["on"].light for part in self.parts]
        misses = np.array([[part[way].miss for way in ("off", "on")] for part in self.parts])
        applied = np.mean([light.applied for light in lights])
        refused = np.mean([light.decision in ("refused", "unseen") for light in lights])
        residual = [np.mean([getattr(light, f"residual_{end}") for light in lights]) for end in ("before", "after")]
        off, on = np.nanmean(misses, 0)
        figures = "   ".join(
            f"{self.accuracy(way, said=False):5.1f} {self.accuracy(way, said=True):5.1f} {self.wrong(way):4.1f}"
            for way in WAYS
        )
        return (
            f"{self.name:11s} S{self.severity} {len(self.parts):4d}    {applied:4.2f}    {refused:4.2f}"
            f"   {residual[0]:5.3f} -> {residual[1]:5.3f}  {off:5.1f} -> {on:5.1f}"
            f"  {int((misses[:, 1] > misses[:, 0] + 1).sum()):4d}   {figures}"
            f"   {np.median([part['on'].light_ms for part in self.parts]):4.1f}"
        )


def measure(dataset: Path, shelves: int, conditions: str, model: Path) -> Iterator[Row]:
    """The rows of a dataset, those that the light makes worse (likeliest answers) first."""
    wanted = re.compile(conditions)
    cases: dict[tuple[str, int], list[dict[str, Answered]]] = defaultdict(list)
    for shelf in read_field(dataset)[:shelves]:
        bench = Bench(shelf, model)
        for picture in shelf.frames:
            found = bench.answer(picture) if wanted.search(picture.path.stem) else None
            if found is not None:
                cases[picture.condition, picture.severity].append(found)
    rows = [Row(*key, parts) for key, parts in cases.items()]
    gains = {row.name + str(row.severity): row.accuracy("on", False) - row.accuracy("off", False) for row in rows}
    yield from sorted(rows, key=lambda row: (min(0.0, gains[row.name + str(row.severity)]), row.severity, row.name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--shelves", type=int, default=10_000)
    parser.add_argument("--conditions", default=".", help="regular expression on the frames' names")
    parser.add_argument("--model", type=Path, help="a bundle (the newest that ships)")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    print("                frames applied refused  residual           miss           harmed      ", end="")
    print("raw: best said wrong   off: the same      on: the same      light ms")
    for row in measure(chosen.dataset, chosen.shelves, chosen.conditions, chosen.model or default_bundle()):
        print(row.line())


if __name__ == "__main__":
    main()
