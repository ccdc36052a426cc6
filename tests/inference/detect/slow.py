"""The same decoding, number by number in plain Python, written from the families' own code and from nothing here."""

from __future__ import annotations

import math
from typing import Any

from edge_runtime.decoder import Decoder

Box = tuple[float, float, float, float, float, int]
"""left, top, right, bottom, score, class."""


def slow_decode(outputs: tuple[Any, ...], decoder: Decoder, size: tuple[int, int]) -> list[Box]:
    """Decoded, above the score, of a named class, suppressed, clipped; best first."""
    named = {*decoder.products, *decoder.voids, *decoder.blockers}
    rows = [row for row in slow_rows(outputs, decoder, size) if row[4] >= decoder.score and row[5] in named]
    kept: list[Box] = []
    for row in sorted(rows, key=lambda row: -row[4])[: decoder.max_candidates]:
        if len(kept) < decoder.max_boxes and all(k[5] != row[5] or iou(k, row) <= decoder.nms for k in kept):
            kept.append(row)
    clipped = []
    for x0, y0, x1, y1, score, label in kept:
        x0, x1 = (min(max(x, 0.0), float(size[0])) for x in (x0, x1))
        y0, y1 = (min(max(y, 0.0), float(size[1])) for y in (y0, y1))
        if x1 > x0 and y1 > y0:
            clipped.append((x0, y0, x1, y1, score, label))
    return clipped


def iou(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, wide) * max(0.0, high)
    union = _area(a) + _area(b) - shared
    return shared / union if union > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def slow_rows(outputs: tuple[Any, ...], decoder: Decoder, size: tuple[int, int]) -> list[Box]:
    """Every row, whatever its score and class."""
    family, first = decoder.family, outputs[0].tolist()
    if family == "fastestdet":
        return _cells(first[0], decoder, size)
    if family == "ssd":
        return _ssd(outputs, decoder, size)
    if family == "end2end":
        return [
            (*_corners(row[:4], decoder, size), _active(row[4], decoder), round(row[5]) - decoder.first_label)
            for row in first[0]
        ]
    if family == "yolov8":
        table = first[0]
        if len(table) == 4 + decoder.classes:
            table = [list(column) for column in zip(*table, strict=True)]
        return [(*_middle(row[:4], decoder, size), *_best([_active(s, decoder) for s in row[4:]])) for row in table]
    cells = [(x, y, s) for s in decoder.strides for y in range(size[1] // s) for x in range(size[0] // s)]
    found = []
    for place, row in enumerate(first[0]):
        box = list(row[:4])
        if family == "yolox" and not decoder.decoded:
            x, y, stride = cells[place]
            box = [(box[0] + x) * stride, (box[1] + y) * stride, math.exp(box[2]) * stride, math.exp(box[3]) * stride]
        score, label = _best([_active(s, decoder) for s in row[5:]])
        whole = _active(row[4], decoder)
        found.append((*_middle(box, decoder, size), whole if decoder.scored_by == "object" else whole * score, label))
    return found


def _cells(planes: list[list[list[float]]], decoder: Decoder, size: tuple[int, int]) -> list[Box]:
    height, width = len(planes[0]), len(planes[0][0])
    found = []
    for y in range(height):
        for x in range(width):
            data = [plane[y][x] for plane in planes]
            score, label = _best([_active(s, decoder) for s in data[5:]])
            whole = _active(data[0], decoder)
            cx, cy = (x + math.tanh(data[1])) / width, (y + math.tanh(data[2])) / height
            w, h = (1 / (1 + math.exp(-v)) for v in data[3:5])
            box = ((cx - w / 2) * size[0], (cy - h / 2) * size[1], (cx + w / 2) * size[0], (cy + h / 2) * size[1])
            found.append((*box, whole if decoder.scored_by == "object" else whole**0.6 * score**0.4, label))
    return found


def _ssd(outputs: tuple[Any, ...], decoder: Decoder, size: tuple[int, int]) -> list[Box]:
    boxes, scores = (part.tolist() for part in outputs[:2])
    if decoder.labels_output:
        flat = [
            (box, _active(score, decoder), round(label) - decoder.first_label)
            for box, score, label in zip(
                outputs[0].reshape(-1, 4).tolist(),
                outputs[1].ravel().tolist(),
                outputs[2].ravel().tolist(),
                strict=True,
            )
        ]
        return [(*_corners(box, decoder, size), score, label) for box, score, label in flat]
    found = []
    for box, row in zip(boxes[0], scores[0], strict=True):
        if decoder.activation == "softmax":
            total = sum(math.exp(v) for v in row)
            row = [math.exp(v) / total for v in row]
        else:
            row = [_active(v, decoder) for v in row]
        if decoder.background == "first":
            row = row[1:]
        elif decoder.background == "last":
            row = row[:-1]
        found.append((*_corners(box, decoder, size), *_best(row)))
    return found


def _active(value: float, decoder: Decoder) -> float:
    return 1 / (1 + math.exp(-value)) if decoder.activation == "sigmoid" else value


def _best(scores: list[float]) -> tuple[float, int]:
    label = max(range(len(scores)), key=lambda index: scores[index])
    return scores[label], label


def _corners(box: list[float], decoder: Decoder, size: tuple[int, int]) -> tuple[float, float, float, float]:
    if decoder.corners == "centre":
        return _middle(box, decoder, size)
    a, b, c, d = box if decoder.corners == "xyxy" else (box[1], box[0], box[3], box[2])
    w, h = size if decoder.normalized else (1, 1)
    return a * w, b * h, c * w, d * h


def _middle(box: list[float], decoder: Decoder, size: tuple[int, int]) -> tuple[float, float, float, float]:
    cx, cy, w, h = box
    sx, sy = size if decoder.normalized else (1, 1)
    return (cx - w / 2) * sx, (cy - h / 2) * sy, (cx + w / 2) * sx, (cy + h / 2) * sy
