"""One loaded model: bytes and manifest in, a checked session out. The one place that knows onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelFault
from edge_runtime.inference.graph import require_standalone
from edge_runtime.manifest import InputSpec, Manifest
from edge_runtime.records import Image

Feed = NDArray[np.uint8] | NDArray[np.float32]
"""Crops as the graph takes them: NHWC or NCHW, BGR or RGB, uint8 or normalized float32."""

ELEMENT = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}
_PACK = "Pack the bundle again from the model and the manifest that belong together"
MAX_BATCH = 8
"""Slots in one run: more are no faster on one thread, and the runtime keeps the activations of a run for good."""
SUM_TOLERANCE = 0.02
"""A row of an int8 softmax may miss one by this much."""
_FATAL_ONLY = 4
"""Log level: what goes wrong comes back as an exception and is told once, by the runtime's own report."""


class Session:
    """A model that answered to its manifest. Not for use by two threads at once: it owns its buffers."""

    def __init__(self, runtime: Any, manifest: Manifest) -> None:
        self._check_graph(runtime, manifest)
        self._runtime = runtime
        self._spec = manifest.input
        self._output = manifest.output.name
        self._labels = len(manifest.output.labels)
        self._shares = manifest.output.kind == "probabilities"
        self._mean = np.asarray(manifest.input.mean, np.float32)
        self._scale = (1.0 / np.asarray(manifest.input.std, np.float64)).astype(np.float32)
        self._buffer: Feed | None = None

    @property
    def takes_reference(self) -> bool:
        return self._spec.reference is not None

    @property
    def spec(self) -> InputSpec:
        """What the graph takes."""
        return self._spec

    def run_bare(self, feeds: dict[str, Feed]) -> None:
        """One run of the runtime over prepared feeds, by name of the graph's input, and nothing around it: for benches."""
        self._answer([self._output], feeds)

    def prepare(self, crops: Image) -> Feed:
        """(n, h, w, 3) BGR uint8 to what the graph takes, in an array of its own.

        For crops that are fed again and again (the reference): prepare once, `run_prepared` often.
        """
        return self._convert(crops, None).copy()

    def run(self, current: Image, reference: Image | None = None) -> NDArray[np.float32]:
        """Crops to the graph's own output, (n, labels) float32: logits or probabilities as the manifest says.

        Both are (n, h, w, 3) BGR uint8. Raises ModelFault if the model fails, or answers with NaN or another shape.
        """
        return self.run_prepared(current, None if reference is None else self._convert(reference, None))

    def run_prepared(self, current: Image, reference: Feed | None) -> NDArray[np.float32]:
        """As `run`, with a reference that `prepare` has made."""
        if (reference is None) == self.takes_reference:
            raise ValueError("the reference crops must be given exactly if the manifest names a reference input")
        if reference is not None and len(reference) != len(current):
            raise ValueError(f"{len(current)} current crops and {len(reference)} reference crops")
        answers = np.empty((len(current), self._labels), np.float32)
        for start in range(0, len(current), MAX_BATCH):
            rows = slice(start, start + MAX_BATCH)
            answers[rows] = self._run_batch(current[rows], None if reference is None else reference[rows])
        return answers

    def _run_batch(self, current: Image, reference: Feed | None) -> NDArray[np.float32]:
        self._buffer = feed = self._convert(current, self._buffer)
        feeds = {self._spec.current: feed}
        if reference is not None and self._spec.reference is not None:
            feeds[self._spec.reference] = reference
        (answer,) = self._answer([self._output], feeds)
        return self._checked(answer, len(current))

    def _answer(self, names: list[str], feeds: dict[str, Feed]) -> list[Any]:
        try:
            answers: list[Any] = self._runtime.run(names, feeds)
        except _runtime_faults() as fault:
            raise ModelFault(f"the model failed while running: {_first_line(fault)}", "Fall back") from None
        return answers

    def _checked(self, answer: Any, rows: int) -> NDArray[np.float32]:
        if answer.shape != (rows, self._labels) or answer.dtype != np.float32:
            raise ModelFault(
                f"the model answered {answer.dtype} {answer.shape}, float32 {(rows, self._labels)} was expected",
                _PACK,
            )
        if not np.isfinite(answer).all():
            bad = int((~np.isfinite(answer)).any(axis=1).sum())
            raise ModelFault(f"the model answered NaN or infinity for {bad} of {rows} slots", "Fall back")
        if self._shares and not (np.abs(answer.sum(axis=1) - 1.0) <= SUM_TOLERANCE).all():
            raise ModelFault("the model's rows do not sum to one; the manifest says that they are probabilities", _PACK)
        checked: NDArray[np.float32] = answer
        return checked

    def _check_graph(self, runtime: Any, manifest: Manifest) -> None:
        check_inputs(runtime, manifest, free=True)
        output = manifest.output
        outputs = {node.name: node for node in runtime.get_outputs()}
        if output.name not in outputs:
            raise ModelFault(f"the graph gives {sorted(outputs)}, the manifest names {output.name!r}", _PACK)
        node = outputs[output.name]
        if node.type != ELEMENT["float32"]:
            raise ModelFault(f"output {node.name!r} is {node.type}, tensor(float) was expected", _PACK)
        _check_shape(f"output {node.name!r}", node.shape, (len(output.labels),))

    def _convert(self, crops: Image, buffer: Feed | None) -> Feed:
        width, height = self._spec.size
        if crops.dtype != np.uint8 or crops.shape[1:] != (height, width, 3):
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, uint8 (n, {height}, {width}, 3) was expected")
        ordered = crops[..., ::-1] if self._spec.colour == "RGB" else crops
        planar = self._spec.layout == "NCHW"
        if planar:
            ordered = ordered.transpose(0, 3, 1, 2)
        if self._spec.dtype == "uint8":
            return np.ascontiguousarray(ordered)
        if buffer is None or buffer.shape != ordered.shape:
            buffer = np.empty(ordered.shape, np.float32)
        mean, scale = (self._mean[:, None, None], self._scale[:, None, None]) if planar else (self._mean, self._scale)
        np.subtract(ordered, mean, out=buffer)
        np.multiply(buffer, scale, out=buffer)
        return buffer


