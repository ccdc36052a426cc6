"""Tiny, real bundles for tests: a graph of a few nodes, packed as `edge-runtime build pack` packs one.

`make_bundle(path, version="1.0.0", behaviour="good")` writes a bundle and returns its path. The model has two uint8
NHWC inputs, `current` and `reference`, and answers from the mean absolute difference of the two crops: identical
crops are stocked, a clear difference is empty, a middling one low. Behaviours:

- `good`          as above
- `always_empty`  says empty whatever it sees (two models that disagree)
- `nan`           loads, then answers NaN
- `late_nan`      good on its golden set, then answers NaN for crops that differ by less than a sensor's noise does
- `wrong_shape`   the graph has three output columns where the manifest names four labels
- `crash`         loads, then fails inside the runtime at every call
- `slow`          good answers, after some hundred milliseconds of arithmetic
- `golden_off`    good, but the golden answers it carries are another model's
- `garbage`       `model.onnx` is not an ONNX file
- `external`      the graph keeps a weight in a file beside it
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.manifest import (
    Confidence,
    FileDigest,
    InputSpec,
    Manifest,
    OutputSpec,
    Thresholds,
    encode_manifest,
)

LABELS = ("stocked", "low", "empty", "blocked")
SLOPE = np.array([[-0.25, -0.05, 0.10, 0.02]], np.float32)
OFFSET = np.array([6.0, 3.0, -2.0, -6.0], np.float32)
SIZE = (64, 64)


def make_bundle(
    path: Path,
    version: str = "1.0.0",
    behaviour: str = "good",
    name: str = "shelf-test",
    change: Callable[[Manifest], Manifest] = lambda manifest: manifest,
    members: Mapping[str, bytes] | None = None,
) -> Path:
    """Write one bundle. `change` edits the manifest before it is packed, `members` replaces or adds whole members."""
    parts = {
        "model.onnx": model_bytes(behaviour),
        "golden.npz": _npz(**golden(behaviour)),
        "reference.npz": _npz(embedding_mean=np.zeros(8, np.float32)),
        "LICENSE": b"Apache-2.0\n",
    }
    parts.update(members or {})
    described = {part: digest_of(raw) for part, raw in parts.items() if part != "manifest.json"}
    manifest = change(manifest_of(name, version, described))
    path.write_bytes(zip_bytes({"manifest.json": encode_manifest(manifest), **parts}))
    return path


def digest_of(raw: bytes) -> FileDigest:
    return FileDigest(hashlib.sha256(raw).hexdigest(), len(raw))


def zip_bytes(parts: Mapping[str, bytes]) -> bytes:
    """A zip as the packer writes it: stored, fixed times, no extras."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, raw in parts.items():
            info = zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            archive.writestr(info, raw)
    return buffer.getvalue()


def manifest_of(name: str = "shelf-test", version: str = "1.0.0", files: Any = None, **fields: Any) -> Manifest:
    """A manifest that fits the model; `fields` replaces top-level fields."""
    manifest = Manifest(
        format="edge-bundle/1",
        name=name,
        version=version,
        task="classify-slots",
        created="2026-01-01T00:00:00Z",
        description="answers from the difference to the reference crop",
        licence="Apache-2.0",
        input=InputSpec("NHWC", SIZE, "BGR", "uint8", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.1, "current", "reference"),
        output=OutputSpec("logits", "logits", LABELS),
        confidence=Confidence(),
        thresholds=Thresholds(0.6, 0.5),
        runtime=("0.1.0", "2.0.0"),
        provenance={"recipe": "tests", "seed": 1},
        receipt={},
        files=files or {},
    )
    return msgspec.structs.replace(manifest, **fields)


def golden(behaviour: str = "good") -> dict[str, NDArray[Any]]:
    """Eight crop pairs and the answers that the good model gives to them."""
    random = np.random.default_rng(7)
    width, height = SIZE
    reference = random.integers(40, 200, (8, height, width, 3), dtype=np.uint8)
    shift = (np.arange(8, dtype=np.uint8) * 5)[:, None, None, None]
    logits = expected_logits(reference + shift, reference)
    if behaviour == "golden_off":
        logits = logits[:, ::-1].copy()
    return {
        "current": reference + shift,
        "reference": reference,
        "logits": logits,
        "tolerance": np.array(0.01, np.float32),
    }


