"""From a fine-tuned network to a local bundle: scikit-learn head, export, int8, confidence, packing."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import onnx
import torch
from jitter import Jitter
from lite0_graph import COLUMNS, void_head_graph
from plan import PhotoRecipe
from sklearn.linear_model import LogisticRegression

from edge_runtime.errors import Refused
from edge_runtime.manifest import Confidence, Manifest, OutputSpec, Thresholds
from edge_runtime.workshop.calibrate import answer, fit_confidence
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.evidence import drift_reference, golden_members
from edge_runtime.workshop.graph import input_spec
from edge_runtime.workshop.head import LOGITS, merge
from edge_runtime.workshop.labels import LABELS, softmax
from edge_runtime.workshop.pack import npz
from edge_runtime.workshop.packing.assemble import Evidence, Graphs, assemble
from edge_runtime.workshop.packing.identity import Identity
from edge_runtime.workshop.photo_crops import PhotoCrops
from edge_runtime.workshop.photographs import area_under_curve, best_threshold
from edge_runtime.workshop.quantization.qdq import quantize_crops
from edge_runtime.workshop.run import Graph, latency_ms

NOTE = "local, not for shipping: shaped by photographs whose licence may not allow it"
STOCKED, EMPTY = COLUMNS.index("stocked"), COLUMNS.index("empty")
GOLDEN_EACH = 4
CHUNK = 256
NEVER = -1e4
"""Logit of `blocked` where the workshop's figures want that column; the graph has none."""
COVERAGE = 0.975


@dataclass(frozen=True)
class Parts:
    """The graphs of one model, what was measured while they were made, and their logits of the held-out crops."""

    float32: onnx.ModelProto
    int8: onnx.ModelProto
    receipt: dict[str, float]


def export(
    recipe: PhotoRecipe, backbone: onnx.ModelProto, stored: PhotoCrops, held: PhotoCrops
) -> tuple[onnx.ModelProto, dict[str, float]]:
    """Fit the head on plain and jittered training crops, merge it; also its figures on the held-out device crops."""
    graph = Graph(backbone)
    embeddings, void = _embedded(recipe, graph, stored)
    seen = graph(held.crops)
    heads = [LogisticRegression(C=c, max_iter=300).fit(embeddings, void) for c in recipe.head.penalties]
    scores = [head.decision_function(seen) for head in heads]
    areas = [area_under_curve(s[held.void], s[~held.void]) for s in scores]
    best = int(np.argmax(areas))
    bias = -best_threshold(scores[best], held.void)
    merged = merge(backbone, void_head_graph(heads[best], bias))
    found = score(Graph(merged)(held.crops))
    return merged, {
        "head_inverse_penalty": recipe.head.penalties[best],
        "head_bias": bias,
        "head_to_onnx_max_error": float(np.abs(found - scores[best] - bias).max()),
    }


def score(logits: np.ndarray) -> np.ndarray:
    """The head's score of `empty` against `stocked`."""
    return np.asarray(logits[:, EMPTY] - logits[:, STOCKED])


def told(logits: np.ndarray, void: np.ndarray) -> dict[str, float]:
    """Area under the curve, and accuracy where `empty` and `stocked` weigh alike."""
    said = score(logits)
    return {"auc": area_under_curve(said[void], said[~void]), "accuracy": float(np.mean((said > 0) == void))}


def quantized(recipe: PhotoRecipe, float32: onnx.ModelProto, train: PhotoCrops, held: PhotoCrops) -> Parts:
    """The int8 graph, its ranges from training crops, and the receipt, measured on held-out crops."""
    rows = np.random.default_rng(recipe.seed).permutation(len(train))[: recipe.quantize.crops]
    int8 = quantize_crops(float32, train.crops[rows], None, recipe.quantize.method, ("head_",))
    graphs = Graph(float32), Graph(int8)
    full, small = (graph(held.crops) for graph in graphs)
    slow, fast = latency_ms(graphs, recipe.crop.size, rounds=8, alone=True)
    receipt = {
        "slots": float(len(held)),
        "int8_max_error": float(np.abs(full - small).max()),
        "int8_mean_error": float(np.abs(full - small).mean()),
        "int8_agreement": float(np.mean(full.argmax(1) == small.argmax(1))),
        **{f"held_out_{name}_fp32": value for name, value in told(full, held.void).items()},
        **{f"held_out_{name}_int8": value for name, value in told(small, held.void).items()},
        "fp32_ms_32_slots": slow,
        "int8_ms_32_slots": fast,
        "speedup": slow / fast,
    }
    return Parts(float32, int8, {name: round(value, 6) for name, value in receipt.items()})


