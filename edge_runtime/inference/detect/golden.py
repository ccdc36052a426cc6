"""The golden set of a detector: canvases, what the packed model answered to them, and how far another may be off.

Members of golden.npz for the task `detect`:

- `canvas`        (n, h, w, 3) uint8 BGR, canvases as the normalizer paints them
- `boxes`         (m, 7) float32: canvas, left, top, right, bottom, score, class; what was found there, suppressed and clipped
- `picks_<k>`     (j,) int64 places in the flattened k-th output of one canvas, and
- `values_<k>`    (n, j) float32 what stood there; for every output k of a fixed size, in the order of `Decoder.outputs`
- `tolerance`     one number of at least 0

A float file beside a quantized one has `boxes_fp32`, `values_fp32_<k>` and `tolerance_fp32` in their place. Outputs whose size
changes with what is seen (suppression within the graph) have no picks: their boxes alone are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelFault
from edge_runtime.inference.detect.boxes import Boxes, overlap
from edge_runtime.inference.detect.decode import Outputs, decode
from edge_runtime.inference.detect.session import DetectSession
from edge_runtime.inference.session import Session
from edge_runtime.manifest import Manifest

Arrays = Mapping[str, NDArray[Any]]
SAME_PLACE, LIKE = 0.9, 0.5
"""Overlap at which a box counts as found again, and at which it is compared at all."""
_PACK = "Pack the bundle again with `edge-runtime build pack --detector`"


@dataclass(frozen=True, slots=True)
class DetectGolden:
    """How the model answered its golden canvases."""

    count: int
    max_error: float
    """The largest of: difference of a picked output, in shares of its size where that is above one; difference of the score
    of a box that was found again; how far above the decoder's score a box stands that only one of the two has."""
    tolerance: float
    agreement: float
    """Share of the packed boxes that were found again, in the same place and class; 1 without any."""


def check_detect_golden(session: Session, manifest: Manifest, golden: Arrays, floating: bool = False) -> DetectGolden:
    """Run the golden canvases and compare with what was packed.

    Raises ModelFault if the golden set does not fit the manifest, or if the model fails on it.
    """
    detector = _detector(session)
    canvases, boxes, tolerance = _parts(manifest, golden, floating)
    error, again, of = 0.0, 0, len(boxes)
    for number, canvas in enumerate(canvases):
        outputs = detector.outputs(canvas)
        found = decode(outputs, detector.decoder, manifest.input.size)
        raw = _raw_error(outputs, golden, number, floating)
        off, same = compare_boxes(_packed(boxes, number), found, detector.decoder.score)
        error, again = max(error, raw, off), again + same
    return DetectGolden(len(canvases), error, tolerance, again / of if of else 1.0)


class DetectProbe:
    """`probe.Probe` for the task `detect`: latency is of one view, all tiles of it."""

    def __init__(self, session: Session, manifest: Manifest, golden: Arrays, floating: bool = False) -> None:
        self._session, self._manifest, self._golden, self._floating = session, manifest, golden, floating
        canvases = _parts(manifest, golden, floating)[0]
        tiles = _detector(session).decoder.look.tiles
        self._view = [canvases[tile % len(canvases)] for tile in range(tiles[0] * tiles[1])]

    def compare(self) -> DetectGolden:
        """As `check_detect_golden`."""
        return check_detect_golden(self._session, self._manifest, self._golden, self._floating)

    def run_once(self) -> None:
        """Outputs and boxes of one view. Raises ModelFault if the model fails."""
        detector = _detector(self._session)
        for canvas in self._view:
            detector.boxes(canvas)


def compare_boxes(packed: Boxes, found: Boxes, least: float) -> tuple[float, int]:
    """Largest error in score, and how many of the packed boxes were found again in the same place.

    Boxes of one class are paired greedily, best first, by overlap; one without a partner counts as if its partner stood
    right below `least`, the score that a box needs.
    """
    error, again = 0.0, 0
    open_ = np.ones(len(found), np.bool_)
    corners = found.corners.astype(np.float64)
    for corner, score, label in zip(packed.corners.astype(np.float64), packed.scores, packed.labels, strict=True):
        shared = np.where(open_ & (found.labels == label), overlap(corner, corners), 0.0)
        best = int(shared.argmax()) if len(shared) else -1
        if best < 0 or shared[best] < LIKE:
            error = max(error, float(score) - least)
            continue
        open_[best] = False
        error = max(error, abs(float(score) - float(found.scores[best])))
        again += bool(shared[best] >= SAME_PLACE)
    return max([error, *(float(score) - least for score in found.scores[open_])]), again


