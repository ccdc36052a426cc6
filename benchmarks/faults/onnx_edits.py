"""What is done to an ONNX file to make it malformed or hostile: seeded, and aware of its fields.

Every edit takes a model's bytes and a random generator and returns other bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.faults import onnx_bombs

EXTREMES = (0, -1, 1, -(2**31), 2**31 - 1, 2**31, 2**32, -(2**63), 2**63 - 1, 2**40, 65_536, 1_000_000_007)
FLOATS = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e38, -1e38, 1e-45)
OPS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
LOCATIONS = (
    "weights.bin",
    "../../../etc/passwd",
    "/dev/zero",
    "/dev/random",
    "/proc/self/mem",
    "",
    "a" * 5000,
    "C:\\x",
)
Edit = Callable[[bytes, random.Random], bytes]


def flip_bits(raw: bytes, draw: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 2, 8, 64))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def flip_structure(raw: bytes, draw: random.Random) -> bytes:
    """Bits of the first and last kilobytes only: names, types and lengths rather than weights."""
    changed = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(min(4096, len(changed)))
        changed[at if draw.random() < 0.5 else -1 - at] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(raw: bytes, draw: random.Random) -> bytes:
    return raw[: draw.randrange(len(raw))]


def remove(raw: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(raw)), draw.choice((1, 2, 7, 100, 10_000))
    return raw[:at] + raw[at + length :]


def insert(raw: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(raw)), draw.choice((1, 2, 7, 100, 10_000))
    return raw[:at] + draw.randbytes(length) + raw[at:]


def overwrite(raw: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(raw)), draw.choice((1, 4, 8, 100, 4000))
    block = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length), b"\x80" * length))
    return raw[:at] + block + raw[at + length :]


def swap(raw: bytes, draw: random.Random) -> bytes:
    length = draw.choice((4, 16, 256, 4096))
    one, two = sorted(draw.randrange(len(raw)) for _ in range(2))
    return raw[:one] + raw[two : two + length] + raw[one + length : two] + raw[one : one + length] + raw[two + length :]


def repeat(raw: bytes, draw: random.Random) -> bytes:
    """A protobuf message twice: every field is given twice, and the two are merged."""
    return raw + raw[: draw.choice((len(raw), len(raw) // 2))] * draw.choice((1, 3))


def on_model(act: Callable[[ModelProto, random.Random], None]) -> Edit:
    """An edit of the decoded message; the bytes stay as they are where it can not be encoded again."""

    def edit(raw: bytes, draw: random.Random) -> bytes:
        model = ModelProto()
        try:
            model.ParseFromString(raw)
            act(model, draw)
            return bytes(model.SerializeToString())
        except (DecodeError, EncodeError, ValueError, TypeError, IndexError):
            return flip_bits(raw, draw)

    return edit


def dims(model: ModelProto, draw: random.Random) -> None:
    tensor = draw.choice(model.graph.initializer)
    how = draw.randrange(4)
    if how == 0 and tensor.dims:
        tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(EXTREMES)
    elif how == 1:
        tensor.dims.extend([draw.choice(EXTREMES) for _ in range(draw.choice((1, 2, 9, 1000)))])
    elif how == 2:
        del tensor.dims[:]
    else:
        tensor.dims[:] = [draw.randrange(0, 4096) for _ in range(draw.randrange(1, 6))]


def weights(model: ModelProto, draw: random.Random) -> None:
    tensor = draw.choice(model.graph.initializer)
    how = draw.randrange(5)
    raw = tensor.raw_data or bytes(4)
    if how == 0:
        tensor.raw_data = raw[: draw.randrange(len(raw))]
    elif how == 1:
        tensor.raw_data = raw + draw.randbytes(draw.choice((1, 4, 4096)))
    elif how == 2:
        tensor.raw_data = np.full(max(1, len(raw) // 4), draw.choice(FLOATS), np.float32).tobytes()
    elif how == 3:
        tensor.data_type = draw.randrange(0, 30)
    else:
        tensor.float_data.extend([draw.choice(FLOATS)] * draw.choice((1, 1000)))


def small_weights(model: ModelProto, draw: random.Random) -> None:
    """Scales, zero points, axes and shapes: the small tensors that steer the others."""
    small = [t for t in model.graph.initializer if len(t.raw_data) <= 16 and t.raw_data]
    tensor = draw.choice(small or list(model.graph.initializer))
    dtype = {1: np.float32, 7: np.int64, 6: np.int32, 2: np.uint8, 3: np.int8}.get(tensor.data_type, np.uint8)
    values = FLOATS if dtype is np.float32 else EXTREMES
    count = max(1, len(tensor.raw_data) // np.dtype(dtype).itemsize)
    picked = [draw.choice(values) for _ in range(count)]
    if dtype is np.float32:
        tensor.raw_data = np.array(picked, np.float32).tobytes()
    else:
        wrapped = np.array([value % 2**64 for value in picked], np.uint64)
        tensor.raw_data = wrapped.astype(dtype).tobytes()


def op_type(model: ModelProto, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 3))):
        node = draw.choice(model.graph.node)
        node.op_type = draw.choice((*OPS, "", "x" * 1000)) if draw.random() < 0.9 else node.op_type[::-1]
        if draw.random() < 0.3:
            node.domain = draw.choice(("com.microsoft", "ai.onnx.ml", "ai.onnx.training", "evil"))


def wiring(model: ModelProto, draw: random.Random) -> None:
    """Cycles, missing and doubled names."""
    node, other = draw.choice(model.graph.node), draw.choice(model.graph.node)
    how = draw.randrange(6)
    if how == 0 and node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice((*other.output, *other.input, "", "nowhere"))
    elif how == 1 and node.output:
        node.output[0] = draw.choice((*other.output, *other.input, "", node.input[0] if node.input else "x"))
    elif how == 2:
        node.input.extend(list(other.output) * draw.choice((1, 10, 1000)))
    elif how == 3:
        del node.input[:]
    elif how == 4:
        model.graph.node.extend([node] * draw.choice((1, 10)))
    else:
        del model.graph.node[draw.randrange(len(model.graph.node))]


def attribute(model: ModelProto, draw: random.Random) -> None:
    having = [node for node in model.graph.node if node.attribute]
    node = draw.choice(having or list(model.graph.node))
    if not node.attribute or draw.random() < 0.15:
        node.attribute.append(helper.make_attribute(draw.choice(("axis", "to", "group", "x")), draw.choice(EXTREMES)))
        return
    found = draw.choice(node.attribute)
    how = draw.randrange(6)
    if how == 0:
        found.i = draw.choice(EXTREMES)
    elif how == 1:
        found.ints[:] = [draw.choice(EXTREMES) for _ in range(draw.choice((0, 1, 2, 4, 1000)))]
    elif how == 2:
        found.f = draw.choice(FLOATS)
    elif how == 3:
        found.type = draw.randrange(0, 20)
    elif how == 4:
        found.name = draw.choice(("", "axis", "x" * 10_000))
    else:
        found.s = draw.randbytes(draw.choice((0, 10, 10_000)))


def interface(model: ModelProto, draw: random.Random) -> None:
    """Names, types and shapes of what goes in and comes out."""
    value = draw.choice((*model.graph.input, *model.graph.output))
    tensor = value.type.tensor_type
    how = draw.randrange(5)
    if how == 0:
        value.name = draw.choice(("", "x", value.name * 1000))
    elif how == 1:
        tensor.elem_type = draw.randrange(0, 30)
    elif how == 2 and tensor.shape.dim:
        draw.choice(tensor.shape.dim).dim_value = draw.choice(EXTREMES)
    elif how == 3:
        value.type.ClearField("tensor_type")
    else:
        model.graph.output.append(value)


def versions(model: ModelProto, draw: random.Random) -> None:
    if draw.random() < 0.5 and model.opset_import:
        model.opset_import[0].version = draw.choice((*EXTREMES, 7, 13, 22, 99))
    else:
        model.ir_version = draw.choice((*EXTREMES, 2, 3, 14))
    if draw.random() < 0.3:
        model.opset_import.append(helper.make_opsetid(draw.choice(("", "evil", "com.microsoft")), 1))


def external(model: ModelProto, draw: random.Random) -> None:
    """Weights in a file beside the model, in the model's own tensors or in those of a nested graph."""
    tensor = draw.choice(model.graph.initializer)
    if draw.random() < 0.4:
        constant = helper.make_node("Constant", [], ["far"], value=helper.make_tensor("far", 1, [1], [0.0]))
        tensor = constant.attribute[0].t
        inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("far", 1, [1])], [tensor])
        node = helper.make_node("If", ["condition"], ["outer"], then_branch=inner, else_branch=inner)
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
        tensor = node.attribute[0].g.initializer[0]
        _place(tensor, draw)
        model.graph.node.append(node)
        return
    _place(tensor, draw)


