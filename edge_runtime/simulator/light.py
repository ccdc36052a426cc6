"""What lamps, sun and time of day do to a picture, in linear light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edge_runtime.simulator.conditions import Conditions
from edge_runtime.simulator.geometry import Raster

GAMMA = 2.0
"""Close to what cameras do, and a square root is cheap."""
_LINEAR = ((np.arange(256) / 255.0) ** GAMMA).astype(np.float32)
_NIGHT_GAIN = 4.0
"""A sensor makes up for at most this much missing light."""
_DAY_KELVIN = 4500.0


@dataclass(frozen=True, slots=True)
class Lighting:
    """The light on one frame. The defaults change nothing."""

    exposure_ev: float = 0.0
    kelvin: float = 0.0
    """Signed distance from the commissioned lamps; positive is bluer."""
    gradient: float = 1.0
    """Ratio of the bright side to the dark side."""
    gradient_angle: float = 0.0
    """Radians; 0 is bright on the right."""
    shadow: float = 0.0
    """Share of the light that is missing inside the shadow."""
    shadow_outline: tuple[tuple[float, float], ...] = ()
    """Corners in shares of the picture's width and height."""
    shadow_softness: float = 0.004
    glare: tuple[tuple[float, float, float, float, float], ...] = ()
    """Reflections: x, y, half width, half height (shares of the picture's width), angle in degrees."""
    banding: float = 0.0
    band_period: float = 0.2
    """Share of the picture's height."""
    band_phase: float = 0.0
    night: float = 1.0
    """Share of the light in the picture after the sensor's own gain."""
    vignette: float = 0.0
    """Share of the light missing in the corners."""


DAYLIGHT = Lighting()


def draw_lighting(rng: np.random.Generator, wanted: Conditions) -> Lighting:
    """Random signs, directions and places for the magnitudes of `wanted`."""
    sign = -1.0 if rng.random() < 0.5 else 1.0
    warm = -1.0 if rng.random() < 0.5 else 1.0
    outline = _outline(rng) if wanted.shadow else ()
    return Lighting(
        exposure_ev=sign * wanted.exposure_ev,
        kelvin=warm * wanted.kelvin,
        gradient=wanted.gradient,
        gradient_angle=float(rng.choice([0.0, math.pi, rng.uniform(0, 2 * math.pi)])),
        shadow=wanted.shadow,
        shadow_outline=outline,
        shadow_softness=float(rng.uniform(0.001, 0.008)),
        glare=_reflections(rng, wanted.glare) if wanted.glare else (),
        banding=wanted.banding,
        band_period=float(rng.uniform(0.06, 0.5)),
        band_phase=float(rng.uniform(0, 2 * math.pi)),
        night=min(1.0, wanted.night * float(np.exp(rng.uniform(0, math.log(_NIGHT_GAIN))))),
    )


def linear(picture: Raster) -> Raster:
    """uint8 -> float32 linear light, 1 is the sensor's ceiling."""
    return cv2.LUT(picture, _LINEAR)


