"""What the local view knows: the newest outcome of each camera, kept by an observer and read by the web server's threads."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from edge_runtime.records import Event, Image, Layout, Light, Outcome, Reason, Registration, Slot, Unusable, View
from edge_runtime.web.exposition import render
from edge_runtime.web.meter import CameraMeter, Metered
from edge_runtime.web.metrics import Reading, families

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

EVENTS_KEPT = 50
REDRAW_S = 0.4
"""A picture is drawn at most this often, however many people watch."""
STALE_S = 120.0
"""A camera without a frame for this long, and three intervals, is not healthy."""
CROP_COLUMNS = 8
PICTURES = ("frame.jpg", "view.jpg", "crops.jpg", "reference.jpg")


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    sequence: int
    at: float
    jpeg: bytes


class CameraBoard:
    """One camera's newest outcome (a `pipeline.Observer`). `observe` copies the crops, which are a reused buffer; it draws nothing."""

    def __init__(
        self,
        camera: str,
        layout: Layout,
        reference_crops: Callable[[], Image],
        interval_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.camera = camera
        self._stale_s = max(STALE_S, 3 * interval_s)
        self.layout = layout
        self._reference_crops = reference_crops
        self._clock = clock
        self._latest: Outcome | None = None
        self._observed_at = -math.inf
        self._frames = 0
        self._usable = 0
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._drawn: dict[str, _Drawn] = {}
        self._drawing = threading.Lock()
        self.meter = CameraMeter()

    def observe(self, outcome: Outcome) -> None:
        """Keep what the page shows of this outcome."""
        view = outcome.view
        if isinstance(view, View):
            outcome = dataclasses.replace(outcome, view=dataclasses.replace(view, crops=view.crops.copy()))
            self._usable += 1
        self._events.extendleft(outcome.events)
        if not _is_missing(outcome):
            self._frames += 1
            self._observed_at = self._clock()
        self._latest = outcome
        self.meter.observe(outcome)

    @property
    def age_s(self) -> float:
        """Seconds since the newest frame; infinite before the first."""
        return self._clock() - self._observed_at

    @property
    def stale(self) -> bool:
        """True if a frame is overdue."""
        return self.age_s >= self._stale_s

    def state(self) -> dict[str, Json]:
        """The page's data, as plain JSON values."""
        outcome = self._latest
        base: dict[str, Json] = {
            "id": self.camera,
            "frames": self._frames,
            "usable_frames": self._usable,
            "image_size": list(self.layout.image_size),
            "crop_columns": CROP_COLUMNS,
        }
        if outcome is None:
            return base | {"age_s": None, "slots": [_slot(s, None) for s in self.layout.slots], "events": []}
        return (
            base
            | {"age_s": _finite(self.age_s), "stale": self.stale}
            | _outcome(outcome, self.layout, tuple(self._events))
        )

    def picture(self, name: str) -> bytes | None:
        """JPEG of one of PICTURES; None before the first frame or if this frame has no such picture."""
        outcome = self._latest
        if outcome is None or name not in PICTURES:
            return None
        with self._drawing:
            kept = self._drawn.get(name)
            now = self._clock()
            if kept and (kept.sequence == outcome.frame.sequence or now - kept.at < REDRAW_S):
                return kept.jpeg
            picture = self._draw(name, outcome)
            if picture is None:
                return None
            from edge_runtime.web.annotate import encode_jpeg

            self._drawn[name] = _Drawn(outcome.frame.sequence, now, encode_jpeg(picture))
            return self._drawn[name].jpeg

    def _draw(self, name: str, outcome: Outcome) -> Image | None:
        from edge_runtime.web.annotate import draw_frame, draw_view, tags_of  # fonts: only once somebody looks

        if name == "frame.jpg":
            if _is_missing(outcome):
                return None
            return draw_frame(outcome, self.layout, tags_of(outcome))
        if name == "view.jpg":
            return draw_view(outcome, self.layout, tags_of(outcome))
        if name == "reference.jpg":
            return crop_grid(self._reference_crops())
        return crop_grid(outcome.view.crops) if isinstance(outcome.view, View) else None


class Board:
    """All cameras of this device, for the server."""

    def __init__(self, device: str, version: str) -> None:
        self.device = device
        self.version = version
        self._cameras: dict[str, CameraBoard] = {}
        self._figures: tuple[Reading, dict[str, Metered]] | None = None

    def watch(
        self, camera: str, layout: Layout, reference_crops: Callable[[], Image], interval_s: float = 0.0
    ) -> CameraBoard:
        """An observer for one camera's pipeline, which gets a frame every `interval_s`.

        `reference_crops` is asked at drawing time: a new model changes their size.
        """
        self._cameras[camera] = CameraBoard(camera, layout, reference_crops, interval_s)
        return self._cameras[camera]

    def camera(self, name: str) -> CameraBoard | None:
        """The camera of this name, if there is one."""
        return self._cameras.get(name)

    def note(self, reading: Reading) -> None:
        """The device's figures as of now, in the place of the last ones; call it in the inference loop."""
        self._figures = (reading, {name: camera.meter.look() for name, camera in self._cameras.items()})

    def metrics(self) -> bytes | None:
        """What /metrics serves; None before the first reading."""
        figures = self._figures
        return render(families(*figures)) if figures is not None else None

    def state(self) -> dict[str, Json]:
        """What /api/state serves."""
        return {
            "device": self.device,
            "version": self.version,
            "now": time.time(),
            "cameras": [camera.state() for camera in list(self._cameras.values())],
        }

    def health(self) -> tuple[bool, dict[str, Json]]:
        """Whether every camera has had a frame lately, and the figures behind it."""
        cameras = list(self._cameras.values())
        ok = bool(cameras) and not any(camera.stale for camera in cameras)
        return ok, {"ok": ok, "frame_age_s": {camera.camera: _finite(camera.age_s) for camera in cameras}}


def crop_grid(crops: Image) -> Image:
    """Crops (n, h, w, 3) as one picture, CROP_COLUMNS in a row, in the order of the layout."""
    count, height, width, _ = crops.shape
    rows = math.ceil(count / CROP_COLUMNS)
    grid = np.zeros((rows * CROP_COLUMNS, height, width, 3), np.uint8)
    grid[:count] = crops
    tiles = grid.reshape(rows, CROP_COLUMNS, height, width, 3).swapaxes(1, 2)
    picture = tiles.reshape(rows * height, CROP_COLUMNS * width, 3)
    limit = 4096 / max(picture.shape[:2])
    if limit < 1:
        picture = cv2.resize(picture, None, fx=limit, fy=limit, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return np.ascontiguousarray(picture)


def _is_missing(outcome: Outcome) -> bool:
    """True if this outcome is of a moment without a picture: the camera is away."""
    return isinstance(outcome.view, Unusable) and outcome.view.reason is Reason.NO_CAMERA


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _outcome(outcome: Outcome, layout: Layout, events: tuple[Event, ...]) -> dict[str, Json]:
    view = outcome.view
    shared: dict[str, Json] = {
        "sequence": outcome.frame.sequence,
        "captured_at": outcome.frame.captured_at,
        "usable": isinstance(view, View),
        "reason": view.reason.value if isinstance(view, Unusable) else "",
        "detail": view.detail if isinstance(view, Unusable) else "",
        "registration": _registration(view.registration),
        "light": _light(view.light),
        "sharpness": _finite(view.sharpness) if isinstance(view, View) else None,
        "noise": _finite(view.noise) if isinstance(view, View) else None,
        "ms": {name: _finite(ms) for name, ms in outcome.ms.items()},
    }
    model = outcome.scores.model if outcome.scores else None
    return shared | {
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256} if model else None,
        "slots": [_slot(slot, outcome) for slot in layout.slots],
        "events": [_event(event) for event in events],
    }


def _registration(registration: Registration) -> dict[str, Json]:
    residual = registration.residual_px
    return {
        "status": registration.status.value,
        "inliers": registration.inliers,
        "residual_px": None if residual is None else _finite(residual),
        "moved": registration.moved,
        "packs_px": _finite(registration.packs_px),
        "remarks": [remark.value for remark in registration.remarks],
        "detail": registration.detail,
    }


def _light(light: Light) -> dict[str, Json]:
    return {
        "applied": light.applied,
        "decision": light.decision.value,
        "gain": [_finite(g) for g in light.gain],
        "residual_before": _finite(light.residual_before),
        "residual_after": _finite(light.residual_after),
        "agreement": _finite(light.agreement),
        "detail": light.detail,
    }


def _slot(slot: Slot, outcome: Outcome | None) -> dict[str, Json]:
    record: dict[str, Json] = {"id": slot.id, "sku": slot.sku, "state": "unknown", "confidence": 0.0, "reason": ""}
    if outcome is None:
        return record
    for reading in outcome.readings:
        if reading.slot == slot.id:
            scores: dict[str, Json] = {name: _finite(p) for name, p in reading.scores.items()}
            record |= {
                "state": reading.state.value,
                "confidence": _finite(reading.confidence),
                "reason": reading.reason,
            }
            record["scores"] = scores
    for status in outcome.statuses:
        if status.slot == slot.id:
            record |= {"state": status.state.value, "confidence": _finite(status.confidence)}
            record |= {"since": status.since, "reason": status.reason}
    return record


def _event(event: Event) -> dict[str, Json]:
    detail: dict[str, Json] = dict(event.detail or {})
    return {
        "id": event.id,
        "kind": event.kind,
        "at": event.at,
        "slot": event.slot,
        "was": event.was,
        "now": event.now,
        "confidence": _finite(event.confidence),
        "detail": detail,
    }
