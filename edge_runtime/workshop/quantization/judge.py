"""How nearly an int8 file answers as its float file, over rows of samples. Batches in, a few numbers out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.decoder import Decoder
from edge_runtime.errors import ModelFault, Refused
from edge_runtime.inference.detect.decode import decode
from edge_runtime.inference.detect.golden import compare_boxes
from edge_runtime.manifest import OutputSpec
from edge_runtime.workshop.quantization.feeding import Array, Runner
from edge_runtime.workshop.quantization.qdq import BATCH
from edge_runtime.workshop.quantization.samples import Samples

Agree = Callable[[tuple[Array, ...], tuple[Array, ...]], tuple[float, float]]
"""Outputs of float and int8 for one batch -> (what agreed, what there was)."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """One int8 file beside its float file; shares 0..1."""

    rows: int
    agreement: float
    """Share of the rows (of the boxes, for a detector) on which both say the same."""
    mean_error: float
    """Mean absolute difference of the outputs, as a share of the spread of the float outputs."""
    max_error: float
    """Largest absolute difference of any output."""
    accuracy_float: float | None = None
    """Balanced over the labels of the samples; None without labels."""
    accuracy_int8: float | None = None
    answers: int | None = None
    """How many different best columns the float file's rows have; None for boxes."""

    @property
    def accuracy_delta(self) -> float | None:
        """int8 - float; below 0 is a loss."""
        if self.accuracy_float is None or self.accuracy_int8 is None:
            return None
        return self.accuracy_int8 - self.accuracy_float

    def as_dict(self) -> dict[str, float | int | None]:
        return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Gate:
    """What an int8 file must keep of its float file; BENCH.md 1."""

    agreement: float = 0.995
    loss: float = 0.002
    """Most balanced accuracy that may be lost where labels are there."""

    def shortfalls(self, likeness: Likeness) -> tuple[tuple[str, float, float], ...]:
        """(mark, found, wanted) of everything that falls short."""
        found: list[tuple[str, float, float]] = []
        if likeness.agreement < self.agreement:
            found.append(("agreement", likeness.agreement, self.agreement))
        delta = likeness.accuracy_delta
        if delta is not None and delta < -self.loss:
            found.append(("accuracy delta", delta, -self.loss))
        return tuple(found)


MARKS = Gate()
SURE = 0.95
FAR = 0.1
"""A mean error above this share of the spread is no rounding any more."""


def doubts(likeness: Likeness, gate: Gate) -> tuple[str, ...]:
    """What a passed gate does not show, in sentences; empty if there is nothing to add."""
    found = []
    needed = math.ceil(math.log(1.0 - SURE) / math.log(gate.agreement)) if 0.0 < gate.agreement < 1.0 else 0
    if likeness.answers is not None and likeness.rows < needed:
        found.append(
            f"{likeness.rows} samples judge, and {needed} that all agree were expected to show {100 * gate.agreement:g} % "
            "agreement: give more, or a set of their own with --judge, and hold the bundle against `build validate`"
        )
    if likeness.answers == 1:
        found.append(
            f"the float file gives all {likeness.rows} samples the same answer, so agreement says nothing: give samples of "
            "every state"
        )
    if likeness.mean_error > FAR:
        found.append(
            f"the outputs are {100 * likeness.mean_error:.0f} % of their spread apart, at most {100 * FAR:.0f} % were "
            "expected: confidence will not be the float file's; keep more in float, or pack the float file alone"
        )
    return tuple(found)


def best_of_rows(full: tuple[Array, ...], small: tuple[Array, ...]) -> tuple[float, float]:
    """`Agree` of a classifier: the best column of each row of the first output."""
    return float((full[0].argmax(-1) == small[0].argmax(-1)).sum()), float(full[0][..., 0].size)


def boxes_alike(decoder: Decoder, size: tuple[int, int], first: str, names: tuple[str, ...]) -> Agree:
    """`Agree` of a detector: boxes that both find in the same place and class, of all that either finds.

    `first` is the manifest's `output.name`, `names` are the graph's outputs as they come; `size` (width, height) is its
    input's. Raises Refused if the graph lacks an output that the decoder takes.
    """
    missing = [name for name in decoder.outputs(first) if name not in names]
    if missing:
        raise Refused(
            f"the graph gives {', '.join(names)}; the decoder takes {', '.join(missing)}", "Mend the description"
        )
    order = [names.index(name) for name in decoder.outputs(first)]

    def agree(full: tuple[Array, ...], small: tuple[Array, ...]) -> tuple[float, float]:
        one, other = (decode(tuple(outputs[k] for k in order), decoder, size) for outputs in (full, small))
        again = compare_boxes(one, other, decoder.score)[1]
        return float(again), float(len(one) + len(other) - again)

    return agree