def lit(picture: Raster, light: Lighting) -> Raster:
    """A scene, BGR uint8, under this light: float32 linear; values above 1 will saturate."""
    height, width = picture.shape[:2]
    gain = channel_gains(light.kelvin) * np.float32(2.0**light.exposure_ev * light.night)
    scene = cv2.LUT(picture, np.ascontiguousarray(_LINEAR[None, :, None] * gain))
    field = _field(light, width, height)
    if field is not None:
        cv2.multiply(scene, cv2.merge((field, field, field)), dst=scene)
    if light.glare:
        added = cv2.resize(_glare(light, width // 2, height // 2), (width, height))
        cv2.add(scene, cv2.merge((added, added, added)), dst=scene)
    return scene


def channel_gains(kelvin: float) -> Raster:
    """(3,) float32 gains for B, G, R of a lamp `kelvin` away from the commissioned one; green stays 1."""
    base, shifted = _planck(_DAY_KELVIN), _planck(_clamped(_DAY_KELVIN + kelvin))
    gains = shifted / base
    return np.asarray(gains / gains[1], np.float32)


def _clamped(kelvin: float) -> float:
    return float(np.clip(kelvin, 2000.0, 12000.0))


def _planck(kelvin: float) -> Raster:
    """Relative black-body radiance at 450, 550 and 610 nm (B, G, R), by Planck's law."""
    metres = np.array([450e-9, 550e-9, 610e-9])
    return np.asarray(1e-32 / (metres**5 * (np.exp(0.014388 / (metres * kelvin)) - 1)), np.float64)


def _field(light: Lighting, width: int, height: int) -> Raster | None:
    """(height, width) float32 factor of everything that varies over the picture; None when nothing does."""
    field: Raster | None = None
    if light.gradient > 1.0 or light.vignette:
        field = cv2.resize(_smooth(light), (width, height), interpolation=cv2.INTER_LINEAR)
    if light.shadow and light.shadow_outline:
        mask = np.zeros((height, width), np.float32)
        points = np.array(light.shadow_outline) * (width, height)
        cv2.fillPoly(mask, [points.astype(np.int32)], 1.0)
        soft = cv2.blur(mask, (max(3, int(light.shadow_softness * width) | 1),) * 2)
        shadow = 1 - light.shadow * soft
        field = shadow if field is None else field * shadow
    if light.banding:
        y = np.arange(height, dtype=np.float32) / (light.band_period * height)
        bands = 1 - light.banding * (0.5 + 0.5 * np.sin(2 * np.pi * y + light.band_phase)).astype(np.float32)
        column = np.repeat(bands[:, None], width, 1)
        field = column if field is None else field * column
    return field


def _smooth(light: Lighting, cells: int = 48) -> Raster:
    y, x = np.mgrid[-1 : 1 : cells * 1j, -1 : 1 : cells * 1j]
    along = (x * math.cos(light.gradient_angle) + y * math.sin(light.gradient_angle)) / 2
    reach = abs(math.cos(light.gradient_angle)) + abs(math.sin(light.gradient_angle))
    field = light.gradient ** (along / reach) * (1 - light.vignette * (x * x + y * y) / 2)
    return np.asarray(field, np.float32)


def _glare(light: Lighting, width: int, height: int) -> Raster:
    """Light added by reflections: saturating cores with a halo."""
    added = np.zeros((height, width), np.float32)
    for x, y, a, b, angle in light.glare:
        centre = (int(x * width), int(y * height))
        axes = (max(1, int(a * width)), max(1, int(b * width)))
        cv2.ellipse(added, centre, axes, angle, 0, 360, 2.5, -1, cv2.LINE_AA)
    core = cv2.GaussianBlur(added, (0, 0), max(0.8, 0.004 * width))
    quarter = cv2.resize(added, (max(8, width // 8), max(8, height // 8)), interpolation=cv2.INTER_AREA)
    halo = cv2.resize(cv2.GaussianBlur(quarter, (0, 0), max(1.0, 0.03 * quarter.shape[1])), (width, height))
    return np.asarray(core + 0.12 * halo, np.float32)


def _outline(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """A hard-edged shadow: a slanted band, a corner, or what is left of a window."""
    kind = rng.random()
    if kind < 0.4:
        x, w, slant = rng.uniform(-0.1, 0.8), rng.uniform(0.15, 0.6), rng.uniform(-0.4, 0.4)
        corners = [(x, -0.1), (x + w, -0.1), (x + w + slant, 1.1), (x + slant, 1.1)]
    elif kind < 0.7:
        y0, y1, side = rng.uniform(-0.2, 0.8), rng.uniform(0.2, 1.2), float(rng.random() < 0.5)
        corners = [(-0.1, y0), (1.1, y1), (1.1, 1.2 - 1.4 * side), (-0.1, 1.2 - 1.4 * side)]
    else:
        centre = rng.uniform(0.1, 0.9, 2)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 6))))
        reach = rng.uniform(0.15, 0.5, len(angles))
        corners = [
            (centre[0] + r * math.cos(a), centre[1] + r * math.sin(a)) for a, r in zip(angles, reach, strict=True)
        ]
    return tuple((float(x), float(y)) for x, y in corners)


def _reflections(rng: np.random.Generator, share: float) -> tuple[tuple[float, float, float, float, float], ...]:
    """Spots that cover `share` of a 4:3 picture between them."""
    count = int(rng.integers(1, 6))
    parts = rng.dirichlet(np.full(count, 2.0)) * share * 0.75
    spots = []
    for part in parts:
        stretch = float(np.exp(rng.uniform(0, 1.3)))
        a = math.sqrt(part / math.pi * stretch)
        x, y = rng.uniform(0.05, 0.95, 2)
        spots.append((float(x), float(y), a, a / stretch, float(rng.choice([0.0, 90.0, rng.uniform(0, 180)]))))
    return tuple(spots)