def expected_logits(current: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The good model, in numpy."""
    difference = np.abs(current.astype(np.float32) - reference.astype(np.float32)).mean(axis=(1, 2, 3))
    return (difference[:, None] * SLOPE + OFFSET).astype(np.float32)


@lru_cache(maxsize=32)
def model_bytes(behaviour: str = "good", layout: str = "NHWC", dtype: str = "uint8", kind: str = "logits") -> bytes:
    """The graph of one behaviour. Float graphs (`dtype`, `layout`) take normalized pixels as they come."""
    if behaviour == "garbage":
        return b"this is not a graph" * 40
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = ["n", SIZE[1], SIZE[0], 3] if layout == "NHWC" else ["n", 3, SIZE[1], SIZE[0]]
    element = TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["current"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["reference"], ["r"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["c", "r"], ["d"]),
        helper.make_node("Abs", ["d"], ["a"]),
        helper.make_node("ReduceMean", ["a"], ["m4"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Flatten", ["m4"], ["m"], axis=1),
    ]
    slope, offset = (SLOPE * 0, np.array([0, 0, 8, -8], np.float32)) if behaviour == "always_empty" else (SLOPE, OFFSET)
    columns = 3 if behaviour == "wrong_shape" else 4
    weights = {"slope": slope[:, :columns], "offset": offset[:columns]}
    nodes.append(helper.make_node("MatMul", ["m", "slope"], ["s"]))
    last = "raw"
    nodes.append(helper.make_node("Add", ["s", "offset"], [last]))
    last = _add_behaviour(behaviour, nodes, weights, last)
    nodes.append(helper.make_node("Softmax" if kind == "probabilities" else "Identity", [last], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "difference",
        [helper.make_tensor_value_info(name, element, shape) for name in ("current", "reference")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if behaviour == "external":
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
        return bytes(model.SerializeToString())
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _add_behaviour(behaviour: str, nodes: list[Any], weights: dict[str, NDArray[Any]], last: str) -> str:
    from onnx import TensorProto, helper

    if behaviour == "nan":
        nodes += [
            helper.make_node("Sub", [last, last], ["zero"]),
            helper.make_node("Div", ["zero", "zero"], ["bad"]),
        ]
        return "bad"
    if behaviour == "late_nan":  # the root of (m - 0.1)(m - 4), which the golden crops (0, 5, 10 ...) do not meet
        weights |= {
            "least": np.array(0.1, np.float32),
            "most": np.array(4, np.float32),
            "none": np.array(0, np.float32),
        }
        nodes += [
            helper.make_node("Sub", ["m", "least"], ["above"]),
            helper.make_node("Sub", ["m", "most"], ["below"]),
            helper.make_node("Mul", ["above", "below"], ["product"]),
            helper.make_node("Sqrt", ["product"], ["root"]),
            helper.make_node("Mul", ["root", "none"], ["nothing"]),
            helper.make_node("Add", [last, "nothing"], ["bad"]),
        ]
        return "bad"
    if behaviour == "crash":
        weights["far"] = np.array([1 << 20], np.int64)
        nodes += [
            helper.make_node("Shape", [last], ["shape"]),
            helper.make_node("Gather", ["shape", "far"], ["beyond"]),
            helper.make_node("Cast", ["beyond"], ["beyond_f"], to=TensorProto.FLOAT),
            helper.make_node("Add", [last, "beyond_f"], ["bad"]),
        ]
        return "bad"
    if behaviour == "slow":
        square = np.random.default_rng(3).normal(0, 1e-3, (1024, 1024)).astype(np.float32)  # no zip bomb
        weights |= {"square": square, "wide": np.zeros((1024, 4), np.float32)}
        weights |= {"tall": np.zeros((1, 1024), np.float32), "rounds": np.array(800, np.int64)}
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y"))
        go, on = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on"))
        count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
        steps = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("MatMul", ["x", "square"], ["y"])]
        body = helper.make_graph(steps, "round", [count, go, x], [on, y])
        nodes += [
            helper.make_node("MatMul", ["m", "tall"], ["w0"]),
            helper.make_node("Loop", ["rounds", "", "w0"], ["w1"], body=body),
            helper.make_node("MatMul", ["w1", "wide"], ["nothing"]),
            helper.make_node("Add", [last, "nothing"], ["late"]),
        ]
        return "late"
    return last


def _npz(**arrays: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
