"""How a detector's outputs become boxes, and boxes become slot states: the `decoder` of a manifest with `task = "detect"`.

Stands on the ground floor beside the manifest, for the same reason; `docs/detectors.md` is its guide.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edge_runtime.errors import Refused

MAX_CLASSES = 1024
MAX_CANDIDATES = 4096
MAX_BOXES = 512
MAX_TILES = 8
MAX_CANVAS_PIXELS = 2_000_000
"""Of all tiles together: a device holds some 30 bytes for each."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Level = Annotated[int, msgspec.Meta(ge=0, le=255)]
Tiles = Annotated[int, msgspec.Meta(ge=1, le=4)]
Stride = Annotated[int, msgspec.Meta(ge=1, le=256)]
ClassIndex = Annotated[int, msgspec.Meta(ge=0, lt=MAX_CLASSES)]
Classes = Annotated[tuple[ClassIndex, ...], msgspec.Meta(max_length=MAX_CLASSES)]
_MEND = "Mend the decoder that is given to `edge-runtime build pack --detector` (docs/detectors.md)"


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of the normalized view the detector is shown, and how it is fitted into the graph's input."""

    fit: Literal["stretch", "letterbox"]
    """`letterbox` keeps the aspect and pads."""
    pad_at: Literal["centre", "corner"] = "centre"
    """`corner`: the picture lies in the top left corner (YOLOX), `centre`: in the middle (YOLOv5 and later)."""
    pad: tuple[Level, Level, Level] = (114, 114, 114)
    """Blue, green, red of the padding."""
    region: Literal["picture", "slots"] = "picture"
    """`slots`: the rectangle around all slots, grown on each side by `input.margin` of its own width and height."""
    tiles: tuple[Tiles, Tiles] = (1, 1)
    """Columns and rows of equal tiles, each a run of the graph: small things in a large picture."""
    overlap: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)] = 0.1
    """Share of a tile's side that it has in common with the next."""


class Cover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a slot boxes must cover; shares of the slot's area, of the union of the boxes."""

    stocked: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    """Product boxes over this share or more say `stocked` as surely as their scores."""
    empty: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.5
    """The same of void boxes for `empty`."""
    low: Share = 0.0
    """Product boxes over this share say `low`, turning into `stocked` up to `stocked`; 0: boxes never say `low`."""
    blocked: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.3
    """The same of blocker boxes for `blocked`."""


class Decoder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One detector's outputs. Coordinates are pixels of the graph's input unless `normalized`.

    Output shapes, with A anchors, C classes (batch axis always 1):
    `yolox` (1, A, 5 + C) x, y, log w, log h on the grids of `strides`, object, classes; `yolov5` (1, A, 5 + C) cx, cy, w, h,
    object, classes; `yolov8` (1, 4 + C, A) cx, cy, w, h, classes, or the same transposed; `end2end` (1, n, 6) corners, score,
    class, after its own suppression (YOLOv10); `fastestdet` (1, 5 + C, h, w) object, tanh x, y, sigmoid w, h, classes by cell;
    `ssd` boxes (1, A, 4) and scores (1, A, C [+ 1 background]), or, where `labels_output` is named, boxes (n, 4), scores (n),
    labels (n), with or without the batch axis, after the graph's own suppression.
    """

    family: Literal["yolox", "yolov5", "yolov8", "end2end", "ssd", "fastestdet"]
    classes: Annotated[int, msgspec.Meta(ge=1, le=MAX_CLASSES)]
    """Without the background."""
    products: Classes
    """Classes whose boxes are stock."""
    look: Look
    cover: Cover
    voids: Classes = ()
    """Classes whose boxes are empty facings."""
    blockers: Classes = ()
    """Classes whose boxes stand in front of the shelf (people, trolleys)."""
    score: Annotated[float, msgspec.Meta(ge=0.001, le=1.0)] = 0.3
    """A box below this score is not there."""
    nms: Share = 0.5
    """Of two boxes of one class that overlap by more than this (intersection over union) the better stays; 1: all stay."""
    scored_by: Literal["class", "object"] = "class"
    """`object`: the object score alone, whatever the class is sure of (yolox, yolov5, fastestdet)."""
    nothing: Literal["unknown", "empty"] = "unknown"
    """What a slot is that no box covers."""
    absence: Annotated[float, msgspec.Meta(ge=0.34, le=0.99)] = 0.7
    """With `nothing = "empty"`: how sure that is."""
    largest: Annotated[float, msgspec.Meta(gt=0.0, le=1000.0)] = 4.0
    """A product or void box with more than this many times the area of the layout's median slot is no facing, and is passed
    over."""
    strides: Annotated[tuple[Stride, ...], msgspec.Meta(max_length=8)] = ()
    """yolox: of its grids, in the order in which they are stacked."""
    decoded: bool = False
    """yolox: exported with its grids applied: cx, cy, w, h in pixels."""
    normalized: bool = False
    """Coordinates are 0..1 of the input."""
    corners: Literal["xyxy", "yxyx", "centre"] = "xyxy"
    """ssd, end2end: the order of a box's numbers; `centre`: cx, cy, w, h."""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    """What the scores still lack."""
    background: Literal["none", "first", "last"] = "none"
    """ssd: which column of the scores is no class."""
    first_label: Literal[0, 1] = 0
    """ssd with `labels_output`, end2end: the number that the first class has."""
    scores_output: Name | None = None
    labels_output: Name | None = None
    max_candidates: Annotated[int, msgspec.Meta(ge=1, le=MAX_CANDIDATES)] = 1024
    """Of more boxes above the score the best go on to the suppression."""
    max_boxes: Annotated[int, msgspec.Meta(ge=1, le=MAX_BOXES)] = 256
    """Of more boxes after it the best count, by tile."""

    def outputs(self, first: str) -> tuple[str, ...]:
        """Graph outputs in the order in which the family's decoding takes them; `first` is the manifest's `output.name`."""
        return tuple(name for name in (first, self.scores_output, self.labels_output) if name)


