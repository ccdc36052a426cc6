"""From a float graph and calibration samples to the int8 graph that passes the gate, all choices by measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from edge_runtime.errors import Refused
from edge_runtime.manifest import OutputSpec
from edge_runtime.workshop.quantization.blame import Suspect, rank
from edge_runtime.workshop.quantization.judge import MARKS, Agree, Gate, Judge, Likeness, best_of_rows
from edge_runtime.workshop.quantization.processor import Types
from edge_runtime.workshop.quantization.qdq import (
    METHODS,
    Prepared,
    Ranges,
    batch_of,
    gather,
    int8_share,
    prepare,
    tail_of,
    write_int8,
)
from edge_runtime.workshop.quantization.samples import Samples

HELD_EVERY = 4
"""Every fourth sample is held back from calibration and judges what came of the others."""
MIN_SAMPLES = 2
MAX_GROUPS = 24
Told = Callable[[str, int, int], None]
"""Called with (what is being done, done, in all)."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for."""

    types: Types
    methods: tuple[str, ...] = tuple(METHODS)
    kept: tuple[str, ...] = ()
    """Beside the graph's tail (`qdq.tail_of`): nodes whose name begins with one of these stay float from the beginning."""
    gate: Gate = MARKS
    output: OutputSpec | None = None
    agree: Agree = best_of_rows
    max_groups: int = MAX_GROUPS


@dataclass(frozen=True, slots=True)
class Trial:
    """One method, or one more group in float, and how it stood."""

    method: str
    kept_group: str
    """The tensor whose nodes were kept in float in this step; empty for a method's first trial."""
    signal_db: float | None
    kept_nodes: int
    likeness: Likeness


@dataclass(frozen=True, eq=False)
class Found:
    """The search's end."""

    int8: onnx.ModelProto
    method: str
    types: Types
    kept: tuple[str, ...]
    likeness: Likeness
    shortfalls: tuple[tuple[str, float, float], ...]
    """Empty if the gate is passed."""
    trials: tuple[Trial, ...]
    suspects: tuple[Suspect, ...]
    """The noisiest tensors of the last trial that was ranked; empty if none had to be."""
    calibrated: int
    judged: int


@dataclass(eq=False)
class _State:
    prepared: Prepared
    ranges: Ranges
    judge: Judge
    wish: Wish
    kept: tuple[str, ...]
    int8: onnx.ModelProto
    likeness: Likeness


def split(count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(calibration rows, held-back rows). Raises Refused below MIN_SAMPLES."""
    if count < MIN_SAMPLES:
        raise Refused(
            f"the calibration set holds {count} sample; at least {MIN_SAMPLES} were expected, and 64 or more are sensible",
            "Add crops of the shelves that the device will see",
        )
    every = min(HELD_EVERY, count)
    held = tuple(range(every - 1, count, every))
    return tuple(row for row in range(count) if row not in set(held)), held


def search(
    model: onnx.ModelProto, samples: Samples, wish: Wish, judged: Samples | None = None, told: Told | None = None
) -> Found:
    """Try each method, take the best, and keep the noisiest tensors in float until the gate is passed or all were tried.

    `judged` are samples of their own to judge by; without them every HELD_EVERY-th sample is held back. The ranges of
    the result are of the calibration rows alone, so its figures are of exactly the graph that is given back.
    """
    prepared = prepare(model)
    rows, held = (tuple(range(len(samples))), ()) if judged else split(len(samples))
    bench = judged or samples
    asked = tuple(range(len(bench))) if judged else held
    batch = batch_of(prepared.model.graph)
    judge = Judge(model.SerializeToString(deterministic=True), bench, asked, wish.output, wish.agree, batch)
    begun = tuple(dict.fromkeys((*_wished(prepared, wish.kept), *tail_of(prepared.model.graph))))
    trials: list[Trial] = []
    state = _best_method(prepared, samples, rows, judge, wish, begun, trials, told)
    suspects = _keep_worst(state, bench, asked, trials, told)
    return Found(
        state.int8,
        state.ranges.method,
        wish.types,
        state.kept,
        state.likeness,
        shortfalls_of(state.int8, state.likeness, wish.gate),
        tuple(trials),
        suspects,
        len(rows),
        len(asked),
    )


def _wished(prepared: Prepared, beginnings: tuple[str, ...]) -> tuple[str, ...]:
    """Nodes whose name begins so. Raises Refused for a beginning that none has: it is a slip."""
    slips = [text for text in beginnings if not any(name.startswith(text) for name in prepared.nodes)]
    if slips:
        raise Refused(
            f"no node's name begins with {', '.join(map(repr, slips))}; the graph has {', '.join(prepared.nodes[:12])}"
            f"{' and more' if len(prepared.nodes) > 12 else ''}",
            "Name nodes as they are called in the graph: --keep-float PREFIX",
        )
    return tuple(name for name in prepared.nodes if beginnings and name.startswith(beginnings))


def shortfalls_of(int8: onnx.ModelProto, likeness: Likeness, gate: Gate) -> tuple[tuple[str, float, float], ...]:
    """What the gate misses; a graph in which nothing is int8 any more is no int8 graph, however well it answers."""
    done, workers = int8_share(int8)
    nothing_left = () if done else (("layers in int8", float(done), min(1.0, float(workers))),)
    return (*gate.shortfalls(likeness), *nothing_left)


def _best_method(
    prepared: Prepared,
    samples: Samples,
    rows: Sequence[int],
    judge: Judge,
    wish: Wish,
    kept: tuple[str, ...],
    trials: list[Trial],
    told: Told | None,
) -> _State:
    states: list[_State] = []
    for method in wish.methods:
        ranges = gather(prepared, samples, rows, method, _telling(told, f"calibrating, {method}"))
        int8 = write_int8(prepared, ranges, wish.types, kept)
        likeness = judge.compare(int8.SerializeToString(deterministic=True))
        trials.append(Trial(method, "", None, len(kept), likeness))
        states.append(_State(prepared, ranges, judge, wish, kept, int8, likeness))
    return max(states, key=lambda state: _merit(state.likeness))


def _keep_worst(
    state: _State, samples: Samples, rows: Sequence[int], trials: list[Trial], told: Told | None
) -> tuple[Suspect, ...]:
    """Keep one group after another in float, each only if it helped, until the gate is passed."""
    if not state.wish.gate.shortfalls(state.likeness):
        return ()
    suspects = rank(state.prepared, state.int8, samples, rows)
    for number, suspect in enumerate(suspects[: state.wish.max_groups]):
        if told:
            told("keeping the noisiest tensors in float", number, min(len(suspects), state.wish.max_groups))
        more = tuple(name for name in suspect.nodes if name not in state.kept)
        if not more:
            continue
        kept = (*state.kept, *more)
        int8 = write_int8(state.prepared, state.ranges, state.wish.types, kept)
        likeness = state.judge.compare(int8.SerializeToString(deterministic=True))
        trials.append(Trial(state.ranges.method, suspect.tensor, suspect.signal_db, len(kept), likeness))
        if _merit(likeness) >= _merit(state.likeness):
            state.kept, state.int8, state.likeness = kept, int8, likeness
        if not state.wish.gate.shortfalls(state.likeness):
            break
    return suspects


def _merit(likeness: Likeness) -> tuple[float, float, float]:
    delta = likeness.accuracy_delta
    return round(likeness.agreement, 6), min(0.0, delta or 0.0), -likeness.mean_error


def _telling(told: Told | None, what: str) -> Callable[[int, int], None] | None:
    return (lambda done, total: told(what, done, total)) if told else None
