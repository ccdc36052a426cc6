"""Which frames a dataset has: a grid of conditions for a bench, random mixtures for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edge_runtime.simulator.bay import Bay
from edge_runtime.simulator.conditions import SINGLE, TABLE, Conditions, mixed
from edge_runtime.simulator.geometry import CameraPose, orbited
from edge_runtime.simulator.light import Lighting, draw_lighting
from edge_runtime.simulator.sensor import Sensor, draw_sensor

PlanName = Literal["train", "bench"]
BENCH_SEVERITIES = (1, 2, 3, 4, 5)
_VIEWPOINTS = 0.8
"""Share of training frames that are not taken from the commissioned place."""
_TRAIN_WORST = 4.0
_FURTHEST = 4.5
"""Severity of the furthest viewpoint of a training frame."""


@dataclass(frozen=True, slots=True)
class FramePlan:
    """One frame to be rendered."""

    name: str
    condition: str
    severity: int
    parts: Mapping[str, float]
    """Condition -> severity; what really acts on the frame."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A frame's camera, light and sensor, with all signs and places drawn."""

    camera: CameraPose
    light: Lighting
    sensor: Sensor


def bench_frames(
    frames: int, lab_frames: int = 4, severities: Sequence[int] = BENCH_SEVERITIES, names: Sequence[str] = tuple(TABLE)
) -> tuple[FramePlan, ...]:
    """`lab-<i>`, then `frames` frames of every condition at every severity: `<condition>-s<k>-<i>`."""
    plans = [FramePlan(f"lab-{i}", "lab", 0, {}) for i in range(lab_frames)]
    plans += [FramePlan(f"{c}-s{k}-{i}", c, k, {c: float(k)}) for c in names for k in severities for i in range(frames)]
    return tuple(plans)


def train_frames(rng: np.random.Generator, frames: int, left_out: Sequence[str] = ()) -> tuple[FramePlan, ...]:
    """Random mixtures, most of them mild, most from another viewpoint than the commissioned one.

    `left_out`: conditions of SINGLE that are never drawn.
    """
    plans = []
    families = [name for name in SINGLE if name not in left_out]
    for i in range(frames):
        parts: dict[str, float] = {}
        if rng.random() < _VIEWPOINTS:
            parts["yaw" if rng.random() < 0.7 else "bumped"] = float(_FURTHEST * rng.beta(1.3, 1.5))
        for _ in range(int(rng.choice([0, 1, 2, 3, 4], p=[0.2, 0.27, 0.25, 0.18, 0.1]))):
            parts[str(rng.choice(families))] = _severity(rng)
        worst = round(max(parts.values(), default=0.0))
        plans.append(FramePlan(f"mix-{i:03d}", "mix", worst, parts))
    return tuple(plans)


def draw_capture(rng: np.random.Generator, bay: Bay, parts: Mapping[str, float], commissioned: Capture) -> Capture:
    """Draw a frame's camera, light and sensor for these conditions, on top of how the bay was commissioned."""
    wanted = mixed(parts)
    drawn = draw_lighting(rng, wanted)
    base = commissioned.light
    light = replace(
        drawn,
        exposure_ev=drawn.exposure_ev + base.exposure_ev + float(rng.normal(0, 0.03)),
        kelvin=drawn.kelvin + base.kelvin + float(rng.normal(0, 25)),
        gradient=drawn.gradient if drawn.gradient > 1 else base.gradient,
        gradient_angle=drawn.gradient_angle if drawn.gradient > 1 else base.gradient_angle,
        vignette=base.vignette,
    )
    sensor = draw_sensor(rng, wanted)
    sensor = replace(
        sensor,
        snr_db=min(sensor.snr_db, commissioned.sensor.snr_db),
        jpeg=min(sensor.jpeg, commissioned.sensor.jpeg),
        defocus_px=max(sensor.defocus_px, commissioned.sensor.defocus_px),
    )
    return Capture(moved(rng, bay, wanted, commissioned.camera), light, sensor)


def moved(rng: np.random.Generator, bay: Bay, wanted: Conditions, camera: CameraPose) -> CameraPose:
    """The camera walked, turned, shifted and distorted by the magnitudes of `wanted`, signs at random."""
    signs = rng.choice([-1.0, 1.0], 8)
    drift = rng.normal(0, 0.05, 3)
    if wanted.yaw_deg or wanted.pitch_deg or wanted.roll_deg:
        around = (signs[0] * wanted.yaw_deg, signs[1] * wanted.pitch_deg, signs[2] * wanted.roll_deg)
        camera = orbited(camera, bay.centre, *(float(a) for a in around))
    camera = replace(
        camera,
        yaw_deg=camera.yaw_deg + float(signs[3] * wanted.turn_deg + drift[0]),
        pitch_deg=camera.pitch_deg + float(signs[4] * wanted.turn_deg * 0.5 + drift[1]),
        roll_deg=camera.roll_deg + float(drift[2]),
    )
    angle = rng.uniform(0, 2 * np.pi)
    dx, dy = wanted.shift * camera.size[0] * np.cos(angle), wanted.shift * camera.size[0] * np.sin(angle)
    barrel = 1.0 if signs[5] > 0 or signs[6] > 0 else -1.0
    centre = (camera.centre[0] + float(dx), camera.centre[1] + float(dy))
    return replace(camera, centre=centre, k1=barrel * wanted.lens)


def commissioning(rng: np.random.Generator, bay: Bay) -> Capture:
    """How the bay's camera sees it on the day of the reference picture: a good frame in that store's own light."""
    plain = rng.random() < 0.5
    light = Lighting(
        exposure_ev=float(rng.normal(0, 0.2)),
        kelvin=0.0 if plain else float(rng.normal(0, 450)),
        gradient=1.0 if plain else float(rng.uniform(1.0, 1.35)),
        gradient_angle=float(rng.uniform(0, 2 * np.pi)),
        vignette=0.0 if rng.random() < 0.4 else float(rng.uniform(0, 0.35)),
    )
    soft = float(rng.uniform(0.3, 0.8)) if rng.random() < 0.4 else 0.0
    sensor = Sensor(defocus_px=soft, snr_db=float(rng.uniform(36, 46)), jpeg=int(rng.integers(86, 96)))
    return Capture(bay.reference, light, sensor)


def _severity(rng: np.random.Generator) -> float:
    return float(_TRAIN_WORST * rng.beta(1.2, 1.8))
