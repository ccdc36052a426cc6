"""A loaded detector: one canvas a run, its outputs checked against the decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.decoder import Decoder
from edge_runtime.errors import ModelFault
from edge_runtime.inference.detect.boxes import Boxes
from edge_runtime.inference.detect.decode import Outputs, decode, expected_shapes
from edge_runtime.inference.session import ELEMENT, Feed, Session, check_inputs
from edge_runtime.manifest import Manifest
from edge_runtime.records import Image

_PACK = "Pack the bundle again from the model and the decoder that belong together (docs/detectors.md)"
_LABEL_TYPES = ("tensor(float)", "tensor(int64)", "tensor(int32)")


class DetectSession(Session):
    """A detector that answered to its manifest. Not for use by two threads at once.

    Where a `Session` takes slot crops, it takes canvases (n, h, w, 3), one a run; where that gives logits, it gives boxes.
    """

    def __init__(self, runtime: Any, manifest: Manifest) -> None:
        if manifest.decoder is None:
            raise ModelFault("the manifest of this detector names no decoder", _PACK)
        self._decoder = manifest.decoder
        super().__init__(runtime, manifest)
        self._names = self._decoder.outputs(manifest.output.name)

    @property
    def decoder(self) -> Decoder:
        return self._decoder

    def outputs(self, canvas: Image) -> Outputs:
        """The graph's own arrays for one (h, w, 3) BGR uint8 canvas, in the order of `Decoder.outputs`."""
        self._buffer = feed = self._convert(canvas[None], self._buffer)
        return tuple(self._answer(list(self._names), {self._spec.current: feed}))

    def size_varies(self, place: int) -> bool:
        """Whether the graph leaves the size of this output open beyond the batch, as one that suppresses boxes itself does."""
        shape = {node.name: node.shape for node in self._runtime.get_outputs()}[self._names[place]]
        wanted = expected_shapes(self._decoder, self._spec.size)[place]
        sides = shape[1:] if len(shape) == len(wanted) + 1 else shape
        return not sides or any(not isinstance(side, int) for side in sides)

    def boxes(self, canvas: Image) -> Boxes:
        """What is found in one (h, w, 3) BGR uint8 canvas. Raises ModelFault if the model fails or answers nonsense."""
        return decode(self.outputs(canvas), self._decoder, self._spec.size)

    def run_bare(self, feeds: dict[str, Feed]) -> None:
        """One run of the runtime for all outputs that are decoded, and nothing around it: for benches."""
        self._answer(list(self._names), feeds)

    def run_prepared(self, current: Image, reference: Feed | None) -> NDArray[np.float32]:
        """Canvases (n, h, w, 3) to (n, max_boxes, 6) float32: left, top, right, bottom, score, class; zeros fill up."""
        if reference is not None:
            raise ValueError("a detector takes no reference")
        answers = np.zeros((len(current), self._decoder.max_boxes, 6), np.float32)
        for answer, canvas in zip(answers, current, strict=True):
            found = self.boxes(canvas)
            answer[: len(found)] = np.concatenate([found.corners, found.scores[:, None], found.labels[:, None]], 1)
        return answers

    def _check_graph(self, runtime: Any, manifest: Manifest) -> None:
        check_inputs(runtime, manifest, free=False)
        names = self._decoder.outputs(manifest.output.name)
        given = {node.name: node for node in runtime.get_outputs()}
        missing = [name for name in names if name not in given]
        if missing:
            raise ModelFault(f"the graph gives {sorted(given)}, the manifest names {missing}", _PACK)
        shapes = expected_shapes(self._decoder, manifest.input.size)
        for place, (name, wanted) in enumerate(zip(names, shapes, strict=True)):
            types = _LABEL_TYPES if place == 2 else (ELEMENT["float32"],)
            if given[name].type not in types:
                raise ModelFault(f"output {name!r} is {given[name].type}, {types[0]} was expected", _PACK)
            if not _fits(given[name].shape, wanted, self._decoder.family == "yolov8"):
                shown = ", ".join("any" if side is None else str(side) for side in wanted)
                raise ModelFault(f"output {name!r} has the shape {given[name].shape}, [1, {shown}] was expected", _PACK)


def _fits(shape: list[int | str | None], wanted: tuple[int | None, ...], either_way: bool) -> bool:
    """With or without a batch of one; free sides are checked when the model runs."""
    if not shape:  # the graph does not say
        return True
    if either_way and len(shape) == len(wanted) + 1 and _fits(shape, wanted[::-1], False):
        return True
    sides = shape[1:] if len(shape) == len(wanted) + 1 else shape
    if len(sides) != len(wanted) or (len(shape) > len(wanted) and isinstance(shape[0], int) and shape[0] != 1):
        return False
    pairs = zip(sides, wanted, strict=True)
    return all(want is None or not isinstance(got, int) or got == want for got, want in pairs)
