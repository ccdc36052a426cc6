"""What onnxruntime's quantizer wrote, with nothing in it but the model: the same bytes for the same weights."""

from __future__ import annotations

import onnx
from onnx import TensorProto


def settled(model: onnx.ModelProto) -> onnx.ModelProto:
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
    """A graph that dequantizes uint8 pixels has them on a grid already: take away the rounding put behind that."""
    inputs = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    grids = _behind(graph, inputs)
    again = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in grids
    }
    back = {
        node.output[0]: again[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in again
    }
    kept = [node for node in graph.node if not set(node.output) & (set(again) | set(back))]
    for node in kept:
        node.input[:] = [back.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)


def _behind(graph: onnx.GraphProto, inputs: set[str]) -> set[str]:
    """Outputs of the DequantizeLinear nodes that read the pixels, perhaps through moves that change no value."""
    moved = set(inputs)
    for node in graph.node:
        if node.op_type in ("Transpose", "Concat", "Reshape") and set(node.input) & moved:
            moved |= set(node.output)
    return {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in moved}
