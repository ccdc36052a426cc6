"""One frame's journey through the runtime: the page to read first.

`camera -> Frame -> normalize -> View | Unusable -> inference -> Scores -> shelf -> SlotStatus, Event -> observers`.
A frame goes one way. Every part is a Protocol here; `daemon/compose.py` is the one place that picks the real ones.
Observers (drift, telemetry, the local view) read what a frame led to; none of them can change it. Whoever wants to
act (the model guard, a command) does so between two frames, by `replace`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from edge_runtime.records import (
    Event,
    Frame,
    Image,
    ModelId,
    Outcome,
    Scores,
    SlotReading,
    SlotStatus,
    Unusable,
    View,
)


class Normalizer(Protocol):
    """Brings frames of one camera to its reference view."""

    @property
    def reference_crops(self) -> Image:
        """(slots, height, width, 3): the slots as they were when the camera was commissioned."""
        ...

    def normalize(self, frame: Frame) -> View | Unusable:
        """Register, relight and resample; or say why not. Never raises for what a camera may show."""
        ...


class Model(Protocol):
    """A loaded model, bound to one camera's reference crops."""

    @property
    def id(self) -> ModelId: ...

    def infer(self, view: View) -> Scores:
        """Calibrated scores for every slot. Raises errors.ModelFault if the model itself misbehaves."""
        ...


class Shelf(Protocol):
    """The slots of one camera over time."""

    def observe(
        self, view: View | Unusable, scores: Scores | None
    ) -> tuple[tuple[SlotReading, ...], tuple[SlotStatus, ...], tuple[Event, ...]]:
        """Take one frame's scores (None: no model, or the frame is unusable) and say what the slots are now."""
        ...


class Observer(Protocol):
    """Reads outcomes. Must be quick and must not raise: it runs on the inference loop."""

    def observe(self, outcome: Outcome) -> None: ...


class Pipeline:
    """Frames of one camera in, outcomes out. Single-threaded by contract: one inference loop calls `step`."""

    def __init__(
        self, normalizer: Normalizer, model: Model | None, shelf: Shelf, observers: Sequence[Observer] = ()
    ) -> None:
        self._normalizer = normalizer
        self._model = model
        self._shelf = shelf
        self._observers = tuple(observers)

    @property
    def normalizer(self) -> Normalizer:
        """The normalizer that the next frame will meet."""
        return self._normalizer

    @property
    def model(self) -> Model | None:
        """The model that the next frame will meet; None is safe mode: all slots `unknown`."""
        return self._model

    def replace(self, normalizer: Normalizer, model: Model | None) -> None:
        """Change the model between two frames. The normalizer comes along because a model names its own crop size."""
        self._normalizer = normalizer
        self._model = model

    def step(self, frame: Frame) -> Outcome:
        """Take one frame all the way. A model that fails raises, and the shelf has not seen the frame."""
        began = time.perf_counter()
        view = self._normalizer.normalize(frame)
        scores = self._model.infer(view) if self._model is not None and isinstance(view, View) else None
        return self._conclude(view, scores, began)

    def miss(self, view: Unusable) -> Outcome:
        """Take a moment without a frame (`Reason.NO_CAMERA`), or whose frame made `step` raise (`Reason.FAILED`), to
        the shelf and the observers."""
        return self._conclude(view, None, time.perf_counter())

    def _conclude(self, view: View | Unusable, scores: Scores | None, began: float) -> Outcome:
        inferred = time.perf_counter()
        readings, statuses, events = self._shelf.observe(view, scores)
        ended = time.perf_counter()
        ms = {
            **view.ms,
            **(scores.ms if scores else {}),
            "shelf": 1e3 * (ended - inferred),
            "total": 1e3 * (ended - began),
        }
        outcome = Outcome(view.frame, view, scores, readings, statuses, events, ms)
        for observer in self._observers:
            observer.observe(outcome)
        return outcome
