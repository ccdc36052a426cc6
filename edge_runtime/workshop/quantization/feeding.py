"""From crops to what a graph is fed, and the graph itself: any inputs, any outputs, bounded batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge_runtime.errors import Refused
from edge_runtime.manifest import InputSpec

Array: TypeAlias = NDArray[np.generic]
Feed: TypeAlias = dict[str, Array]
_ELEMENT = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


class Runner:
    """A loaded graph, run as a device would: one thread, whatever its inputs and outputs are."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs: dict[str, tuple[type, list[int | str | None]]] = {
            node.name: (_ELEMENT.get(node.type, object), node.shape) for node in self._session.get_inputs()
        }
        self.outputs: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())

    def __call__(self, feed: Feed, outputs: tuple[str, ...] | None = None) -> tuple[Array, ...]:
        """All outputs, or the named ones, in that order."""
        return tuple(self._session.run(list(outputs or self.outputs), feed))

    def require(self, feed: Feed) -> None:
        """Raise Refused if `feed` does not fit the graph's inputs: names, types or sides."""
        if set(feed) != set(self.inputs):
            raise Refused(
                f"the calibration set feeds {', '.join(sorted(feed)) or 'nothing'}; the graph takes "
                f"{', '.join(self.inputs)}",
                "Name the arrays after the graph's inputs, or give crops and an export receipt",
            )
        for name, (dtype, shape) in self.inputs.items():
            array = feed[name]
            sides = [side for side in shape[1:] if isinstance(side, int)]
            fits = len(array.shape) == len(shape) and all(
                got == want for got, want in zip(array.shape[1:], shape[1:], strict=True) if isinstance(want, int)
            )
            if array.dtype != dtype or not fits:
                raise Refused(
                    f"input {name!r} takes {np.dtype(dtype)} [n, {', '.join(map(str, shape[1:]))}]; the calibration "
                    f"set holds {array.dtype} {list(array.shape)}",
                    f"Cut crops of {'x'.join(map(str, sides)) or 'the size that the model was trained with'}",
                )


def as_fed(crops: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8] | NDArray[np.float32]:
    """(n, h, w, 3) BGR crops in the colour order, layout, type and scale of a graph's input."""
    ordered = crops[..., ::-1] if spec.colour == "RGB" else crops
    if spec.dtype == "uint8":
        return np.ascontiguousarray(ordered.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else ordered)
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float64)
    scaled = (ordered.astype(np.float32) - mean) * (1.0 / std).astype(np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else scaled)


def feed_of(current: NDArray[np.uint8], reference: NDArray[np.uint8] | None, spec: InputSpec) -> Feed:
    """The feed of a batch of crops. Raises Refused if the graph wants a reference and there is none."""
    if spec.reference is None:
        return {spec.current: as_fed(current, spec)}
    if reference is None:
        raise Refused(
            f"the graph also takes the reference crop ({spec.reference!r}); the calibration set holds single crops",
            "Give pairs: pairs-NN.png strips, or an npz with `current` and `reference`",
        )
    return {spec.current: as_fed(current, spec), spec.reference: as_fed(reference, spec)}


def rows_of(feed: Mapping[str, Array]) -> int:
    """How many slots a feed holds."""
    return len(next(iter(feed.values())))