def _place(tensor: TensorProto, draw: random.Random) -> None:
    if draw.random() < 0.5:
        tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    if draw.random() < 0.9:
        tensor.external_data.add(key="location", value=draw.choice(LOCATIONS))
        tensor.external_data.add(key="offset", value=str(draw.choice(EXTREMES)))
        tensor.external_data.add(key="length", value=str(draw.choice(EXTREMES)))


def message_soup(raw: bytes, draw: random.Random) -> bytes:
    """Protobuf of the right form with wild lengths, deep nesting and wrong wire types, before or after the model."""
    depth = draw.choice((5, 100, 5000))
    soup = b""
    for _ in range(depth):
        soup = b"\x3a" + _varint(len(soup)) + soup if draw.random() < 0.8 else b"\x0a" + _varint(len(soup)) + soup
    wild = draw.choice((b"", b"\x3a\xff\xff\xff\xff\x0f", b"\x3a" + b"\xff" * 11, b"\x07\x07", b"\x0b\x0c"))
    return draw.choice((soup + raw, raw + soup, raw + wild, wild + raw, soup))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


EDITS: dict[str, tuple[int, Edit]] = {
    "bits": (8, flip_bits),
    "structure bits": (12, flip_structure),
    "cut": (4, cut),
    "removed": (4, remove),
    "inserted": (4, insert),
    "overwritten": (4, overwrite),
    "swapped": (3, swap),
    "repeated": (2, repeat),
    "message soup": (3, message_soup),
    "dims": (6, on_model(dims)),
    "weights": (5, on_model(weights)),
    "small weights": (6, on_model(small_weights)),
    "operators": (6, on_model(op_type)),
    "wiring": (6, on_model(wiring)),
    "attributes": (7, on_model(attribute)),
    "interface": (4, on_model(interface)),
    "versions": (2, on_model(versions)),
    "external data": (3, on_model(external)),
    "nesting": (2, on_model(onnx_bombs.nesting)),
    "crowd": (1, on_model(onnx_bombs.crowd)),
    "functions": (1, on_model(onnx_bombs.functions)),
    "doubling functions": (1, on_model(onnx_bombs.doubling_functions)),
    "memory bombs": (4, on_model(onnx_bombs.bomb)),
    "endless loops": (2, on_model(onnx_bombs.endless)),
    "wide constants": (1, on_model(onnx_bombs.attribute_bomb)),
    "lies": (4, on_model(onnx_bombs.lie)),
}
"""Name -> weight among all mutations, and the edit."""


def mutate(raw: bytes, number: int, seed: int) -> tuple[str, bytes]:
    """The `number`-th mutation of a model: its kind, and bytes that differ from `raw`."""
    draw = random.Random(f"{seed}/{number}")
    names = list(EDITS)
    kind = draw.choices(names, [EDITS[name][0] for name in names])[0]
    changed = EDITS[kind][1](raw, draw)
    return kind, changed if changed != raw else flip_bits(raw, draw)