def packed_members(
    recipe: PhotoRecipe, parts: Parts, held: PhotoCrops, provenance: dict[str, str | int | float], licence: bytes
) -> tuple[Manifest, dict[str, bytes]]:
    """Confidence and thresholds of the int8 file, the evidence, and all members of the bundle."""
    logits, full = Graph(parts.int8)(held.crops), Graph(parts.float32)(held.crops)
    crops, wide = _as_crop_set(held), _with_blocked(logits)
    confidence = Confidence(base=fit_confidence(wide, crops).base)
    thresholds = _thresholds(wide, crops, confidence)
    evidence = Evidence(
        confidence,
        thresholds,
        _golden(held, logits, full),
        drift_reference(crops, wide, answer(wide, crops, confidence, thresholds)),
    )
    graphs = Graphs(
        parts.int8.SerializeToString(deterministic=True),
        parts.float32.SerializeToString(deterministic=True),
        input_spec(recipe.crop.size, recipe.crop.margin, reference=False),
        OutputSpec(LOGITS, "logits", COLUMNS),
    )
    identity = Identity(recipe.name, recipe.version, recipe.created, recipe.description, recipe.licence, recipe.runtime)
    return assemble(identity, graphs, evidence, {"note": NOTE, **provenance}, parts.receipt, {}, licence)


def float_only(manifest: Manifest, members: dict[str, bytes], held: PhotoCrops) -> tuple[Manifest, dict[str, bytes]]:
    """The same bundle with the float graph in the place of the int8 one, to compare them through the runtime."""
    body = members["model.fp32.onnx"]
    graph = Graph(body)
    chosen = np.arange(min(2 * GOLDEN_EACH, len(held)))
    logits = graph(held.crops[chosen])
    proof = golden_members(held.crops[chosen], None, logits, None, "logits")
    kept = {name: members[name] for name in ("reference.npz", "LICENSE")}
    renamed = msgspec.structs.replace(manifest, name=f"{manifest.name}-fp32")
    return renamed, {**kept, "model.onnx": body, "golden.npz": npz(proof)}


def _embedded(recipe: PhotoRecipe, graph: Graph, stored: PhotoCrops) -> tuple[np.ndarray, np.ndarray]:
    """Training crops twice: as the device cuts it, and jittered."""
    random = torch.Generator().manual_seed(recipe.seed + 1)
    jitter = Jitter(recipe.crop, recipe.train.shift, recipe.train.scale, random)
    rows = np.random.default_rng(recipe.seed + 1).permutation(len(stored))[: recipe.head.max_crops]
    chosen, parts = stored.crops[rows], []
    for way in (jitter.plain, jitter):
        for begin in range(0, len(rows), CHUNK):
            planes = way(torch.from_numpy(chosen[begin : begin + CHUNK]))
            parts.append(graph(planes.flip(1).permute(0, 2, 3, 1).byte().contiguous().numpy()))
    return np.concatenate(parts), np.tile(stored.void[rows], 2)


def _with_blocked(logits: np.ndarray) -> np.ndarray:
    return np.concatenate([logits, np.full((len(logits), 1), NEVER, np.float32)], 1)


def _as_crop_set(held: PhotoCrops) -> CropSet:
    """Photographs as the workshop's figures want them: seen well, nothing covered, no reference picture of their own."""
    n = len(held)
    nothing, whole = np.zeros(n, np.float32), np.ones(n, np.float32)
    return CropSet(
        references=held.crops[:1],
        current=held.crops,
        slot=np.zeros(n, np.int32),
        label=np.where(held.void, LABELS.index("empty"), LABELS.index("stocked")).astype(np.int8),
        covered=nothing,
        condition=np.full(n, "lab"),
        severity=np.zeros(n, np.int8),
        shelf=held.group,
        usable=np.ones(n, np.bool_),
        inside=whole,
        density=whole,
        saturated=nothing,
        sharpness=whole,
        noise=nothing,
    )


def _thresholds(wide: np.ndarray, crops: CropSet, confidence: Confidence) -> Thresholds:
    best = softmax(wide, np.exp(confidence.base)).max(1)
    return Thresholds(answer=round(float(np.clip(np.quantile(best, 1 - COVERAGE), 0.5, 0.9)), 3), blocked=0.9)


def _golden(held: PhotoCrops, int8: np.ndarray, float32: np.ndarray) -> bytes:
    """`evidence.golden_members` of clear cases of stocked and empty alone."""
    right = (np.sign(score(int8)) == np.sign(score(float32))) & ((score(int8) > 0) == held.void)
    surest = np.argsort(-np.abs(score(int8)))
    surest = surest[right[surest]]
    rows = np.concatenate([surest[held.void[surest] == side][:GOLDEN_EACH] for side in (False, True)])
    if len(np.unique(held.void[rows])) < 2:
        raise Refused("no clear case of both stocked and empty that float and int8 get right", "Train it longer")
    return npz(golden_members(held.crops[rows], None, int8[rows], float32[rows], "logits"))
