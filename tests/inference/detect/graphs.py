"""Tiny, real detectors: each finds the dark and the bright cells of a 64 x 64 canvas, and says so as its family does.

Class 0 is a void (a dark cell), class 1 a product (a bright one); a cell is 4 x 4 pixels. `model_bytes(family)` is the graph,
`decoder_of(family)` how it is declared, `manifest_of(family)` both in a manifest that fits.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.decoder import Cover, Decoder, Look
from edge_runtime.inference.detect.golden import golden_of
from edge_runtime.inference.detect.session import DetectSession
from edge_runtime.inference.session import open_session
from edge_runtime.manifest import Confidence, FileDigest, InputSpec, Manifest, OutputSpec, Thresholds, encode_manifest
from tests.lifecycle.bundles import zip_bytes

SIDE, CELL = 64, 4
CELLS = SIDE // CELL
FAMILIES = ("yolox", "yolov5", "yolov8", "yolov8-rows", "end2end", "fastestdet", "ssd", "ssd-labels")


def decoder_of(family: str, **fields: Any) -> Decoder:
    """`fields` replaces fields of the decoder."""
    own: dict[str, Any] = {
        "yolox": {"strides": (CELL,)},
        "ssd": {"normalized": True, "corners": "yxyx", "background": "first", "scores_output": "scores"},
        "ssd-labels": {"scores_output": "scores", "labels_output": "labels", "first_label": 1},
        "end2end": {"corners": "xyxy"},
    }.get(family, {})
    decoder = Decoder(
        family=family.partition("-")[0],  # type: ignore[arg-type]
        classes=2,
        products=(1,),
        voids=(0,),
        look=Look("stretch"),
        cover=Cover(stocked=0.5, empty=0.5),
        score=0.6,
        nms=0.5,
        max_boxes=512,
        **own,
    )
    return msgspec.structs.replace(decoder, **fields)


def manifest_of(family: str = "yolox", **fields: Any) -> Manifest:
    """`fields` replaces fields of the decoder."""
    decoder = decoder_of(family, **fields)
    labels = ("stocked", "low", "empty", *(("blocked",) if decoder.blockers else ()))
    return Manifest(
        format="edge-bundle/1",
        name="dark-and-bright",
        version="1.0.0",
        task="detect",
        created="2026-01-01T00:00:00Z",
        description="finds dark and bright cells",
        licence="Apache-2.0",
        input=InputSpec("NCHW", (SIDE, SIDE), "BGR", "float32", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), 0.0, "picture"),
        output=OutputSpec("boxes", "probabilities", labels),
        confidence=Confidence(),
        thresholds=Thresholds(0.5, 0.5),
        runtime=("0.1.0", "2.0.0"),
        provenance={},
        receipt={},
        files={},
        decoder=decoder,
    )


def opened(family: str = "yolox", behaviour: str = "good", **fields: Any) -> DetectSession:
    session = open_session(model_bytes(family, behaviour), manifest_of(family, **fields))
    assert isinstance(session, DetectSession)
    return session


def checkered() -> NDArray[np.uint8]:
    """A canvas with a dark upper left quarter, a bright lower right one, and grey between."""
    canvas = np.full((SIDE, SIDE, 3), 128, np.uint8)
    canvas[: SIDE // 2, : SIDE // 2] = 10
    canvas[SIDE // 2 :, SIDE // 2 :] = 245
    return canvas


def bundle(path: Path, family: str = "yolox", **fields: Any) -> Path:
    """A whole bundle file of the family's detector."""
    import io

    members = golden_of(opened(family, **fields), checkered()[None])
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **members, tolerance=np.asarray(0.01, np.float32))
    parts = {
        "model.onnx": model_bytes(family),
        "golden.npz": arrays.getvalue(),
        "reference.npz": arrays.getvalue(),
        "LICENSE": b"Apache-2.0\n",
    }
    digests = {name: FileDigest(hashlib.sha256(raw).hexdigest(), len(raw)) for name, raw in parts.items()}
    manifest = msgspec.structs.replace(manifest_of(family, **fields), files=digests)
    path.write_bytes(zip_bytes({"manifest.json": encode_manifest(manifest), **parts}))
    return path


