"""The int8 graph itself: ranges from batches of samples, then static QDQ (Jacob et al. 2018, per channel).

Ranges and graph are apart, so that nodes can be kept in float, one group after another, without calibrating again.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import version_converter
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator, save_tensors_data
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_runtime.errors import BadConfig, Refused
from edge_runtime.workshop.graph import input_spec
from edge_runtime.workshop.quantization.arrays import CropArrays
from edge_runtime.workshop.quantization.feeding import Feed
from edge_runtime.workshop.quantization.processor import EIGHT_BITS, Types
from edge_runtime.workshop.quantization.samples import Samples
from edge_runtime.workshop.quantization.settled import settled

Method = Literal["minmax", "percentile", "entropy"]
METHODS: dict[str, CalibrationMethod] = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
KINDS = ("Conv", "ConvTranspose", "Add", "Concat", "Clip", "Relu", "Split", "MaxPool", "Resize")
"""Kinds that become int8. A last Gemm or MatMul is small and decides: it stays float, unless there is nothing else."""
GATES = ("Sigmoid", "Mul")
"""x * sigmoid(x) behind every convolution: left in float between int8 layers it costs more than int8 saves."""
DENSE = (*KINDS, "Gemm", "MatMul")
WORKERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
BATCH = 16
LOWEST_OPSET, RAISED_OPSET = 13, 17
CHUNK = 4
"""Batches whose activations are held at a time while their ranges are gathered."""
ENTROPY_BINS = 512
"""onnxruntime's own 128 are as many as there are int8 levels, so that its search would have one candidate: all of it."""
Told = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A float graph, simplified and with shapes, ready to be calibrated and quantized."""

    model: onnx.ModelProto
    kinds: tuple[str, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes."""
        return tuple(node.name for node in self.model.graph.node)