def _raw_error(outputs: Outputs, golden: Arrays, number: int, floating: bool) -> float:
    worst = 0.0
    for place, output in enumerate(outputs):
        picks, values = golden.get(f"picks_{place}"), golden.get(_name("values", floating, place))
        if picks is None or values is None:
            continue
        flat = output.reshape(-1)
        if values.ndim != 2 or picks.shape != values.shape[1:] or number >= len(values) or picks.dtype.kind != "i":
            raise ModelFault(f"golden picks_{place} and its values do not belong together", _PACK)
        if len(picks) and not (picks.min() >= 0 and picks.max() < len(flat)):
            raise ModelFault(f"output {place} has {len(flat)} numbers; golden picks_{place} names one beyond", _PACK)
        expected = values[number].astype(np.float64)
        off = np.abs(flat[picks] - expected) / np.maximum(np.abs(expected), 1.0)
        worst = max(worst, float(off.max(initial=0.0)))
    return worst


def _parts(manifest: Manifest, golden: Arrays, floating: bool) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
    width, height = manifest.input.size
    names = ("canvas", _name("boxes", floating), _name("tolerance", floating))
    missing = [name for name in names if name not in golden]
    if missing:
        raise ModelFault(f"the golden set lacks {missing[0]}", _PACK)
    canvas, boxes, tolerance = (golden[name] for name in names)
    if canvas.dtype != np.uint8 or canvas.shape[1:] != (height, width, 3) or not len(canvas):
        raise ModelFault(
            f"golden canvas is {canvas.dtype} {canvas.shape}, uint8 (n, {height}, {width}, 3) was expected", _PACK
        )
    if boxes.dtype != np.float32 or boxes.ndim != 2 or boxes.shape[1] != 7 or not np.isfinite(boxes).all():
        raise ModelFault(
            f"golden {names[1]} are {boxes.dtype} {boxes.shape}, finite float32 (m, 7) was expected", _PACK
        )
    if manifest.decoder is None or len(boxes) > len(canvas) * manifest.decoder.max_boxes:
        raise ModelFault(f"the golden set holds {len(boxes)} boxes, more than its canvases can", _PACK)
    if tolerance.size != 1 or tolerance.dtype.kind not in "fiu" or not 0 <= float(tolerance.item()) < np.inf:
        raise ModelFault(f"the golden set's {names[2]} is not one number of at least 0", _PACK)
    if not len(boxes) and not any(name.startswith("values") for name in golden):
        raise ModelFault("the golden set holds neither boxes nor values: any model would pass it", _PACK)
    return canvas, boxes, float(tolerance.item())


def golden_of(session: DetectSession, canvases: NDArray[np.uint8], picks: int = 2048) -> dict[str, NDArray[Any]]:
    """Members for canvases (n, h, w, 3), but the tolerance: what this session answers now.

    Of each output of a fixed size up to `picks` numbers are kept: half where the first canvases' largest stand, half spread evenly.
    """
    answers = [session.outputs(canvas) for canvas in canvases]
    size = (canvases.shape[2], canvases.shape[1])
    rows = []
    for number, outputs in enumerate(answers):
        found = decode(outputs, session.decoder, size)
        own = np.full((len(found), 1), number, np.float32)
        rows.append(np.concatenate([own, found.corners, found.scores[:, None], found.labels[:, None]], 1))
    members: dict[str, NDArray[Any]] = {"canvas": canvases, "boxes": np.concatenate(rows).astype(np.float32)}
    for place, output in enumerate(answers[0]):
        if len({outputs[place].shape for outputs in answers}) > 1 or session.size_varies(place):
            continue
        chosen = _picked([outputs[place] for outputs in answers], min(picks, output.size))
        members[f"picks_{place}"] = chosen
        values = [outputs[place].reshape(-1)[chosen] for outputs in answers]
        members[f"values_{place}"] = np.stack(values).astype(np.float32)
    return members


def _picked(outputs: Sequence[NDArray[Any]], count: int) -> NDArray[np.int64]:
    """Places of the numbers that vary most between canvases, and as many spread evenly; each once, in order."""
    flat = np.stack([output.reshape(-1) for output in outputs]).astype(np.float64)
    varied = np.argsort(-(flat.max(0) - flat.min(0)), kind="stable")[: count // 2]
    evenly = np.linspace(0, flat.shape[1] - 1, count - len(varied)).astype(np.int64)
    return np.unique(np.concatenate([varied, evenly])).astype(np.int64)


def _packed(boxes: NDArray[np.float32], number: int) -> Boxes:
    own = boxes[boxes[:, 0] == number]
    return Boxes(own[:, 1:5], own[:, 5], own[:, 6].astype(np.intp))


def _name(member: str, floating: bool, place: int | None = None) -> str:
    parts = [member, *(["fp32"] if floating else []), *([] if place is None else [str(place)])]
    return "_".join(parts)


def _detector(session: Session) -> DetectSession:
    if not isinstance(session, DetectSession):
        raise ModelFault("the model is no detector, but its golden set is one's", _PACK)
    return session
