"""Train the network; resumable after any epoch, and the same from the same seed and thread count."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from augment import Augment, Geometry
from network import TwoInputNetwork
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edge_runtime.errors import Refused
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.labels import BLOCKED
from edge_runtime.workshop.measure import balanced
from edge_runtime.workshop.recipe import Recipe

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass
class State:
    """What a checkpoint holds."""

    network: TwoInputNetwork
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


def train(recipe: Recipe, crops: CropSet, validation: CropSet, folder: Path) -> TwoInputNetwork:
    """Train on stored crops, report balanced accuracy on validation crops of the device's size, give the averaged network."""
    torch.set_num_threads(recipe.threads)
    state = _fresh(recipe)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state.load(checkpoint)
        print(f"going on after epoch {state.epoch}", flush=True)
    augment = Augment(geometry(recipe), recipe.train.strength, state.random)
    while state.epoch < recipe.train.epochs:
        began = time.perf_counter()
        loss = _epoch(recipe, _seen_by(recipe, crops, state.epoch), state, augment)
        state.epoch += 1
        state.save(checkpoint)
        line = {"epoch": state.epoch, "loss": round(loss, 4), **_validate(state.average.module, validation)}
        line["seconds"] = round(time.perf_counter() - began, 1)
        print(json.dumps(line), flush=True)
    network = state.average.module
    assert isinstance(network, TwoInputNetwork)
    return network.eval()


def geometry(recipe: Recipe) -> Geometry:
    return Geometry(recipe.crop.size, recipe.crop.margin, recipe.crop.stored_margin)


def _fresh(recipe: Recipe) -> State:
    torch.manual_seed(recipe.seed)
    network = TwoInputNetwork(recipe.network, recipe.crop.size).to(memory_format=torch.channels_last)
    average = AveragedModel(network, use_buffers=True)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.train.weight_decay}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.train.cycles[0][1])
    return State(network, average, optimizer, torch.Generator().manual_seed(recipe.seed))


def _chances(label: np.ndarray, shares: tuple[float, ...]) -> torch.Tensor:
    counts = np.bincount(label, minlength=len(shares))
    return torch.from_numpy((np.asarray(shares) / np.maximum(counts, 1))[label])


def _seen_by(recipe: Recipe, crops: CropSet, epoch: int) -> CropSet:
    """The crops of the shelves that this epoch sees. Raises Refused if they are not there yet."""
    wanted = [shelves for begin, shelves in recipe.train.growth if begin <= epoch]
    if not wanted:
        return crops
    names = np.unique(crops.shelf)
    if len(names) < wanted[-1]:
        raise Refused(
            f"epoch {epoch + 1} wants {wanted[-1]} shelves, {len(names)} are there", "Render and cut more, then go on"
        )
    return crops.only(np.isin(crops.shelf, names[: wanted[-1]]))


def _rate(recipe: Recipe, step: int) -> float:
    """In each cycle a short warm-up, then a cosine to nothing."""
    for epochs, highest in recipe.train.cycles:
        whole = epochs * recipe.train.steps_per_epoch
        if step < whole:
            warm = max(20, whole // 50)
            fall = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, whole - warm)))
            return highest * min((step + 1) / warm, fall if step >= warm else 1.0)
        step -= whole
    return 0.0


def _batches(recipe: Recipe, crops: CropSet, random: torch.Generator, augment: Augment) -> Iterator[Batch]:
    """One epoch of augmented batches; the next one is made in a thread of its own while this one is learned."""
    plan = recipe.train
    chance = _chances(crops.label, plan.class_shares)
    rows = torch.multinomial(chance, plan.batch * plan.steps_per_epoch, replacement=True, generator=random)

    def made(chosen: np.ndarray) -> Batch:
        label = torch.from_numpy(crops.label[chosen].astype(np.int64))
        now, then, label = augment(crops.current[chosen], crops.reference_of(chosen), label)
        return _planes(now), _planes(then), label

    batches = [batch.numpy() for batch in rows.chunk(plan.steps_per_epoch)]
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(made, batches[0])
        for chosen in batches[1:]:
            batch, coming = coming.result(), thread.submit(made, chosen)
            yield batch
        yield coming.result()


def _decay(recipe: Recipe, average: AveragedModel) -> float:
    """The average forgets its first steps faster."""
    steps = int(average.n_averaged)
    return min(recipe.train.average, (1 + steps) / (10 + steps))


def _epoch(recipe: Recipe, crops: CropSet, state: State, augment: Augment) -> float:
    plan, total = recipe.train, 0.0
    state.network.train()
    measure = nn.CrossEntropyLoss(label_smoothing=plan.smoothing)
    for number, (now, then, label) in enumerate(_batches(recipe, crops, state.random, augment)):
        for group in state.optimizer.param_groups:
            group["lr"] = _rate(recipe, state.epoch * plan.steps_per_epoch + number)
        loss = measure(state.network(now, then), label)
        state.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
        state.optimizer.step()
        state.average.multi_avg_fn = get_ema_multi_avg_fn(_decay(recipe, state.average))
        state.average.update_parameters(state.network)
        total += loss.item()
    return total / plan.steps_per_epoch


def _planes(pixels: torch.Tensor) -> torch.Tensor:
    """0..255 to what the stem takes; channels-last memory halves the time of a step on a CPU."""
    return ((pixels - 128) / 128).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _validate(network: nn.Module, crops: CropSet) -> dict[str, float]:
    network.eval()
    said = []
    for begin in range(0, len(crops), 256):
        rows = slice(begin, begin + 256)
        now, then = (
            _planes(torch.from_numpy(x).permute(0, 3, 1, 2).float())
            for x in (crops.current[rows], crops.reference_of(rows))
        )
        said.append(network(now, then).numpy())
    found = np.concatenate(said)
    three = found[:, :BLOCKED].argmax(1)
    seen = crops.label != BLOCKED
    groups = {f"S{k}": seen & (crops.severity == k) for k in np.unique(crops.severity)}
    shown = {name: round(balanced(crops.label[rows], three[rows]), 4) for name, rows in groups.items()}
    hidden = ~seen
    return shown | {"blocked": round(float(np.mean(found[hidden].argmax(1) == BLOCKED)), 3) if hidden.any() else 0.0}
