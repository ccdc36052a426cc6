"""float32 to int8: static QDQ with a calibration set of normalized crops (Jacob et al. 2018, per channel)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_runtime.errors import BadConfig
from edge_runtime.workshop.graph import CURRENT, PIXELS, REFERENCE

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
QUANTIZED = ["Conv", "Add", "Concat", "Clip", "Split"]
"""Kinds that become int8; the difference of the crops and the scikit-learn head stay float32."""
BATCH = 16


class _Pairs(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, current: NDArray[np.uint8], reference: NDArray[np.uint8] | None) -> None:
        feeds = {CURRENT: current} if reference is None else {CURRENT: current, REFERENCE: reference}
        self._batches = iter(
            [{name: crops[k : k + BATCH] for name, crops in feeds.items()} for k in range(0, len(current), BATCH)]
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)


def quantize(
    model: onnx.ModelProto,
    current: NDArray[np.uint8],
    reference: NDArray[np.uint8] | None,
    method: str = "minmax",
    float_nodes: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """A copy of the merged float graph in int8: per-channel symmetric S8 weights, U8 activations.

    `current` and `reference` are (n, size, size, 3) uint8 calibration pairs (None where the graph takes no reference). Nodes whose name begins with one of
    `float_nodes` stay float32. Activations are U8 with a zero point: the range of ReLU6 then ends where the type ends
    and no clip remains, and x86 has the kernels (S8 activations measured 2.4 times slower there).
    """
    if method not in METHODS:
        raise BadConfig(f"quantization method {method!r}; one of {', '.join(METHODS)} was expected", "Mend the recipe")
    with tempfile.TemporaryDirectory() as folder:
        source, ready, made = (Path(folder) / name for name in ("float.onnx", "ready.onnx", "int8.onnx"))
        onnx.save(model, source)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        names = [node.name for node in onnx.load(ready).graph.node]
        quantize_static(
            ready,
            made,
            _Pairs(current, reference),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[name for name in names if name.startswith(tuple(float_nodes))] if float_nodes else [],
            calibrate_method=METHODS[method],
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        return _settled(onnx.load(made))


def _settled(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what names the tools and the shapes they inferred: the file is then the same for the same weights."""
    _take_pixels_as_they_are(model.graph)
    del model.graph.value_info[:]
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "edge-runtime", "", ""
    onnx.checker.check_model(model, full_check=True)
    return model


def _take_pixels_as_they_are(graph: onnx.GraphProto) -> None:
    """Pixels are uint8 already: take away the rounding that the quantizer put behind them."""
    again = {node.output[0] for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == PIXELS}
    back = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in again}
    kept = [node for node in graph.node if not set(node.output) & (again | back)]
    for node in kept:
        node.input[:] = [PIXELS if name in back else name for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)
