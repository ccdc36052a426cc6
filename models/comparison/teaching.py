"""Training the two-input network on the kept rounds, with a teacher's word in the loss or without."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from material import Round
from numpy.typing import NDArray
from settings import Comparison, Train
from shelf_recipe import State, TwoInputNetwork
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]


def teach(
    plan: Comparison, rounds: list[Round], teacher: list[NDArray[np.float32]] | None, folder: Path
) -> TwoInputNetwork:
    """Train from scratch, or go on after the last whole epoch in `folder`; the averaged network.

    `teacher` holds logits (n, 4) of every round; the student sees the very pairs that the teacher saw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state, checkpoint = _fresh(plan), folder / "checkpoint.pt"
    if checkpoint.exists():
        state.load(checkpoint)
    while state.epoch < plan.train.epochs:
        began, loss = time.perf_counter(), _epoch(plan, rounds, teacher, state)
        state.epoch += 1
        state.save(checkpoint)
        took = round(time.perf_counter() - began, 1)
        print(json.dumps({"epoch": state.epoch, "loss": round(loss, 4), "seconds": took}), flush=True)
    network = state.average.module
    assert isinstance(network, TwoInputNetwork)
    return network.eval()


def distilled(
    said: torch.Tensor, label: torch.Tensor, teacher: torch.Tensor, share: float, heat: float
) -> torch.Tensor:
    """Divergence from the teacher at temperature `heat` (Hinton et al. 2015), mixed with the truth's cross-entropy."""
    soft = functional.kl_div(
        functional.log_softmax(said / heat, 1), functional.softmax(teacher / heat, 1), reduction="batchmean"
    )
    return (1 - share) * functional.cross_entropy(said, label) + share * heat * heat * soft


def _fresh(plan: Comparison) -> State:
    torch.manual_seed(plan.seed)
    network = TwoInputNetwork(plan.network, plan.crop.network).to(memory_format=torch.channels_last)
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": plan.train.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=plan.train.rate)
    random = torch.Generator().manual_seed(plan.seed)
    return State(network, AveragedModel(network, use_buffers=True), optimizer, random)


def _rate(plan: Train, step: int) -> float:
    """A short warm-up, then a cosine to nothing."""
    whole = plan.epochs * plan.steps_per_epoch
    warm = max(1, min(20, whole // 10))
    fall = 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, whole - warm)))
    return plan.rate * min((step + 1) / warm, fall)


def _batches(
    plan: Train, rounds: list[Round], teacher: list[NDArray[np.float32]] | None, random: torch.Generator
) -> Iterator[Batch]:
    label = np.concatenate([each.label for each in rounds])
    counts = np.bincount(label, minlength=len(plan.class_shares))
    chance = torch.from_numpy((np.asarray(plan.class_shares) / np.maximum(counts, 1))[label])
    rows = torch.multinomial(chance, plan.batch * plan.steps_per_epoch, replacement=True, generator=random).numpy()
    pairs = len(rounds[0].label)
    for chosen in np.split(rows, plan.steps_per_epoch):
        where, which = np.divmod(chosen, pairs)
        now, then = (
            planes(np.stack([getattr(rounds[r], name)[k] for r, k in zip(where, which, strict=True)]))
            for name in ("now", "then")
        )
        word = None
        if teacher is not None:
            word = torch.from_numpy(np.stack([teacher[r][k] for r, k in zip(where, which, strict=True)]))
        yield now, then, torch.from_numpy(label[chosen]), word


def planes(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """(n, h, w, 3) to what the stem takes; channels-last memory halves the time of a step on a CPU."""
    moved = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 128) / 128
    return moved.contiguous(memory_format=torch.channels_last)


def _epoch(plan: Comparison, rounds: list[Round], teacher: list[NDArray[np.float32]] | None, state: State) -> float:
    hard = nn.CrossEntropyLoss(label_smoothing=plan.train.smoothing)
    state.network.train()
    total = 0.0
    for number, (now, then, label, word) in enumerate(_batches(plan.train, rounds, teacher, state.random)):
        for group in state.optimizer.param_groups:
            group["lr"] = _rate(plan.train, state.epoch * plan.train.steps_per_epoch + number)
        said = state.network(now, then)
        if word is None:
            loss = hard(said, label)
        else:
            loss = distilled(said, label, word, plan.distil.share, plan.distil.temperature)
        state.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
        state.optimizer.step()
        steps = int(state.average.n_averaged)
        state.average.multi_avg_fn = get_ema_multi_avg_fn(min(plan.train.average, (1 + steps) / (10 + steps)))
        state.average.update_parameters(state.network)
        total += loss.item()
    return total / plan.train.steps_per_epoch