def open_session(model: bytes, manifest: Manifest, threads: int = 1) -> Session:
    """Load a model with `threads` fixed compute threads and check it against its manifest.

    A manifest of the task `detect` gives a `detect.session.DetectSession`.
    Raises ModelFault if the bytes are no single-file ONNX model, if the runtime refuses them, or if inputs, outputs,
    types or shapes differ from the manifest.
    """
    require_standalone(model)
    import onnxruntime as ort

    ort.disable_telemetry_events()
    providers = ["CPUExecutionProvider"]
    try:
        # enable_fallback would retry with the same provider, and print.
        runtime = ort.InferenceSession(model, _options(ort, threads), providers=providers, enable_fallback=0)
        return _kind_of(manifest)(runtime, manifest)
    except _runtime_faults() as fault:
        raise ModelFault(f"the model does not load: {_first_line(fault)}", _PACK) from None


def _kind_of(manifest: Manifest) -> type[Session]:
    if manifest.task != "detect":
        return Session
    from edge_runtime.inference.detect.session import DetectSession

    return DetectSession


def _options(ort: Any, threads: int) -> Any:
    """Few threads, none spinning: a shelf camera's device has other work between two frames, and little memory."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    return options


def _runtime_faults() -> tuple[type[Exception], ...]:
    """The runtime's exceptions have no root of their own but Exception, so all are gathered; bad_alloc is MemoryError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    named = tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
    return (*named, RuntimeError, MemoryError, ValueError)


def _first_line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return (lines[0] if lines else type(fault).__name__)[:300]


def check_inputs(runtime: Any, manifest: Manifest, free: bool) -> None:
    """Raise ModelFault unless the graph's inputs are the manifest's; `free`: the first side must be, else it may be 1."""
    spec = manifest.input
    wanted = [spec.current] + ([spec.reference] if spec.reference else [])
    found = [node.name for node in runtime.get_inputs()]
    if sorted(found) != sorted(wanted):
        raise ModelFault(f"the graph takes {found}, the manifest names {wanted}", _PACK)
    width, height = spec.size
    sides = (height, width, 3) if spec.layout == "NHWC" else (3, height, width)
    for node in runtime.get_inputs():
        if node.type != ELEMENT[spec.dtype]:
            raise ModelFault(f"input {node.name!r} is {node.type}, {ELEMENT[spec.dtype]} was expected", _PACK)
        _check_shape(f"input {node.name!r}", node.shape, sides, free)


def _check_shape(what: str, shape: list[int | str | None], sides: tuple[int, ...], free: bool = True) -> None:
    """The first dimension is the number of slots and must be free (of a detector it may be 1); a free side is checked when
    the model runs."""
    fits = len(shape) == len(sides) + 1 and (not isinstance(shape[0], int) or (not free and shape[0] == 1))
    if not fits or any(isinstance(got, int) and got != want for got, want in zip(shape[1:], sides, strict=True)):
        first = "slots" if free else "1"
        raise ModelFault(f"{what} has the shape {shape}, [{first}, {', '.join(map(str, sides))}] was expected", _PACK)
