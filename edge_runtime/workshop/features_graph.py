"""`features` as an ONNX graph: uint8 crops in, the vector out, operation by operation the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.workshop.features import (
    CENTRE,
    FLOOR,
    GLOBAL_FLOOR,
    GRID,
    LEVELS,
    SLOPE_UNIT,
    SPREAD_UNIT,
    FeatureSet,
    check_size,
)
from edge_runtime.workshop.graph import CURRENT, OPSET, REFERENCE, finished

FEATURES = "features"


def features_graph(chosen: FeatureSet, size: tuple[int, int]) -> onnx.ModelProto:
    """Inputs `current` and, for a pair, `reference`: uint8 (n, h, w, 3) BGR. Output `features`: float32 (n, width).

    `size` is (width, height). Raises Refused for a size that has no grid.
    """
    block = check_size(size)
    writer = _Writer(size, block[0] * block[1])
    blocks = writer.pair() if chosen.pair else writer.alone()
    writer.summary(blocks, len(chosen.columns))
    shape: list[str | int | None] = ["n", size[1], size[0], 3]
    names = (CURRENT, REFERENCE) if chosen.pair else (CURRENT,)
    graph = helper.make_graph(
        writer.nodes,
        "features",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in names],
        [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["n", chosen.width])],
        list(writer.constants.values()),
    )
    return finished(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


class _Writer:
    """Collects nodes and constants; each method is the function of the same name in `features`."""

    def __init__(self, size: tuple[int, int], area: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._width, self._height = size
        self._area = area

    def pair(self) -> str:
        now, then = self._centred(CURRENT), self._centred(REFERENCE)
        mean_now, spread_now = self._moments(now)
        mean_then, spread_then = self._moments(then)
        product = self._over(self._block_sums(self._node("Mul", now, then), 3), self._area)
        shared = self._third(self._node("Sub", product, self._node("Mul", mean_now, mean_then)))
        moved = self._node("Abs", self._node("Sub", now, then))
        columns = (
            self._over(self._node("Sub", mean_now, mean_then), LEVELS),
            self._over(spread_now, SPREAD_UNIT),
            self._over(spread_then, SPREAD_UNIT),
            self._node("Div", shared, self._node("Mul", spread_now, spread_then)),
            self._over(self._total(self._block_sums(moved, 3)), 3 * self._area * SPREAD_UNIT),
            self._slopes(now),
            self._slopes(then),
        )
        return self._node("Concat", *columns, axis=-1)

    def alone(self) -> str:
        now = self._centred(CURRENT)
        mean, spread = self._moments(now)
        columns = self._over(mean, LEVELS), self._over(spread, SPREAD_UNIT), self._slopes(now)
        return self._node("Concat", *columns, axis=-1)

    def summary(self, blocks: str, columns: int) -> None:
        mean = self._node("ReduceMean", blocks, axes=[1], keepdims=1)
        away = self._node("Sub", blocks, mean)
        variance = self._node("ReduceMean", self._node("Mul", away, away), axes=[1], keepdims=0)
        deviation = self._node("Sqrt", self._node("Add", variance, self._number(GLOBAL_FLOOR)))
        flat = self._shaped(blocks, (0, GRID * GRID * columns))
        middle = self._shaped(mean, (0, columns))
        self.nodes.append(helper.make_node("Concat", [flat, middle, deviation], [FEATURES], name=FEATURES, axis=1))

    def _centred(self, crop: str) -> str:
        return self._node("Sub", self._node("Cast", crop, to=TensorProto.FLOAT), self._number(CENTRE))

    def _moments(self, crop: str) -> tuple[str, str]:
        mean = self._over(self._block_sums(crop, 3), self._area)
        squares = self._over(self._block_sums(self._node("Mul", crop, crop), 3), self._area)
        variance = self._third(self._node("Sub", squares, self._node("Mul", mean, mean)))
        floored = self._node("Add", self._node("Max", variance, self._number(0.0)), self._number(FLOOR))
        return mean, self._node("Sqrt", floored)

    def _slopes(self, crop: str) -> str:
        both = [self._differences(crop, axis) for axis in (2, 1)]
        return self._over(self._block_sums(self._node("Concat", *both, axis=-1), 2), 3 * self._area * SLOPE_UNIT)

    def _differences(self, crop: str, axis: int) -> str:
        """Sum over colours of |neighbour - pixel| along an axis, a zero where there is no neighbour."""
        side = self._height if axis == 1 else self._width
        ahead = self._node("Slice", crop, self._whole(1), self._whole(side), self._whole(axis))
        behind = self._node("Slice", crop, self._whole(0), self._whole(side - 1), self._whole(axis))
        change = self._total(self._node("Abs", self._node("Sub", ahead, behind)))
        ends = [0] * 8
        ends[4 + axis] = 1
        return self._node("Pad", change, self._whole(*ends))

    def _block_sums(self, maps: str, kinds: int) -> str:
        strips = self._shaped(maps, (0, GRID, self._height // GRID, self._width * kinds))
        rows = self._node("ReduceSum", strips, self._whole(2), keepdims=0)
        cells = self._shaped(rows, (0, GRID * GRID, self._width // GRID, kinds))
        return self._node("ReduceSum", cells, self._whole(2), keepdims=0)

    def _total(self, maps: str) -> str:
        return self._node("ReduceSum", maps, self._whole(-1), keepdims=1)

    def _third(self, maps: str) -> str:
        return self._over(self._total(maps), 3.0)

    def _over(self, value: str, number: float) -> str:
        return self._node("Div", value, self._number(number))

    def _shaped(self, value: str, shape: tuple[int, ...]) -> str:
        return self._node("Reshape", value, self._whole(*shape))

    def _number(self, value: float) -> str:
        name = f"number_{value:g}"
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def _whole(self, *values: int) -> str:
        name = "whole_" + "_".join(map(str, values))
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name
