"""A detector's raw outputs to boxes: one function a family, in numpy alone. `decoder.Decoder` says what each output holds.

Sources: YOLOX (Ge et al. 2021) `demo_postprocess`; YOLOv5 and YOLOv8 (ultralytics) `non_max_suppression`; YOLOv10 (Wang et
al. 2024); FastestDet (Ma 2022) `example/onnx-runtime/runtime.py`; SSD (Liu et al. 2016). Only boxes of a named class above
the score are worked out; the class of a box is its best, as in all of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.decoder import Decoder
from edge_runtime.errors import ModelFault
from edge_runtime.inference.detect.boxes import Boxes, Floats, Indices, suppress

Outputs = tuple[NDArray[Any], ...]
Size = tuple[int, int]
"""(width, height) of the graph's input in pixels."""
MOST_LOG = 12.0
"""A side's logarithm above this (160,000 strides) is held: its exponential would leave float32."""
SLACK = 1e-2
"""How far past 0..1 rounding and quantization may take a score."""
OBJECT_POWER, CLASS_POWER = 0.6, 0.4
"""FastestDet's weights of its two scores."""
_MEND = "Declare the decoder that belongs to the model (docs/detectors.md), and pack it again"


def decode(outputs: Outputs, decoder: Decoder, size: Size) -> Boxes:
    """Boxes of one tile: decoded, above the score, suppressed by class, cut to the tile, best first.

    `outputs` are the graph's arrays in the order of `Decoder.outputs`. Raises ModelFault for shapes that the family does not
    have, NaN, infinity, and scores that are none.
    """
    for output in outputs:
        if not np.isfinite(output).all():
            raise ModelFault("the detector answered NaN or infinity", "Fall back")
    found = _FAMILIES[decoder.family](outputs, decoder, size)
    return suppress(found, decoder.nms, decoder.max_boxes).clipped(size)


