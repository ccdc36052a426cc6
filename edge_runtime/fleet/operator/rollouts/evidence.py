"""The devices' figures, interval by interval, as their telemetry and status tell them. Pure and bounded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from edge_runtime.fleet.operator.views import StatusView, TelemetryView

KEPT = 48
"""Windows of each device."""
MOST_MS, MOST_FRAMES = 1e7, 1e9
"""What is beyond, no device has measured: it is not counted, so that one that lies can neither stop a rollout nor judge
it alone."""


@dataclass(frozen=True, slots=True)
class Window:
    """One device over one interval: the mean over its cameras, weighted with their frames where they are told."""

    at: float
    """When it came, by our clock."""
    model: str
    """`name-version`."""
    figures: tuple[float | None, float | None, float | None]
    """Estimated accuracy, unknown share, and the logarithm of the 95th percentile of the frame path in ms."""


class Evidence:
    """The newest windows of every device."""

    def __init__(self) -> None:
        self._windows: dict[str, deque[Window]] = {}

    def telemetry(self, device: str, raw: bytes, at: float) -> None:
        """A telemetry message; one that can not be read tells nothing."""
        try:
            said = msgspec.json.decode(raw, type=TelemetryView)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        cameras = [c for c in said.cameras.values() if c.frames > 0]
        weights = [min(float(camera.frames), MOST_FRAMES) for camera in cameras]
        self._take(
            device,
            Window(
                at,
                said.model,
                (
                    _mean((c.estimated_accuracy for c in cameras), weights),
                    _mean((c.unknown_share for c in cameras), weights),
                    _log(_mean((c.ms.get("total", (0.0, None))[1] for c in cameras), weights, MOST_MS)),
                ),
            ),
        )

    def status(self, device: str, said: StatusView, at: float) -> None:
        """A status repeats the figures of the newest interval: it counts where it says something new."""
        cameras = list(said.cameras.values())
        weights = [1.0] * len(cameras)
        model = f"{said.model.name}-{said.model.version}" if said.model else ""
        figures = (
            _mean((c.estimated_accuracy for c in cameras), weights),
            _mean((c.unknown_share for c in cameras), weights),
            _log(_mean((c.p95_ms for c in cameras), weights, MOST_MS)),
        )
        kept = self._windows.get(device)
        if not kept or (kept[-1].model, kept[-1].figures) != (model, figures):
            self._take(device, Window(at, model, figures))

    def of(self, device: str, holds: Callable[[Window], bool]) -> list[Window]:
        return [window for window in self._windows.get(device, ()) if holds(window)]

    def forget(self, devices: Iterable[str]) -> None:
        for device in devices:
            self._windows.pop(device, None)

    def _take(self, device: str, window: Window) -> None:
        if not window.model or all(value is None for value in window.figures):
            return
        self._windows.setdefault(device, deque(maxlen=KEPT)).append(window)


def means(windows: Iterable[Window]) -> Mapping[str, tuple[float, int]]:
    """Figure -> (mean, windows that have it), by the names of the gates that look at it."""
    found: dict[str, tuple[float, int]] = {}
    kept = list(windows)
    for number, name in enumerate(("accuracy_drop", "unknown_rise", "latency_rise")):
        values = [value for window in kept if (value := window.figures[number]) is not None]
        if values:
            found[name] = (round(math.fsum(values) / len(values), 5), len(values))
    return found


def _mean(values: Iterable[float | None], weights: Iterable[float], most: float = 1.0) -> float | None:
    """Of those from 0 to `most`."""
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None and 0.0 <= v <= most]
    total = math.fsum(w for _, w in known)
    return math.fsum(v * w for v, w in known) / total if total else None


def _log(value: float | None) -> float | None:
    return math.log(value) if value and value > 0 else None
