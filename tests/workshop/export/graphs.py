"""Small ONNX classifiers as other tools would write them, good ones and ones with a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
COLUMNS = 4


def classifier(
    rows: int | str = "batch",
    columns: int = COLUMNS,
    dtype: int = TensorProto.FLOAT,
    side: int | str = SIDE,
    softmax: bool = False,
    reshape: tuple[int, ...] | None = None,
    names: tuple[str, ...] = ("pixels",),
    opset: int = 17,
    seed: int = 0,
) -> onnx.ModelProto:
    """Pixels NCHW through one convolution, the mean over the picture, and a linear layer; several inputs are added up."""
    rng = np.random.default_rng(seed)
    weights = {
        "kernel": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "matrix": rng.normal(0, 1, (8, columns)).astype(np.float32),
        "shape": np.asarray(reshape if reshape is not None else (0, -1), np.int64),
    }
    nodes = []
    ready = []
    for name in names:
        taken = name
        if dtype != TensorProto.FLOAT:
            nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
            taken = f"{name}_float"
        nodes.append(helper.make_node("Conv", [taken, "kernel"], [f"{name}_seen"], pads=[1, 1, 1, 1]))
        ready.append(f"{name}_seen")
    seen = ready[0]
    if len(ready) == 2:
        nodes.append(helper.make_node("Sub", ready, ["both"]))
        seen = "both"
    nodes += [
        helper.make_node("Relu", [seen], ["bent"]),
        helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
        helper.make_node("Reshape", ["pooled", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["sums" if softmax else "scores"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["sums"], ["scores"], axis=1))
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(name, dtype, [rows, 3, side, side]) for name in names],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="a trainer")
    model.ir_version = 8
    return model


def one_node(kind: str, domain: str = "", **attributes: Any) -> onnx.ModelProto:
    """A graph of a single operator."""
    node = helper.make_node(kind, ["pixels"], ["scores"], domain=domain, name="the_node", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4])],
    )
    domains = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 8
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path