def tail_of(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Nodes behind the last convolution or product on the way to an output.

    There outputs of different meaning are put together (boxes in pixels, scores below one): one scale for all of them
    would leave nothing of the small ones.
    """
    makers = {name: node for node in graph.node for name in node.output}
    waiting = [makers[output.name] for output in graph.output if output.name in makers]
    tail: dict[str, None] = {}
    while waiting:
        node = waiting.pop()
        if node.op_type not in WORKERS and node.name not in tail:
            tail[node.name] = None
            waiting += [makers[name] for name in node.input if name in makers]
    return tuple(tail)


@dataclass(frozen=True, eq=False)
class Ranges:
    """What every tensor holds over the calibration samples, by one method."""

    method: Method
    data: Any


def prepare(model: onnx.ModelProto) -> Prepared:
    """Fold what can be folded. Raises Refused if nothing in the graph can become int8."""
    found = {node.op_type for node in model.graph.node}
    if not found & WORKERS:
        raise Refused(
            f"the graph has no {', '.join(sorted(WORKERS))}: there is nothing to quantize in {', '.join(sorted(found))}",
            "Pack the float file alone: `edge-runtime build pack` without --int8",
        )
    with tempfile.TemporaryDirectory() as folder:
        source, ready = Path(folder) / "float.onnx", Path(folder) / "ready.onnx"
        onnx.save(_raised(model), source)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        kinds: tuple[str, ...] = KINDS if found & {"Conv", "ConvTranspose"} else DENSE
        kinds += GATES if {"Sigmoid", "Mul"} <= found else ()
        return Prepared(_named(onnx.load(ready)), kinds)


def batch_of(graph: onnx.GraphProto) -> int:
    """Rows in one run: BATCH, or what the graph's first axis is fixed to."""
    weights = {weight.name for weight in graph.initializer}
    sides = [value.type.tensor_type.shape.dim for value in graph.input if value.name not in weights]
    fixed = [side[0].dim_value for side in sides if len(side) and side[0].dim_value > 0]
    return min(fixed, default=BATCH)


def gather(prepared: Prepared, samples: Samples, rows: Sequence[int], method: str, told: Told | None = None) -> Ranges:
    """Ranges over `rows` of the samples, CHUNK batches in memory at a time. Raises BadConfig for an unknown method."""
    if method not in METHODS:
        raise BadConfig(f"quantization method {method!r}; one of {', '.join(METHODS)} was expected", "Mend the recipe")
    size = batch_of(prepared.model.graph)
    batches = [rows[k : k + size] for k in range(0, len(rows), size)]
    # The calibrators print what they do on standard output, which belongs to the caller's answer.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        ready, augmented = (str(Path(folder) / name) for name in ("ready.onnx", "augmented.onnx"))
        onnx.save(prepared.model, ready)
        extra = {"symmetric": False} | ({"num_bins": ENTROPY_BINS} if method == "entropy" else {})
        calibrator = create_calibrator(
            ready, list(prepared.kinds), augmented, calibrate_method=METHODS[method], extra_options=extra
        )
        done = 0
        for chunk in _chunks(batches):
            calibrator.collect_data(_Batches(samples, chunk))
            done += sum(map(len, chunk))
            if told:
                told(done, len(rows))
        return Ranges(method, calibrator.compute_data())  # type: ignore[arg-type]


def write_int8(prepared: Prepared, ranges: Ranges, types: Types, kept: Sequence[str] = ()) -> onnx.ModelProto:
    """The int8 graph: per-channel symmetric S8 weights, activations as `types` says; nodes named in `kept` stay float."""
    with tempfile.TemporaryDirectory() as folder:
        ready, made, cache = (Path(folder) / name for name in ("ready.onnx", "int8.onnx", "ranges.json"))
        onnx.save(prepared.model, ready)
        save_tensors_data(ranges.data, cache)
        quantize_static(
            ready,
            made,
            None,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(prepared.kinds),
            per_channel=True,
            reduce_range=types.reduce_range,
            activation_type=QuantType.QUInt8 if types.activations == "U8" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(kept),
            calibrate_method=METHODS[ranges.method],
            calibration_cache_path=cache,
            extra_options={"ActivationSymmetric": types.symmetric, "WeightSymmetric": True},
        )
        return settled(onnx.load(made))


def quantize(
    model: onnx.ModelProto, samples: Samples, method: str, types: Types, float_nodes: Sequence[str] = ()
) -> onnx.ModelProto:
    """The int8 graph by settings that were chosen before: ranges of all samples; nodes by the beginning of their names."""
    prepared = prepare(model)
    kept = tuple(name for name in prepared.nodes if float_nodes and name.startswith(tuple(float_nodes)))
    return write_int8(prepared, gather(prepared, samples, range(len(samples)), method), types, kept)


def quantize_crops(
    model: onnx.ModelProto,
    current: NDArray[np.uint8],
    reference: NDArray[np.uint8] | None,
    method: str = "minmax",
    float_nodes: Sequence[str] = (),
    types: Types = EIGHT_BITS,
) -> onnx.ModelProto:
    """`quantize` for the graphs of this workshop, which take (n, size, size, 3) uint8 crops by their own names."""
    spec = input_spec(current.shape[1], 0.0, reference is not None)
    return quantize(model, CropArrays(current, reference, spec), method, types, float_nodes)


def int8_share(model: onnx.ModelProto) -> tuple[int, int]:
    """(Conv, Gemm and MatMul nodes whose weights are int8, all of them)."""
    back = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    workers = [node for node in model.graph.node if node.op_type in WORKERS]
    return sum(len(node.input) > 1 and node.input[1] in back for node in workers), len(workers)


def _chunks(batches: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
    """CHUNK batches at a time, all of one size: the calibrators stack them."""
    whole = [batch for batch in batches if len(batch) == len(batches[0])]
    for begin in range(0, len(whole), CHUNK):
        yield whole[begin : begin + CHUNK]
    if len(whole) < len(batches):
        yield batches[len(whole) :]


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Samples, batches: Sequence[Sequence[int]]) -> None:
        self._feeds = (samples.feed(batch) for batch in batches)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """At least opset LOWEST_OPSET: before it there is no scale for each channel. Raises Refused if it can not be raised."""
    version = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if version >= LOWEST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, RAISED_OPSET)
    except (RuntimeError, version_converter.ConvertError) as fault:
        first = str(fault).strip().splitlines()[0]
        raise Refused(
            f"the graph is of opset {version} and can not be raised to {RAISED_OPSET}: {first}",
            f"Export it again with opset_version={RAISED_OPSET}",
        ) from None


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Nodes without a name can not be kept in float; they get one."""
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return model
