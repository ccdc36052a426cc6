"""From trained weights to a bundle: head, export, int8, confidence, packing. No deep-learning framework but for the augmentation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from augment import Augment
from network import TwoInputNetwork
from train import geometry

from edge_runtime.manifest import OutputSpec
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.graph import input_spec
from edge_runtime.workshop.head import LOGITS, fit_head, head_graph, merge
from edge_runtime.workshop.labels import BLOCKED, LABELS
from edge_runtime.workshop.measure import balanced
from edge_runtime.workshop.pack import write_bundle
from edge_runtime.workshop.packing.assemble import Graphs, assemble
from edge_runtime.workshop.packing.identity import Identity
from edge_runtime.workshop.packing.labelled import from_crops
from edge_runtime.workshop.quantization.qdq import quantize_crops
from edge_runtime.workshop.recipe import Recipe
from edge_runtime.workshop.run import Graph, latency_ms
from edge_runtime.workshop.strips import Pairs

CHUNK = 256


@dataclass(frozen=True)
class Parts:
    """The graphs of one model and what was measured while they were made."""

    float32: onnx.ModelProto
    int8: onnx.ModelProto
    receipt: dict[str, float]


def export(recipe: Recipe, backbone: onnx.ModelProto, crops: CropSet) -> tuple[onnx.ModelProto, float]:
    """Fit the scikit-learn head on clean and augmented training crops and merge it; also the largest error of the merge."""
    embeddings, labels = _embedded(recipe, Graph(backbone), crops)
    head = fit_head(embeddings, labels, recipe.head.inverse_penalty)
    merged = merge(backbone, head_graph(head))
    rows = np.arange(min(512, len(crops)))
    small = np.ascontiguousarray(crops.current[rows][:, : recipe.crop.size, : recipe.crop.size])
    then = np.ascontiguousarray(crops.reference_of(rows)[:, : recipe.crop.size, : recipe.crop.size])
    expected = head.decision_function(Graph(backbone)(small, then))
    return merged, float(np.abs(Graph(merged)(small, then) - expected).max())


def export_error(network: TwoInputNetwork, graph: onnx.ModelProto, crops: CropSet) -> float:
    """Largest difference between the network's embedding and the exported graph's, over some crops."""
    rows = np.arange(min(256, len(crops)))
    pair = np.ascontiguousarray(crops.current[rows]), crops.reference_of(rows)
    planes = [(torch.from_numpy(x).permute(0, 3, 1, 2).float() - 128) / 128 for x in pair]
    with torch.no_grad():
        source = network.eval().embed(*planes).numpy()
    return float(np.abs(Graph(graph)(*pair) - source).max())


def _embedded(recipe: Recipe, graph: Graph, crops: CropSet) -> tuple[np.ndarray, np.ndarray]:
    random = torch.Generator().manual_seed(recipe.seed + 1)
    augment = Augment(geometry(recipe), recipe.train.strength, random)
    rng = np.random.default_rng(recipe.seed + 1)
    embeddings, labels = [], []
    for number in range(1 + recipe.head.rounds):
        rows = rng.permutation(len(crops))[: recipe.head.max_crops]
        for chosen in np.split(rows, range(CHUNK, len(rows), CHUNK)):
            pair = crops.current[chosen], crops.reference_of(chosen)
            label = torch.from_numpy(crops.label[chosen].astype(np.int64))
            now, then, label = augment(*pair, label) if number else (*augment.plain(*pair), label)
            embeddings.append(graph(_pixels(now), _pixels(then)))
            labels.append(label.numpy())
    return np.concatenate(embeddings), np.concatenate(labels)


def _pixels(planes: torch.Tensor) -> np.ndarray:
    return planes.permute(0, 2, 3, 1).byte().contiguous().numpy()


def quantized(
    recipe: Recipe, float32: onnx.ModelProto, pairs: Pairs, validation: CropSet, errors: dict[str, float]
) -> Parts:
    """The int8 graph and the export receipt, measured on validation views."""
    plan = recipe.quantize
    int8 = quantize_crops(float32, *pairs, plan.method, plan.float_nodes)
    graphs = Graph(float32), Graph(int8)
    seen = validation.only(validation.usable & (validation.severity <= 3))
    full, small = (graph.over(seen) for graph in graphs)
    visible = seen.label != BLOCKED
    truth = seen.label[visible]
    accuracy = [balanced(truth, x[visible, :BLOCKED].argmax(1)) for x in (full, small)]
    lab = visible & (seen.severity == 0)
    lab_accuracy = [balanced(seen.label[lab], x[lab, :BLOCKED].argmax(1)) for x in (full, small)]
    slow, fast = latency_ms(graphs, recipe.crop.size)
    receipt = {
        **errors,
        "int8_max_error": float(np.abs(full - small).max()),
        "int8_mean_error": float(np.abs(full - small).mean()),
        "int8_agreement": float(np.mean(full.argmax(1) == small.argmax(1))),
        "accuracy_fp32": accuracy[0],
        "accuracy_int8": accuracy[1],
        "accuracy_delta": accuracy[1] - accuracy[0],
        "lab_accuracy_delta": lab_accuracy[1] - lab_accuracy[0],
        "slots": float(len(seen)),
        "fp32_ms_32_slots": slow,
        "int8_ms_32_slots": fast,
        "speedup": slow / fast,
    }
    return Parts(float32, int8, {name: round(value, 6) for name, value in receipt.items()})


def bundle(
    recipe: Recipe,
    parts: Parts,
    validation: CropSet,
    provenance: dict[str, str | int | float],
    folder: Path,
    licence: bytes,
    card: dict[str, str],
) -> Path:
    """Fit confidence and thresholds of the int8 file, gather the evidence, write the zip."""
    graphs = Graphs(
        parts.int8.SerializeToString(deterministic=True),
        parts.float32.SerializeToString(deterministic=True),
        input_spec(recipe.crop.size, recipe.crop.margin),
        OutputSpec(LOGITS, "logits", LABELS),
    )
    evidence = from_crops(graphs, validation, recipe.seed, strict=True)
    identity = Identity(recipe.name, recipe.version, recipe.created, recipe.description, recipe.licence, recipe.runtime)
    manifest, files = assemble(identity, graphs, evidence, provenance, parts.receipt, card, licence)
    return write_bundle(folder, manifest, files)


def pairs_digest(pairs: Pairs) -> str:
    return hashlib.sha256(pairs[0].tobytes() + pairs[1].tobytes()).hexdigest()
