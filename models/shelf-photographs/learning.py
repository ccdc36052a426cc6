"""Fine-tune Lite0 on voids and facings; resumable after any epoch, and the same from the same seed and thread count."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch
from jitter import Jitter
from lite0 import Lite0
from lite0_graph import COLUMNS
from plan import LearnRecipe, PhotoRecipe
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edge_runtime.workshop.photo_crops import PhotoCrops
from edge_runtime.workshop.photographs import area_under_curve
from edge_runtime.workshop.run import Graph


class VoidNetwork(nn.Module):
    """`forward(pixels)`: RGB (n, 3, size, size) in (p - 128) / 128 to one logit of `empty`, (n,)."""

    def __init__(self, body: Lite0, size: int) -> None:
        super().__init__()
        self.body, self.size = body, size
        self.head = nn.Linear(body.width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.drop = nn.Dropout(0.2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.body(pixels))).flatten()


class Teacher:
    """A graph that this recipe folder has made, as a source of soft answers."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = Graph(model)
        self.size = int(model.graph.input[0].type.tensor_type.shape.dim[1].dim_value)

    def __call__(self, planes: torch.Tensor) -> torch.Tensor:
        """RGB planes (n, 3, size, size) in 0..255 to the chance of `empty`, (n,)."""
        logits = torch.from_numpy(self._graph(planes.flip(1).permute(0, 2, 3, 1).byte().contiguous().numpy()))
        return torch.sigmoid(logits[:, COLUMNS.index("empty")] - logits[:, COLUMNS.index("stocked")])


@dataclass
class State:
    """What a checkpoint holds."""

    network: VoidNetwork
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    random: torch.Generator
    epoch: int = 0

    def save(self, path: Path) -> None:
        record = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "torch_random": torch.get_rng_state(),
            "epoch": self.epoch,
        }
        fresh = path.with_name(path.name + ".part")
        torch.save(record, fresh)
        fresh.replace(path)

    def load(self, path: Path) -> None:
        record = torch.load(path, weights_only=True)
        self.network.load_state_dict(record["network"])
        self.average.load_state_dict(record["average"])
        self.optimizer.load_state_dict(record["optimizer"])
        self.random.set_state(record["random"])
        torch.set_rng_state(record["torch_random"])
        self.epoch = record["epoch"]


def learn(
    recipe: PhotoRecipe,
    body: Lite0,
    crops: PhotoCrops,
    held: PhotoCrops,
    folder: Path,
    teacher: Teacher | None = None,
) -> VoidNetwork:
    """Fine-tune `body` on stored crops, report the held-out ones after each epoch, give the averaged network."""
    torch.set_num_threads(recipe.threads)
    state = _fresh(recipe, body)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state.load(checkpoint)
        print(f"going on after epoch {state.epoch}", flush=True)
    jitter = Jitter(recipe.crop, recipe.train.shift, recipe.train.scale, state.random)
    seen = msgspec.structs.replace(recipe.crop, size=teacher.size) if teacher else recipe.crop
    wide = Jitter(seen, recipe.train.shift, recipe.train.scale, state.random)
    while state.epoch < recipe.train.epochs:
        began = time.process_time()
        loss = _epoch(recipe.train, crops, state, wide, teacher)
        state.epoch += 1
        state.save(checkpoint)
        line = {"epoch": state.epoch, "loss": round(loss, 4), **judged(state.average.module, held, jitter)}
        print(json.dumps(line | {"cpu_s": round(time.process_time() - began, 1)}), flush=True)
    network = state.average.module
    assert isinstance(network, VoidNetwork)
    return network.eval()


def judged(network: nn.Module, held: PhotoCrops, jitter: Jitter) -> dict[str, float]:
    """Area under the curve and accuracy at zero, of plain crops."""
    said = _logits(network, held, jitter)
    right = (said > 0) == held.void
    return {
        "auc": round(area_under_curve(said[held.void], said[~held.void]), 4),
        "accuracy": round(float(right.mean()), 4),
    }


