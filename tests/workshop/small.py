"""Small models for the tests of quantize, validate and pack: made in milliseconds, with export receipts beside them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.manifest import InputSpec, OutputSpec
from edge_runtime.workshop.export.receipt import (
    ExportReceipt,
    Parity,
    Source,
    Tensor,
    digest_of,
    encode_receipt,
    receipt_path,
)
from edge_runtime.workshop.graph import input_spec
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.quantization.feeding import Runner, feed_of

SIDE = 16
RGB = InputSpec("NCHW", (SIDE, SIDE), "RGB", "float32", (100.0, 110.0, 120.0), (50.0, 60.0, 70.0), 0.1, "image")
"""One float32 NCHW input, as photographs' networks have."""


def convnet(spread: float = 0.0, opset: int = 17, weights: float = 1.0) -> onnx.ModelProto:
    """float32 (n, 3, SIDE, SIDE) `image` to (n, 4) `scores`: two convolutions, a pool, a Gemm.

    `spread` scales channels of the first convolution apart by so many powers of ten, which one scale for all activations
    can not hold.
    """
    rng = np.random.default_rng(2)
    scale = (10.0 ** np.linspace(-spread, 0, 8)).astype(np.float32)
    first = rng.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32) * scale[:, None, None, None] * np.float32(weights)
    second = rng.normal(0, 0.4, (8, 8, 3, 3)).astype(np.float32) / scale[None, :, None, None]
    last = rng.normal(0, 1.0, (8, 4)).astype(np.float32)
    arrays = {"w1": first, "w2": second, "w3": last, "b3": np.zeros(4, np.float32)}
    pads = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], name="first", strides=[2, 2], **pads),
        helper.make_node("Relu", ["c1"], ["r1"], name="first_relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="second", **pads),
        helper.make_node("Relu", ["c2"], ["r2"], name="second_relu"),
        helper.make_node("GlobalAveragePool", ["r2"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["scores"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return levelled(model)


def levelled(model: onnx.ModelProto) -> onnx.ModelProto:
    """The last bias takes the mean of each column away, so that crops get different answers."""
    (scores,) = Runner(model.SerializeToString())(feed_of(crops(64), None, RGB))
    bias = next(weight for weight in model.graph.initializer if weight.name == "b3")
    bias.CopyFrom(numpy_helper.from_array(-scores.mean(0), "b3"))
    return model


def crops(count: int, seed: int = 4, side: int = SIDE) -> NDArray[np.uint8]:
    """(count, side, side, 3): coarse colour patterns."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(side // 4, 1).repeat(side // 4, 2)


def write_exported(path: Path, model: onnx.ModelProto, spec: InputSpec = RGB, output: OutputSpec | None = None) -> Path:
    """An ONNX file with its export receipt, as `build export` leaves them."""
    body = model.SerializeToString(deterministic=True)
    path.write_bytes(body)
    receipt = ExportReceipt(
        "export-receipt/1",
        "classify-slots",
        Source("onnx", "small.onnx", "0" * 64, "a test"),
        digest_of(body),
        spec,
        output or OutputSpec(model.graph.output[0].name, "logits", LABELS),
        (Tensor(spec.current, spec.dtype, ("n",)),),
        (Tensor(model.graph.output[0].name, "float32", ("n", 4)),),
        {"ai.onnx": 17},
        8,
        Parity("test", 8, 0.0, 1.0, 1e-3),
    )
    receipt_path(path).write_bytes(encode_receipt(receipt))
    return path


def write_vast_picture(path: Path) -> Path:
    """A PNG of a hundred bytes that says it is 60,000 pixels wide and high."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def house_spec(size: int = 64, margin: float = 0.12) -> InputSpec:
    """How `conftest.merged` takes its crops."""
    return input_spec(size, margin)
