"""What an ONNX file holds, read from its bytes alone: does it stand alone, or does it name files beside it?

The device has no `onnx` package, and the runtime would open named files relative to the working folder, so the few
fields that matter are walked here (protobuf wire format; field numbers of onnx.proto3, IR version 3 to 13).
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_runtime.errors import ModelFault

MAX_DEPTH = 24
"""Subgraphs within subgraphs; a real model has two or three levels."""
_MEND = "Export it again as a single file (`edge-runtime build export`)"

# message -> {field number: message of the field}; only paths that can reach a tensor.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def require_standalone(model: bytes) -> None:
    """Raise ModelFault if the bytes are not protobuf, or if any tensor keeps its data outside the file."""
    if not model:
        raise ModelFault("the model is empty, an ONNX file was expected", _MEND)
    _walk(memoryview(model), "model", 0)


def _walk(message: memoryview, kind: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ModelFault(f"the model nests graphs more than {MAX_DEPTH} levels deep", _MEND)
    children = _CHILDREN[kind]
    for field, value in _fields(message):
        if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
            raise ModelFault("the model keeps weights in a file beside it; one file was expected", _MEND)
        if field in children and isinstance(value, memoryview):
            _walk(value, children[field], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, integer or bytes) of one protobuf message, in file order."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            number, at = _varint(message, at)
            yield tag >> 3, number
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ModelFault(f"the model is not an ONNX file: wire type {wire} at a field", _MEND)
        if length > end - at:
            raise ModelFault("the model is not a whole ONNX file: a field is longer than the file", _MEND)
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ModelFault("the model is not a whole ONNX file: it ends within a number", _MEND)
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ModelFault("the model is not an ONNX file: a number has more than ten bytes", _MEND)