@torch.no_grad()
def _logits(network: nn.Module, crops: PhotoCrops, jitter: Jitter) -> np.ndarray:
    network.eval()
    parts = [
        network(scaled(jitter.plain(torch.from_numpy(crops.crops[k : k + 64])))).numpy()
        for k in range(0, len(crops), 64)
    ]
    return np.concatenate(parts)


def scaled(planes: torch.Tensor) -> torch.Tensor:
    """0..255 to what the body takes; channels-last memory is faster on a CPU."""
    return ((planes - 128) / 128).contiguous(memory_format=torch.channels_last)


def _fresh(recipe: PhotoRecipe, body: Lite0) -> State:
    torch.manual_seed(recipe.seed)
    network = VoidNetwork(body, recipe.crop.size).to(memory_format=torch.channels_last)
    for part in _frozen(network, recipe.train):
        part.requires_grad_(False)
    average = AveragedModel(network, use_buffers=True)
    learned = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": recipe.train.weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.train.rate)
    return State(network, average, optimizer, torch.Generator().manual_seed(recipe.seed))


def _frozen(network: VoidNetwork, plan: LearnRecipe) -> list[nn.Module]:
    body = network.body
    return [body._conv_stem, body._bn0, *body._blocks[: plan.frozen_blocks]] if plan.frozen_blocks else []


def _epoch(plan: LearnRecipe, crops: PhotoCrops, state: State, jitter: Jitter, teacher: Teacher | None) -> float:
    network, total = state.network, 0.0
    network.train()
    for part in _frozen(network, plan):
        part.eval()
    batches = list(_batches(plan, crops, state.random))
    for number, rows in enumerate(batches):
        for group in state.optimizer.param_groups:
            group["lr"] = plan.rate * _share((state.epoch + number / len(batches)) / plan.epochs)
        void, planes = torch.from_numpy(crops.void[rows]), jitter(torch.from_numpy(crops.crops[rows]))
        told = teacher(planes) if teacher else None
        said = network(scaled(_shrunk(planes, network.size)))
        loss = _loss(plan, said, void, state.epoch >= plan.trim_from, told)
        state.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        state.optimizer.step()
        steps = int(state.average.n_averaged)
        state.average.multi_avg_fn = get_ema_multi_avg_fn(min(plan.average, (1 + steps) / (10 + steps)))
        state.average.update_parameters(network)
        total += loss.item()
    return total / len(batches)


def _share(done: float) -> float:
    """Of the highest rate: up during the first twentieth, then down along a cosine."""
    return min(1.0, 20 * done + 0.02) * (0.5 + 0.5 * math.cos(math.pi * done))


def _batches(plan: LearnRecipe, crops: PhotoCrops, random: torch.Generator) -> Iterator[np.ndarray]:
    """As many rows as there are crops, half of them voids."""
    chance = torch.from_numpy(np.where(crops.void, 0.5 / crops.void.sum(), 0.5 / (~crops.void).sum()))
    whole = len(crops) // plan.batch * plan.batch
    rows = torch.multinomial(chance, whole, replacement=True, generator=random)
    return (part.numpy() for part in rows.chunk(whole // plan.batch))


def _shrunk(planes: torch.Tensor, side: int) -> torch.Tensor:
    """The teacher's crop as the device would cut it for a smaller network."""
    if planes.shape[-1] == side:
        return planes
    return functional.interpolate(planes, size=(side, side), mode="bilinear", antialias=True).round_()


def _loss(
    plan: LearnRecipe, said: torch.Tensor, void: torch.Tensor, trimmed: bool, told: torch.Tensor | None
) -> torch.Tensor:
    target = void.float() * (1 - plan.smoothing) + plan.smoothing / 2
    if told is not None:
        return functional.binary_cross_entropy_with_logits(said, (target + told) / 2)
    each = functional.binary_cross_entropy_with_logits(said, target, reduction="none")
    if not trimmed:
        return each.mean()
    doubtful = torch.where(void, -1.0, each.detach())
    worst = doubtful.topk(round(plan.trim * len(each))).indices
    kept = torch.ones(len(each)).index_fill_(0, worst, 0.0)
    return (each * kept).sum() / kept.sum()