def expected_shapes(decoder: Decoder, size: Size) -> tuple[tuple[int | None, ...], ...]:
    """Shapes of the outputs after the batch axis, in their order; None where any number will do."""
    c = decoder.classes
    if decoder.family == "yolox":
        anchors = sum((size[0] // s) * (size[1] // s) for s in decoder.strides) if decoder.strides else None
        return ((anchors, 5 + c),)
    if decoder.family == "yolov5":
        return ((None, 5 + c),)
    if decoder.family == "fastestdet":
        return ((5 + c, None, None),)
    if decoder.family == "end2end":
        return ((None, 6),)
    if decoder.family == "yolov8":
        return ((4 + c, None),)
    if decoder.labels_output:
        return (None, 4), (None,), (None,)
    return (None, 4), (None, c + (decoder.background != "none"))


def _yolox(outputs: Outputs, decoder: Decoder, size: Size) -> Boxes:
    rows = _rows(outputs[0], 5 + decoder.classes)
    scores, labels = _with_object(rows[:, 4], rows[:, 5:], decoder)
    kept = _kept(scores, labels, decoder)
    boxes = rows[kept, :4]
    if not decoder.decoded:
        corner, stride = _grid(decoder.strides, size)
        if len(corner) != len(rows):
            raise _misfit(outputs[0], f"{len(corner)} rows for strides {decoder.strides} at {size[0]}x{size[1]}")
        corner, stride = corner[kept], stride[kept]
        sides = np.exp(np.minimum(boxes[:, 2:], MOST_LOG)) * stride
        boxes = np.concatenate([(boxes[:, :2] + corner) * stride, sides], 1)
    return _boxes(_cornered(boxes, "centre"), scores, labels, kept, decoder, size)


def _yolov5(outputs: Outputs, decoder: Decoder, size: Size) -> Boxes:
    rows = _rows(outputs[0], 5 + decoder.classes)
    scores, labels = _with_object(rows[:, 4], rows[:, 5:], decoder)
    kept = _kept(scores, labels, decoder)
    return _boxes(_cornered(rows[kept, :4], "centre"), scores, labels, kept, decoder, size)


def _yolov8(outputs: Outputs, decoder: Decoder, size: Size) -> Boxes:
    found, wanted = _unbatched(outputs[0], 2), 4 + decoder.classes
    if found.shape[0] == wanted:
        found = found.T
    elif found.shape[1] != wanted:
        raise _misfit(outputs[0], f"(1, {wanted}, boxes)")
    scores, labels = _best(_activated(found[:, 4:], decoder))
    kept = _kept(scores, labels, decoder)
    return _boxes(_cornered(found[kept, :4], "centre"), scores, labels, kept, decoder, size)


def _end2end(outputs: Outputs, decoder: Decoder, size: Size) -> Boxes:
    rows = _rows(outputs[0], 6)
    scores, labels = _activated(rows[:, 4], decoder), _numbered(rows[:, 5], decoder)
    kept = _kept(scores, labels, decoder)
    return _boxes(_cornered(rows[kept, :4], decoder.corners), scores, labels, kept, decoder, size)


def _fastestdet(outputs: Outputs, decoder: Decoder, size: Size) -> Boxes:
    cells = _unbatched(outputs[0], 3)
    if cells.shape[0] != 5 + decoder.classes:
        raise _misfit(outputs[0], f"(1, {5 + decoder.classes}, rows, columns)")
    height, width = cells.shape[1:]
    rows = cells.reshape(cells.shape[0], -1).T
    classes, labels = _best(_activated(rows[:, 5:], decoder))
    scores = _activated(rows[:, 0], decoder)
    if decoder.scored_by == "class":
        weighed = np.maximum(scores, 0.0) ** OBJECT_POWER * np.maximum(classes, 0.0) ** CLASS_POWER
        scores = np.asarray(weighed, np.float32)
    kept = _kept(scores, labels, decoder)
    place = np.stack([kept % width, kept // width], 1)
    middles = (place + np.tanh(rows[kept, 1:3])) / np.array([width, height]) * size
    sides = _sigmoid(rows[kept, 3:5]) * np.array(size, np.float32)
    return _boxes(_cornered(np.concatenate([middles, sides], 1), "centre"), scores, labels, kept, decoder, size)


def _ssd(outputs: Outputs, decoder: Decoder, size: Size) -> Boxes:
    boxes = _rows(outputs[0], 4)
    if decoder.labels_output:
        scores, labels = _activated(outputs[1].reshape(-1), decoder), _numbered(outputs[2].reshape(-1), decoder)
    else:
        wide = decoder.classes + (decoder.background != "none")
        every = _activated(_rows(outputs[1], wide), decoder)
        first = 1 if decoder.background == "first" else 0
        scores, labels = _best(every[:, first : first + decoder.classes])
    if not len(scores) == len(labels) == len(boxes):
        raise ModelFault(
            f"{len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels do not belong together", _MEND
        )
    kept = _kept(scores, labels, decoder)
    return _boxes(_cornered(boxes[kept], decoder.corners), scores, labels, kept, decoder, size)


_FAMILIES: dict[str, Callable[[Outputs, Decoder, Size], Boxes]] = {
    "yolox": _yolox,
    "yolov5": _yolov5,
    "yolov8": _yolov8,
    "end2end": _end2end,
    "fastestdet": _fastestdet,
    "ssd": _ssd,
}


def _with_object(objects: Floats, classes: Floats, decoder: Decoder) -> tuple[Floats, Indices]:
    """Score and class of rows that state an object score beside those of the classes."""
    best, labels = _best(_activated(classes, decoder))
    scores = _activated(objects, decoder)
    return (scores if decoder.scored_by == "object" else scores * best), labels


def _best(classes: Floats) -> tuple[Floats, Indices]:
    labels = classes.argmax(1)
    return classes[np.arange(len(labels)), labels], labels


def _activated(scores: Floats, decoder: Decoder) -> Floats:
    if decoder.activation == "sigmoid":
        return _sigmoid(scores)
    if decoder.activation == "softmax":
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return np.asarray(weights / weights.sum(-1, keepdims=True), np.float32)
    return scores


def _sigmoid(values: Floats) -> Floats:
    """Of 0.5 (1 + tanh(x / 2)), which overflows for no x."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), np.float32)


def _numbered(labels: NDArray[Any], decoder: Decoder) -> Indices:
    """Class indices of labels that count from `first_label`; what is no index becomes -1, which is no class."""
    near = np.clip(np.rint(labels), -1.0, 2.0**30).astype(np.intp) - decoder.first_label
    return np.where(near >= 0, near, -1)


def _kept(scores: Floats, labels: Indices, decoder: Decoder) -> Indices:
    """Rows of named classes that reach the score; of too many the best, in the order of their scores."""
    if len(scores) and not (scores.min() >= -SLACK and scores.max() <= 1.0 + SLACK):
        raise ModelFault(
            f"the scores reach from {float(scores.min()):.4g} to {float(scores.max()):.4g}; 0 to 1 was expected",
            'Declare the activation that they lack ("sigmoid", "softmax"), or the right family',
        )
    wanted = np.zeros(decoder.classes + 1, np.bool_)
    wanted[[*decoder.products, *decoder.voids, *decoder.blockers]] = True
    known = np.where(labels < decoder.classes, labels, -1)
    rows = np.flatnonzero((scores >= decoder.score) & wanted[known])
    order = np.argsort(-scores[rows], kind="stable")
    return np.asarray(rows[order[: decoder.max_candidates]], np.intp)


def _boxes(
    corners: NDArray[Any], scores: Floats, labels: Indices, kept: Indices, decoder: Decoder, size: Size
) -> Boxes:
    scale = (size[0], size[1], size[0], size[1]) if decoder.normalized else (1, 1, 1, 1)
    pixels = np.asarray(corners * np.array(scale, np.float32), np.float32)
    return Boxes(pixels, np.clip(scores[kept], 0.0, 1.0).astype(np.float32), labels[kept])


def _cornered(boxes: NDArray[Any], kind: str) -> NDArray[Any]:
    """(n, 4) to left, top, right, bottom."""
    if kind == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    if kind == "centre":
        return np.concatenate([boxes[:, :2] - 0.5 * boxes[:, 2:], boxes[:, :2] + 0.5 * boxes[:, 2:]], 1)
    return boxes


def _grid(strides: tuple[int, ...], size: Size) -> tuple[Floats, Floats]:
    """(n, 2) column and row of every cell, and (n, 1) its stride, grid after grid, row by row."""
    corners, steps = [], []
    for stride in strides:
        columns, rows = np.meshgrid(np.arange(size[0] // stride), np.arange(size[1] // stride))
        corners.append(np.stack([columns.ravel(), rows.ravel()], 1))
        steps.append(np.full((columns.size, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(steps).astype(np.float32)


def _rows(output: NDArray[Any], wide: int) -> Floats:
    rows = _unbatched(output, 2)
    if rows.shape[1] != wide:
        raise _misfit(output, f"(1, boxes, {wide})")
    return rows


def _unbatched(output: NDArray[Any], axes: int) -> Floats:
    """Without the batch axis, which is 1 where it is at all."""
    if output.ndim == axes + 1 and output.shape[0] == 1:
        output = output[0]
    if output.ndim != axes:
        raise _misfit(output, f"{axes} axes after a batch of 1")
    return output


def _misfit(output: NDArray[Any], wanted: str) -> ModelFault:
    return ModelFault(f"the detector answered {output.shape}, {wanted} was expected", _MEND)
