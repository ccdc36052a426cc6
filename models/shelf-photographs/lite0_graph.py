"""Lite0 as an ONNX graph, written node by node from folded weights, and the scikit-learn head behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from lite0 import FoldedBlock, FoldedConv, same_pads
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression

from edge_runtime.workshop.graph import CURRENT, EMBEDDING, OPSET, PIXELS, finished
from edge_runtime.workshop.head import LOGITS

COLUMNS = ("stocked", "low", "empty")
LOW = -20.0
"""Logit of `low`, which such photographs have no examples of; stocked and empty are half the score, away from and towards it."""


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        self.weights.setdefault(name, numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def block(self, x: str, block: FoldedBlock, scope: str) -> str:
        begin = x
        for part, conv in enumerate(block.convs):
            x = self._conv(x, conv, f"{scope}_{part}")
        return self.node("Add", [x, begin], f"{scope}_add") if block.residual else x

    def _conv(self, x: str, conv: FoldedConv, scope: str) -> str:
        side = conv.weight.shape[2]
        before, after = same_pads(side, conv.stride) if conv.padded else (0, 0)
        names = [x, self.constant(f"{scope}_w", conv.weight), self.constant(f"{scope}_b", conv.bias)]
        x = self.node(
            "Conv",
            names,
            f"{scope}_conv",
            kernel_shape=[side, side],
            strides=[conv.stride, conv.stride],
            pads=[before, before, after, after],
            group=conv.groups,
        )
        if not conv.relu6:
            return x
        limits = [self.constant("zero", np.float32(0.0)), self.constant("six", np.float32(6.0))]
        return self.node("Clip", [x, *limits], f"{scope}_relu")


def lite0_graph(blocks: tuple[FoldedBlock, ...], size: int) -> onnx.ModelProto:
    """Input `current`: uint8 (n, size, size, 3) BGR. Output `embedding`: float32 (n, width).

    `DequantizeLinear` reads x = (pixel - 128) / 128, which int8 kernels take as it is.
    """
    writer = _Writer()
    x = writer.node("Transpose", [CURRENT], "planes", perm=[0, 3, 1, 2])
    scale = writer.constant("pixel_scale", np.float32(1 / 128))
    x = writer.node("DequantizeLinear", [x, scale, writer.constant("pixel_zero", np.uint8(128))], PIXELS)
    width = blocks[-1].convs[-1].weight.shape[0]
    for number, block in enumerate(blocks):
        x = writer.block(x, block, f"block{number}")
    if blocks[-1].convs[-1].padded:
        x = writer.node("GlobalAveragePool", [x], "pooled")
    writer.node("Flatten", [x], EMBEDDING, axis=1)
    graph = helper.make_graph(
        writer.nodes,
        "lite0_slots",
        [helper.make_tensor_value_info(CURRENT, TensorProto.UINT8, ["n", size, size, 3])],
        [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["n", width])],
        list(writer.weights.values()),
    )
    return finished(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


def void_head_graph(head: LogisticRegression, bias: float) -> onnx.ModelProto:
    """skl2onnx's graph of a two-class head (False stocked, True empty): `embedding` in, `logits` (n, 3) over COLUMNS out.

    `bias` is added to the score: the threshold found on held-out groups stands then at equal shares.
    """
    scores = to_onnx(
        head,
        initial_types=[(EMBEDDING, FloatTensorType([None, head.coef_.shape[1]]))],
        options={id(head): {"raw_scores": True, "zipmap": False}},
        target_opset={"": OPSET, "ai.onnx.ml": 3},
    ).graph
    pair = scores.output[-1].name
    kept = [node for node in scores.node if pair in node.output]
    weights = [
        numpy_helper.from_array(np.array([[0, 0, 0], [-0.5, 0, 0.5]], np.float32), "spread"),
        numpy_helper.from_array(np.array([-bias / 2, LOW, bias / 2], np.float32), "offset"),
    ]
    kept += [
        helper.make_node("MatMul", [pair, "spread"], ["spread_scores"], name="spread_scores"),
        helper.make_node("Add", ["spread_scores", "offset"], [LOGITS], name="columns"),
    ]
    out = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [None, len(COLUMNS)])
    graph = helper.make_graph(kept, "void_head", list(scores.input), [out], [*scores.initializer, *weights])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    return finished(helper.make_model(graph, opset_imports=opsets))


def multiply_adds(blocks: tuple[FoldedBlock, ...], size: int) -> int:
    """Multiply-accumulates of all convolutions for one slot."""
    total, side = 0, size
    for conv in (conv for block in blocks for conv in block.convs):
        side = -(-side // conv.stride) if conv.padded else 1
        total += side * side * int(np.prod(conv.weight.shape))
    return total