def check_decoder(decoder: Decoder, size: tuple[int, int]) -> None:
    """Raise Refused for a decoder that contradicts itself, or an input of `size` (width, height)."""
    for found in (
        _class_faults(decoder),
        _cover_fault(decoder),
        _look_fault(decoder, size),
        _family_fault(decoder, size),
    ):
        if found:
            raise Refused(found, _MEND)


def _class_faults(decoder: Decoder) -> str:
    named = (*decoder.products, *decoder.voids, *decoder.blockers)
    beyond = sorted({index for index in named if index >= decoder.classes})
    if beyond:
        return f"decoder classes {beyond[:8]} are named, but the model has {decoder.classes} (the first is 0)"
    if len(set(named)) != len(named):
        return "a decoder class is named twice; each is a product, a void or a blocker, once"
    if not decoder.products and not decoder.voids:
        return "the decoder names no class as product or as void: no box could say what a slot is"
    return ""


def _cover_fault(decoder: Decoder) -> str:
    cover = decoder.cover
    if cover.low and not cover.low < cover.stocked:
        return f"decoder.cover.low is {cover.low}; less than cover.stocked ({cover.stocked}) was expected"
    return ""


def _look_fault(decoder: Decoder, size: tuple[int, int]) -> str:
    tiles = decoder.look.tiles
    count = tiles[0] * tiles[1]
    if count > MAX_TILES:
        return f"decoder.look.tiles are {tiles}; at most {MAX_TILES} tiles were expected"
    if count * size[0] * size[1] > MAX_CANVAS_PIXELS:
        return f"{count} tiles of {size[0]}x{size[1]} were asked for; at most {MAX_CANVAS_PIXELS} pixels were expected"
    return ""


def _family_fault(decoder: Decoder, size: tuple[int, int]) -> str:
    family = decoder.family
    if decoder.scored_by == "object" and family not in ("yolox", "yolov5", "fastestdet"):
        return f"decoder.scored_by is 'object', but {family} has no object score"
    if family == "yolox" and not decoder.decoded and not decoder.strides:
        return "a yolox decoder needs the strides of its grids (8, 16, 32 as a rule), or decoded = true"
    if family == "yolox" and any(side % stride for side in size for stride in decoder.strides):
        return f"the input of {size[0]}x{size[1]} is no multiple of the strides {decoder.strides}"
    if family == "ssd" and decoder.scores_output is None:
        return "an ssd decoder needs scores_output, the name of the graph output with the scores"
    if family != "ssd" and (decoder.scores_output or decoder.labels_output or decoder.background != "none"):
        return f"scores_output, labels_output and background belong to ssd; the family is {family}"
    if decoder.labels_output and (decoder.background != "none" or decoder.activation == "softmax"):
        return "with labels_output the scores are one a box: neither a background nor a softmax can be"
    if decoder.activation == "softmax" and family not in ("ssd", "yolov8"):
        return f"decoder.activation is 'softmax', which {family} does not use; 'none' or 'sigmoid' was expected"
    return ""
