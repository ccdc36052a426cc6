"""The two-input slot network as an ONNX graph, from plain weight arrays.

The graph is written node by node, not traced: no framework is needed to export, batch normalization is already
folded into the weights, and the same weights always give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.manifest import InputSpec

OPSET = 17
IR_VERSION = 9
CURRENT = "current"
REFERENCE = "reference"
EMBEDDING = "embedding"
PIXELS = "pixels"
"""The float pixels (pixel - 128) / 128 that the stem takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Conv:
    """A convolution with folded batch normalization; square kernel, padding that keeps size / stride, or none."""

    weight: NDArray[np.float32]
    """(out, in / groups, k, k)."""
    bias: NDArray[np.float32]
    stride: int = 1
    groups: int = 1
    padding: int = 0
    relu6: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Convolutions in a row; with `residual` the input is added before a last ReLU6."""

    convs: tuple[Conv, ...]
    residual: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """stem(current), stem(reference) and their absolute difference, concatenated, through the body, to an embedding."""

    stem: tuple[Block, ...]
    body: tuple[Block, ...]
    size: int
    """Side of the square crop in pixels."""

    @property
    def width(self) -> int:
        """Length of the embedding."""
        return int(self.body[-1].convs[-1].weight.shape[0])


def input_spec(size: int, margin: float, reference: bool = True) -> InputSpec:
    """How graphs of this workshop take their crops: uint8 NHWC BGR, scaled inside."""
    plain, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return InputSpec(
        "NHWC", (size, size), "BGR", "uint8", plain, one, margin, CURRENT, REFERENCE if reference else None
    )


class _Writer:
    """Collects nodes and initializers; a weight array that comes twice is stored once."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.weights.setdefault(name, numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def blocks(self, x: str, blocks: tuple[Block, ...], scope: str) -> str:
        for number, block in enumerate(blocks):
            begin = x
            for part, conv in enumerate(block.convs):
                x = self._conv(x, conv, f"{scope}{number}_{part}")
            if block.residual:
                x = self._relu6(self.node("Add", [x, begin], f"{scope}{number}_add"), f"{scope}{number}_out")
        return x

    def _conv(self, x: str, conv: Conv, scope: str) -> str:
        side, pad = conv.weight.shape[2], conv.padding
        names = [x, self.constant(f"{scope}_w", conv.weight), self.constant(f"{scope}_b", conv.bias)]
        attributes = {
            "kernel_shape": [side, side],
            "strides": [conv.stride, conv.stride],
            "pads": [pad, pad, pad, pad],
            "group": conv.groups,
        }
        x = self.node("Conv", names, f"{scope}_conv", **attributes)
        return self._relu6(x, f"{scope}_relu") if conv.relu6 else x

    def _relu6(self, x: str, name: str) -> str:
        low = self.constant("zero", np.asarray(0.0, np.float32))
        return self.node("Clip", [x, low, self.constant("six", np.asarray(6.0, np.float32))], name)


def backbone_graph(backbone: Backbone) -> onnx.ModelProto:
    """Inputs `current`, `reference`: uint8 (n, size, size, 3) BGR. Output `embedding`: float32 (n, width)."""
    writer = _Writer()
    seen = _entry(writer, backbone.stem)
    change = writer.node("Abs", [writer.node("Sub", seen, "change_sub")], "change")
    joined = writer.node("Concat", [*seen, change], "joined", axis=1)
    x = writer.blocks(joined, backbone.body, "body")
    writer.node("Flatten", [x], EMBEDDING, axis=1)
    shape: list[str | int | None] = ["n", backbone.size, backbone.size, 3]
    graph = helper.make_graph(
        writer.nodes,
        "two_input_slots",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in (CURRENT, REFERENCE)],
        [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["n", backbone.width])],
        list(writer.weights.values()),
    )
    return finished(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


def _entry(writer: _Writer, stem: tuple[Block, ...]) -> list[str]:
    """Both crops as one batch, uint8 NHWC to NCHW, through the stem, and apart again.

    `DequantizeLinear` reads x = (pixel - 128) / 128, which int8 kernels take as it is: pixels are never rounded. One
    batch keeps one set of quantized stem weights for both crops.
    """
    x = writer.node("Concat", [CURRENT, REFERENCE], "pair", axis=0)
    x = writer.node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    scale = writer.constant("pixel_scale", np.asarray(1 / 128, np.float32))
    x = writer.node("DequantizeLinear", [x, scale, writer.constant("pixel_zero", np.asarray(128, np.uint8))], PIXELS)
    x = writer.blocks(x, stem, "stem")
    names = ["seen_current", "seen_reference"]
    writer.nodes.append(helper.make_node("Split", [x], names, name="seen", axis=0))
    return names


def finished(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fix what differs between tool versions, check the graph, and hand it back."""
    model.ir_version = IR_VERSION
    versions = {entry.domain: entry.version for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, versions[domain]) for domain in sorted(versions))
    model.producer_name, model.producer_version, model.doc_string = "edge-runtime", "", ""
    onnx.checker.check_model(model, full_check=True)
    return model


def only_scores(model: onnx.ModelProto, graph_name: str, scores: str, columns: int) -> onnx.ModelProto:
    """What skl2onnx wrote, with what leads to the last output alone, called `scores`: (n, columns) float32.

    The label output would make the graph answer twice.
    """
    graph = model.graph
    last = graph.output[-1].name
    needed, kept = {last}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    kept.reverse()
    for node in kept:
        node.output[:] = [scores if output == last else output for output in node.output]
        node.input[:] = [scores if taken == last else taken for taken in node.input]
    out = helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["n", columns])
    weights = [weight for weight in graph.initializer if weight.name in needed]
    alone = helper.make_graph(kept, graph_name, list(graph.input), [out], weights)
    return finished(helper.make_model(alone, opset_imports=list(model.opset_import)))


def multiply_adds(backbone: Backbone) -> int:
    """Multiply-accumulates of all convolutions for one slot (both stems counted)."""
    stem, side = _cost(backbone.stem, backbone.size)
    body, _ = _cost(backbone.body, side)
    return 2 * stem + body


def _cost(blocks: tuple[Block, ...], side: int) -> tuple[int, int]:
    total = 0
    for conv in (conv for block in blocks for conv in block.convs):
        side = (side + 2 * conv.padding - conv.weight.shape[2]) // conv.stride + 1
        total += side * side * int(np.prod(conv.weight.shape))
    return total, side