class Judge:
    """Compares int8 files with one float file over the same rows.

    Raises Refused if the samples do not fit the float file, ModelFault if it answers with NaN or infinity.
    """

    def __init__(
        self,
        model: bytes,
        samples: Samples,
        rows: Sequence[int],
        output: OutputSpec | None,
        agree: Agree = best_of_rows,
        batch: int = BATCH,
    ) -> None:
        self._samples, self._output, self._agree = samples, output, agree
        self._batches = [list(rows[k : k + batch]) for k in range(0, len(rows), batch)]
        self._names = (output.name,) if output else None
        self._float = Runner(model)
        first = samples.feed(self._batches[0])
        self._float.require(first)
        _require_finite(self._float(first, self._names))

    def compare(self, int8: bytes) -> Likeness:
        """Run both files over all rows. Raises ModelFault if the float file answers with NaN or infinity."""
        small = Runner(int8)
        tally = _Tally(self._truth(), self._agree is best_of_rows)
        for batch in self._batches:
            feed = self._samples.feed(batch)
            one, other = self._float(feed, self._names), small(feed, self._names)
            _require_finite(one)
            tally.add(batch, one, other, self._agree(one, other))
        return tally.likeness()

    def _truth(self) -> NDArray[np.int64] | None:
        if self._output is None or self._samples.labels is None:
            return None
        known = {name: column for column, name in enumerate(self._output.labels)}
        return np.array([known.get(label, -1) for label in self._samples.labels], np.int64)


class _Tally:
    def __init__(self, truth: NDArray[np.int64] | None, columns: bool) -> None:
        self._truth = truth
        self._best: set[int] | None = set() if columns else None
        self._agreed = self._total = self._error = self._values = self._sum = self._squares = self._worst = 0.0
        self._rows = 0
        self._right: list[tuple[int, bool, bool]] = []

    def add(
        self, rows: list[int], full: tuple[Array, ...], small: tuple[Array, ...], agreed: tuple[float, float]
    ) -> None:
        self._rows += len(rows)
        self._agreed, self._total = self._agreed + agreed[0], self._total + agreed[1]
        for one, other in zip(full, small, strict=True):
            wide = one.astype(np.float64)
            error = np.abs(wide - other.astype(np.float64))
            self._error, self._values = self._error + float(error.sum()), self._values + error.size
            self._sum, self._squares = self._sum + float(wide.sum()), self._squares + float((wide**2).sum())
            self._worst = max(self._worst, float(error.max(initial=0.0)))
        if self._best is not None:
            self._best.update(np.unique(full[0].argmax(-1)).tolist())
        if self._truth is not None:
            best = zip(full[0].argmax(-1), small[0].argmax(-1), strict=True)
            truths = self._truth[rows]
            self._right += [(int(t), a == t, b == t) for t, (a, b) in zip(truths, best, strict=True) if t >= 0]

    def likeness(self) -> Likeness:
        count = max(1.0, self._values)
        spread = float(np.sqrt(max(1e-24, self._squares / count - (self._sum / count) ** 2)))
        return Likeness(
            self._rows,
            self._agreed / self._total if self._total else 1.0,
            self._error / count / spread,
            self._worst,
            self._accuracy(1),
            self._accuracy(2),
            None if self._best is None else len(self._best),
        )

    def _accuracy(self, column: int) -> float | None:
        if not self._right:
            return None
        table = np.array(self._right, np.int64)
        return float(np.mean([table[table[:, 0] == k, column].mean() for k in np.unique(table[:, 0])]))


def _require_finite(outputs: tuple[Array, ...]) -> None:
    if not all(np.isfinite(array).all() for array in outputs):
        raise ModelFault(
            "the float model answers NaN or infinity for the calibration set",
            "Look at its weights and at the scale of its input (mean, std)",
        )