@lru_cache(maxsize=64)
def model_bytes(family: str = "yolox", behaviour: str = "good") -> bytes:
    """`nan`: every score is NaN; `logits`: scores far outside 0..1; `off`: every box a cell further right."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    n = CELLS * CELLS
    weights: dict[str, NDArray[Any]] = {
        "dark": np.float32(0.35),
        "bright": np.float32(0.65),
        "steep": np.float32(40.0),
        "flat": np.array([1, n, 1], np.int64),
        "zero": np.float32(0),
    }
    nodes = [
        helper.make_node("AveragePool", ["picture"], ["cells"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("ReduceMean", ["cells"], ["level4"], axes=[1], keepdims=1),
        helper.make_node("Reshape", ["level4", "flat"], ["level"]),
        helper.make_node("Sub", ["dark", "level"], ["below"]),
        helper.make_node("Sub", ["level", "bright"], ["above"]),
        helper.make_node("Concat", ["below", "above"], ["both"], axis=2),
        helper.make_node("Mul", ["both", "steep"], ["raw"]),
        helper.make_node("Identity" if behaviour == "logits" else "Sigmoid", ["raw"], ["sure"]),
    ]
    if behaviour == "nan":
        nodes += [
            helper.make_node("Mul", ["sure", "zero"], ["nothing"]),
            helper.make_node("Div", ["nothing", "nothing"], ["says"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["sure"], ["says"]))
    outputs = _outputs(family, nodes, weights, 1.0 if behaviour == "off" else 0.0)
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _outputs(
    family: str, nodes: list[Any], weights: dict[str, NDArray[Any]], shift: float
) -> list[tuple[str, int, Any]]:
    from onnx import TensorProto, helper

    n = CELLS * CELLS
    rows, columns = np.divmod(np.arange(n), CELLS)
    middles = np.stack([(columns + 0.5 + shift) * CELL, (rows + 0.5) * CELL, np.full(n, CELL), np.full(n, CELL)], 1)
    corners = np.concatenate([middles[:, :2] - CELL / 2, middles[:, :2] + CELL / 2], 1)

    def joined(places: NDArray[Any], *parts: str) -> None:
        weights["places"] = places[None].astype(np.float32)
        nodes.append(helper.make_node("Concat", ["places", *parts], ["joined"], axis=2))

    def named(source: str, name: str) -> None:
        nodes.append(helper.make_node("Identity", [source], [name]))

    ones = np.ones((n, 1), np.float32)
    if family == "yolox":
        grid = np.tile(np.array([0.5 + shift, 0.5, 0.0, 0.0]), (n, 1))
        joined(np.concatenate([grid, ones], 1), "says")
        named("joined", "boxes")
        return [("boxes", TensorProto.FLOAT, [1, n, 7])]
    if family == "yolov5":
        joined(np.concatenate([middles, ones], 1), "says")
        named("joined", "boxes")
        return [("boxes", TensorProto.FLOAT, [1, n, 7])]
    if family in ("yolov8", "yolov8-rows"):
        joined(middles, "says")
        if family == "yolov8-rows":
            named("joined", "boxes")
            return [("boxes", TensorProto.FLOAT, [1, n, 6])]
        nodes.append(helper.make_node("Transpose", ["joined"], ["boxes"], perm=[0, 2, 1]))
        return [("boxes", TensorProto.FLOAT, [1, 6, n])]
    if family == "fastestdet":
        cell = np.array([1.0, np.arctanh(0.5), np.arctanh(0.5), -np.log(CELLS - 1), -np.log(CELLS - 1)])
        cell[1] += shift * 3
        joined(np.tile(cell, (n, 1)), "says")
        weights["shape"] = np.array([1, 7, CELLS, CELLS], np.int64)
        nodes.append(helper.make_node("Transpose", ["joined"], ["turned"], perm=[0, 2, 1]))
        nodes.append(helper.make_node("Reshape", ["turned", "shape"], ["boxes"]))
        return [("boxes", TensorProto.FLOAT, [1, 7, CELLS, CELLS])]
    nodes.append(helper.make_node("ReduceMax", ["says"], ["best"], axes=[2], keepdims=1))
    nodes.append(helper.make_node("ArgMax", ["says"], ["which"], axis=2, keepdims=1))
    if family == "end2end":
        nodes.append(helper.make_node("Cast", ["which"], ["class"], to=TensorProto.FLOAT))
        joined(corners, "best", "class")
        named("joined", "boxes")
        return [("boxes", TensorProto.FLOAT, [1, n, 6])]
    if family == "ssd":
        weights["places"] = (corners[:, [1, 0, 3, 2]] / SIDE)[None].astype(np.float32)
        weights["none"] = np.zeros((1, n, 1), np.float32)
        named("places", "boxes")
        nodes.append(helper.make_node("Concat", ["none", "says"], ["scores"], axis=2))
        return [("boxes", TensorProto.FLOAT, [1, n, 4]), ("scores", TensorProto.FLOAT, [1, n, 3])]
    return _suppressed(nodes, weights, corners)


def _suppressed(
    nodes: list[Any], weights: dict[str, NDArray[Any]], corners: NDArray[Any]
) -> list[tuple[str, int, Any]]:
    """Like torchvision's: only what is sure, without a batch axis, labels from 1, as many as there are."""
    from onnx import TensorProto, helper

    weights |= {
        "places": corners.astype(np.float32),
        "line": np.array([-1], np.int64),
        "sure_enough": np.float32(0.5),
        "one": np.int64(1),
    }
    nodes += [
        helper.make_node("Reshape", ["best", "line"], ["best1"]),
        helper.make_node("Reshape", ["which", "line"], ["which1"]),
        helper.make_node("Greater", ["best1", "sure_enough"], ["stays"]),
        helper.make_node("Compress", ["places", "stays"], ["boxes"], axis=0),
        helper.make_node("Compress", ["best1", "stays"], ["scores"], axis=0),
        helper.make_node("Compress", ["which1", "stays"], ["label0"], axis=0),
        helper.make_node("Add", ["label0", "one"], ["labels"]),
    ]
    return [
        ("boxes", TensorProto.FLOAT, ["found", 4]),
        ("scores", TensorProto.FLOAT, ["found"]),
        ("labels", TensorProto.INT64, ["found"]),
    ]
