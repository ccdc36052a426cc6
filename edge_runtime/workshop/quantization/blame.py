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

from edge_runtime.workshop.quantization.feeding import Array
from edge_runtime.workshop.quantization.qdq import Prepared
from edge_runtime.workshop.quantization.samples import Samples

FUSED = ("Relu", "Clip")
"""The quantizer rounds once behind these, not before them."""
ROWS = 8
"""Samples by which the tensors are ranked."""


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
    """Every quantized tensor, the noisiest first; measured on at most ROWS of `rows`.

    What lost nothing is left out: a bias of zeros would count as 0 dB, the noisiest of all.
    """
    made, read = _makers(prepared.model.graph), _readers(prepared.model.graph)
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in ("float", "int8", "told")}
        onnx.save(prepared.model, paths["float"])
        onnx.save(int8, paths["int8"])
        debug.modify_model_output_intermediate_tensors(str(paths["int8"]), str(paths["told"]))
        activations = _activations(paths["told"], samples, rows[:ROWS], {*made, *read})
        held = debug.create_weight_matching(str(paths["float"]), str(paths["int8"]))
        weights = {name: _Noise() for name in held}
        for name, pair in held.items():
            weights[name].add(pair["float"], pair["dequantized"])
    found = [
        Suspect(name, "activation", noise.signal_db, tuple(dict.fromkeys(made.get(name, []) + read.get(name, []))))
        for name, noise in activations.items()
    ]
    found += [Suspect(name, "weight", noise.signal_db, tuple(read.get(name, []))) for name, noise in weights.items()]
    known = [one for one in found if one.nodes and math.isfinite(one.signal_db)]
    return tuple(sorted(known, key=lambda one: (one.signal_db, one.tensor)))


@dataclass(slots=True)
class _Noise:
    """A tensor before and after it was rounded, added up part by part (`compute_signal_to_quantization_noice_ratio`)."""

    signal: float = 0.0
    lost: float = 0.0

    def add(self, before: Array, after: Array) -> None:
        wide = before.astype(np.float64)
        self.signal += float(np.square(wide).sum())
        self.lost += float(np.square(wide - after.astype(np.float64)).sum())

    @property
    def signal_db(self) -> float:
        """inf where nothing was lost."""
        tiny = float(np.finfo(np.float64).tiny)
        return 10.0 * math.log10(max(self.signal, tiny) / self.lost) if self.lost > 0.0 else math.inf


def _activations(told: Path, samples: Samples, rows: Sequence[int], known: set[str]) -> dict[str, _Noise]:
    """One sample at a time: every activation of a detector's view is a hundred MB and more."""
    noise: dict[str, _Noise] = {}
    for row in rows:
        seen = debug.collect_activations(str(told), iter([samples.feed([row])]))
        for name, pair in debug.create_activation_matching(seen).items():
            if name in known:
                for before, after in zip(pair["pre_qdq"], pair["post_qdq"], strict=True):
                    noise.setdefault(name, _Noise()).add(before, after)
    return noise


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
