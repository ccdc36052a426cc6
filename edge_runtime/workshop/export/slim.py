"""Optional simplification with onnxslim: constants folded, nodes that change nothing taken out."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import onnx

from edge_runtime.errors import Refused, Unavailable


def slimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A simplified copy. Whether it says the same must be proved by running it.

    Raises Unavailable if onnxslim is not installed, Refused if it fails on this graph.
    """
    if find_spec("onnxslim") is None:
        raise Unavailable("--slim needs onnxslim, which is not installed", "pip install onnxslim")
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    try:
        slim = import_module("onnxslim").slim(copied)
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError) as fault:
        raise Refused(f"onnxslim fails on this graph: {fault}", "Export without --slim") from None
    if not isinstance(slim, onnx.ModelProto):
        raise Refused("onnxslim gave no graph", "Export without --slim")
    slim.ir_version = model.ir_version
    return slim
