"""Which tensors lose most by being int8: onnxruntime's qdq_loss_debug, worst first."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import qdq_loss_debug as debug

from edge_runtime.workshop.quantization.feeding import Array, Feed
from edge_runtime.workshop.quantization.qdq import Prepared
from edge_runtime.workshop.quantization.samples import Samples

FUSED = ("Relu", "Clip")
"""The quantizer rounds once behind these, not before them."""
ROWS = 8
"""Samples whose every activation is held at once while the tensors are ranked."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One tensor, and the nodes that keep it in float."""

    tensor: str
    kind: str
    """`activation` or `weight`."""
    signal_db: float
    """Signal to quantization noise of the tensor itself; 20 dB is an error of a tenth."""
    nodes: tuple[str, ...]
    """Who makes it and who reads it: all of them must be float for it to be so."""


def rank(prepared: Prepared, int8: onnx.ModelProto, samples: Samples, rows: Sequence[int]) -> tuple[Suspect, ...]:
    """Every quantized tensor, the noisiest first; measured on at most ROWS of `rows`."""
    chosen = list(rows[:ROWS])
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / f"{name}.onnx") for name in ("float", "int8", "float-all", "int8-all")}
        onnx.save(prepared.model, paths["float"])
        onnx.save(int8, paths["int8"])
        for name in ("float", "int8"):
            debug.modify_model_output_intermediate_tensors(paths[name], paths[f"{name}-all"])
        feeds: list[Feed] = [samples.feed([row]) for row in chosen]
        full = debug.collect_activations(paths["float-all"], iter(feeds))
        small = debug.collect_activations(paths["int8-all"], iter(feeds))
        matched = debug.create_activation_matching(small, full)
        whole = {
            name: pair
            for name, pair in matched.items()
            if pair.get("float") and not _alike(pair["pre_qdq"], pair["post_qdq"])
        }
        activations = debug.compute_activation_error(whole)
        held = debug.create_weight_matching(paths["float"], paths["int8"])
        weights = debug.compute_weight_error(
            {name: pair for name, pair in held.items() if not _alike([pair["float"]], [pair["dequantized"]])}
        )
    made, read = _makers(prepared.model.graph), _readers(prepared.model.graph)
    found = [
        Suspect(
            name, "activation", float(error["qdq_err"]), tuple(dict.fromkeys(made.get(name, []) + read.get(name, [])))
        )
        for name, error in activations.items()
    ]
    found += [Suspect(name, "weight", float(error), tuple(read.get(name, []))) for name, error in weights.items()]
    known = [one for one in found if one.nodes and math.isfinite(one.signal_db)]
    return tuple(sorted(known, key=lambda one: (one.signal_db, one.tensor)))


def _alike(before: Sequence[Array], after: Sequence[Array]) -> bool:
    """Nothing was lost; a bias of zeros would count as 0 dB, the noisiest of all."""
    return all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def _makers(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Of a tensor behind Relu or Clip also the layer before, whose output would be rounded instead of it."""
    by_output = {name: node for node in graph.node for name in node.output}
    found = {}
    for name, node in by_output.items():
        before = by_output.get(node.input[0]) if node.op_type in FUSED else None
        found[name] = [node.name, *([before.name] if before is not None else [])]
    return found


def _readers(graph: onnx.GraphProto) -> dict[str, list[str]]:
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.name)
    return readers
