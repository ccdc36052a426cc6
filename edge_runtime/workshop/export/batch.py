"""The batch axis: a device feeds as many slots as there are, so it must be free."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edge_runtime.errors import Refused
from edge_runtime.workshop.export.receipt import Tensor

ROWS = "n"
MEND = (
    "Export it with a free first axis (torch.onnx.export(..., dynamic_axes={'<input>': {0: 'n'}, '<output>': {0: 'n'}})), "
    "or add --free-batch, which frees it and proves with 1 and 3 rows that the answers stay"
)


def fixed_rows(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Those whose first axis is a number."""
    return tuple(entry for entry in tensors if entry.shape and isinstance(entry.shape[0], int))


def require_free(tensors: tuple[Tensor, ...]) -> None:
    """Raise Refused if the first axis of any is fixed."""
    fixed = fixed_rows(tensors)
    if fixed:
        listed = ", ".join(f"{entry.name} {list(entry.shape)}" for entry in fixed)
        raise Refused(f"the number of slots is fixed: {listed}; a free first axis was expected", MEND)


def freed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose inputs and outputs have a free first axis.

    Shapes that were worked out for the old number of rows are forgotten, and a Reshape to that number of rows keeps
    whatever comes. Whether the graph still means the same must be proved by running it.
    """
    free = onnx.ModelProto()
    free.CopyFrom(model)
    weights = {weight.name: weight for weight in free.graph.initializer}
    entries = [entry for entry in free.graph.input if entry.name not in weights]
    rows = {entry.type.tensor_type.shape.dim[0].dim_value for entry in entries}
    for entry in (*entries, *free.graph.output):
        if entry.type.tensor_type.shape.dim:
            entry.type.tensor_type.shape.dim[0].dim_param = ROWS
    del free.graph.value_info[:]
    constants = weights | {
        node.output[0]: attribute.t
        for node in free.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for node in free.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            _keep_rows(constants[node.input[1]], rows)
    return free


def _keep_rows(shape: onnx.TensorProto, rows: set[int]) -> None:
    """[rows, a, b] becomes [0, a, b]: zero takes the axis as it comes. A shape that has a zero of another meaning stays."""
    try:
        sides = numpy_helper.to_array(shape).copy()
    except (ValueError, TypeError) as fault:
        raise Refused(f"the constant {shape.name!r} is damaged: {fault}", "Export the model again") from None
    if sides.ndim == 1 and len(sides) > 1 and int(sides[0]) in rows:
        sides[0] = 0
        shape.CopyFrom(numpy_helper.from_array(np.asarray(sides, np.int64), shape.name))
