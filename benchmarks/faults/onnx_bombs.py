"""Graphs grafted into a model that are sound ONNX and bad news: bombs, loops without end, functions that call themselves.

What costs time or memory is blended into the model's first output with a weight of zero, so that it can not be left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper


def nesting(model: ModelProto, draw: random.Random) -> None:
    """Graphs within graphs."""
    depth = draw.choice((2, 10, 11, 12, 30, 90))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["condition"], ["o0"])],
        "g",
        [],
        [helper.make_tensor_value_info("o0", TensorProto.BOOL, [])],
    )
    for level in range(1, depth):
        node = helper.make_node("If", ["condition"], [f"o{level}"], then_branch=graph, else_branch=GraphProto())
        node.attribute[1].g.CopyFrom(graph if level < 8 else helper.make_graph([], "e", [], []))
        out = helper.make_tensor_value_info(f"o{level}", TensorProto.BOOL, [])
        graph = helper.make_graph([node], "g", [], [out])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    model.graph.node.insert(0, helper.make_node("If", ["condition"], ["top"], then_branch=graph, else_branch=graph))


def crowd(model: ModelProto, draw: random.Random) -> None:
    """Very many nodes, or very long names, all alike or all different."""
    count, long = draw.choice(((30_000, 1), (3_000, 500), (10, 200_000)))
    alike = draw.random() < 0.3
    last = model.graph.input[0].name
    for number in range(count):
        name = ("n" * long) + ("" if alike else str(number))
        model.graph.node.append(NodeProto(op_type="Identity", input=[last], output=[name], name=name))
        last = name if not alike else last


def functions(model: ModelProto, draw: random.Random) -> None:
    """Functions that call themselves, each other, or nothing that exists."""
    model.opset_import.append(helper.make_opsetid("own", 1))
    calls = draw.choice((["F0"], ["F1", "F0"], ["Absent"], ["F0"] * 30))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for number in range(max(1, len(set(calls)))):
        nodes = [helper.make_node(call, ["x"], [f"y{k}"], domain="own") for k, call in enumerate(calls)]
        nodes.append(helper.make_node("Identity", ["y0"], ["y"]))
        model.functions.append(helper.make_function("own", f"F{number}", ["x"], ["y"], nodes, opsets))
    _graft(model, lambda last: [helper.make_node("F0", [last], [f"{last}_f"], domain="own")], "_f")


def doubling_functions(model: ModelProto, draw: random.Random) -> None:
    """F30 is two of F29, and so on: small in the file, 2^30 nodes when inlined."""
    model.opset_import.append(helper.make_opsetid("own", 1))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    levels = draw.choice((8, 14, 30))
    for number in range(levels):
        inner, domain = ("Identity", "") if number == 0 else (f"F{number - 1}", "own")
        pair = [
            helper.make_node(inner, ["x"], ["h"], domain=domain),
            helper.make_node(inner, ["h"], ["y"], domain=domain),
        ]
        model.functions.append(helper.make_function("own", f"F{number}", ["x"], ["y"], pair, opsets))
    _graft(model, lambda last: [helper.make_node(f"F{levels - 1}", [last], [f"{last}_f"], domain="own")], "_f")


def bomb(model: ModelProto, draw: random.Random) -> None:
    """One operation that asks for far more memory or time than there is, mixed into the answer with a weight of zero."""
    side = draw.choice((2**14, 2**20, 2**31, 2**33, 2**40, 2**62))
    shape = draw.choice(([side], [side, side], [side, 4, 4], [256, 1024, 1024], [1024, 1024, 1024]))
    constants: dict[str, np.ndarray] = {
        "b_shape": np.array(shape, np.int64),
        "b_one": np.ones((1,) * len(shape), np.float32),
        "b_zero": np.zeros((), np.float32),
        "b_start": np.array(0, np.int64),
        "b_end": np.array(side, np.int64),
        "b_step": np.array(1, np.int64),
        "b_pads": np.array([0] * len(shape) + shape, np.int64),
        "b_flat": np.array([-1, *shape], np.int64),
        "b_values": np.array([0.0, 1.0], np.float32),
        "b_index": np.array([0], np.int64),
    }
    makers: dict[str, Callable[[], list[NodeProto]]] = {
        "ConstantOfShape": lambda: [helper.make_node("ConstantOfShape", ["b_shape"], ["b"])],
        "Expand": lambda: [helper.make_node("Expand", ["b_one", "b_shape"], ["b"])],
        "Tile": lambda: [helper.make_node("Tile", ["b_one", "b_shape"], ["b"])],
        "Pad": lambda: [helper.make_node("Pad", ["b_one", "b_pads"], ["b"])],
        "Reshape": lambda: [helper.make_node("Reshape", ["b_one", "b_flat"], ["b"])],
        "RandomNormal": lambda: [helper.make_node("RandomNormal", [], ["b"], shape=shape)],
        "Range": lambda: [
            helper.make_node("Range", ["b_start", "b_end", "b_step"], ["b_i"]),
            helper.make_node("Cast", ["b_i"], ["b"], to=1),
        ],
        "OneHot": lambda: [helper.make_node("OneHot", ["b_index", "b_end", "b_values"], ["b"])],
        "MatMul": lambda: [
            helper.make_node("Expand", ["b_one", "b_shape"], ["b_wide"]),
            helper.make_node("MatMul", ["b_wide", "b_wide"], ["b"]),
        ],
    }
    nodes = makers[draw.choice(sorted(makers))]()
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    _blend(model, nodes, "b")


def endless(model: ModelProto, draw: random.Random) -> None:
    """A loop that does not end, ends late, or grows what it carries every round."""
    grows = draw.random() < 0.5
    trips = draw.choice((2**62, 10_000_000, 100_000, 60))
    carried = helper.make_tensor_value_info("l_in", TensorProto.FLOAT, None)
    step = (
        helper.make_node("Concat", ["l_in", "l_in"], ["l_out"], axis=0)
        if grows
        else helper.make_node("Mul", ["l_in", "l_in"], ["l_out"])
    )
    body = helper.make_graph(
        [helper.make_node("Identity", ["l_go"], ["l_on"]), step],
        "body",
        [
            helper.make_tensor_value_info("l_k", TensorProto.INT64, []),
            helper.make_tensor_value_info("l_go", TensorProto.BOOL, []),
            carried,
        ],
        [
            helper.make_tensor_value_info("l_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("l_out", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(trips, np.int64), "l_trips"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "l_true"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "l_start"))
    bound = draw.choice(("l_trips", ""))
    _blend(model, [helper.make_node("Loop", [bound, "l_true", "l_start"], ["b"], body=body)], "b")


def lie(model: ModelProto, draw: random.Random) -> None:
    """Well-formed, and answers wrong: by a little, by much, with NaN, or with another shape."""
    how = draw.randrange(6)
    value = (1.0, 1.0001, 1.5, -1.0, float("nan"), float("inf"))[how]
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), "lie"))
    kind = draw.choice(("Mul", "Add", "Pow"))
    if draw.random() < 0.2:
        _graft(model, lambda last: [helper.make_node("Transpose", [last], [f"{last}_f"])], "_f")
        return
    _graft(model, lambda last: [helper.make_node(kind, [last, "lie"], [f"{last}_f"])], "_f")


def _blend(model: ModelProto, nodes: list[NodeProto], name: str) -> None:
    """Add `name`'s sum, times zero, to the first output, so that it can not be left out."""
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), "blend_zero"))

    def graft(last: str) -> list[NodeProto]:
        return [
            *nodes,
            helper.make_node("ReduceMax", [name], ["blend_sum"], keepdims=0),
            helper.make_node("Mul", ["blend_sum", "blend_zero"], ["blend_part"]),
            helper.make_node("Add", [last, "blend_part"], [f"{last}_f"]),
        ]

    _graft(model, graft, "_f")


def _graft(model: ModelProto, make: Callable[[str], list[NodeProto]], suffix: str) -> None:
    """Put nodes between the graph and its first output, whose name stays."""
    output = model.graph.output[0].name
    inner = f"{output}_inner"
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == output:
                node.output[place] = inner
    model.graph.node.extend(make(inner))
    model.graph.node.append(helper.make_node("Identity", [f"{inner}{suffix}"], [output]))


def attribute_bomb(model: ModelProto, draw: random.Random) -> None:
    """A constant or an attribute of many megabytes, or very many of them."""
    if draw.random() < 0.5:
        value = numpy_helper.from_array(np.zeros(draw.choice((10**6, 10**7)), np.float32), "wide")
        model.graph.node.append(helper.make_node("Constant", [], ["wide"], value=value))
    else:
        found = AttributeProto(name="x", type=AttributeProto.INTS, ints=[7] * 2_000_000)
        draw.choice(model.graph.node).attribute.append(found)
