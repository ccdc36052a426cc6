"""What the field does to a picture, as data: (condition, severity) -> parameters.

Severity 0 is the lab, 3 a bad but real store, 5 leaves little to see. Severities in between interpolate, so that a
training set can draw them continuously.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conditions:
    """Parameters of one frame. The defaults are a clean frame of the commissioned camera.

    Magnitudes only: signs, directions and places are drawn by whoever renders the frame.
    """

    yaw_deg: float = 0.0
    """Camera walked around the bay's centre."""
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    turn_deg: float = 0.0
    """Camera turned in its own place, as when its bracket is bumped."""
    shift: float = 0.0
    """Principal point moved, as a share of the picture's width."""
    lens: float = 0.0
    """Radial distortion k1, radius in half diagonals."""
    exposure_ev: float = 0.0
    kelvin: float = 0.0
    """Distance of the lamps' colour temperature from the commissioned one."""
    gradient: float = 1.0
    """Light ratio from one side of the picture to the other."""
    shadow: float = 0.0
    """Share of the light that a hard shadow takes."""
    glare: float = 0.0
    """Share of the picture that is saturated by reflections."""
    banding: float = 0.0
    """Peak depth of the mains bands, share of the light."""
    defocus_px: float = 0.0
    """Blur sigma at 960 px picture width."""
    motion_px: float = 0.0
    """Length of the motion path at 960 px picture width."""
    resolution: float = 1.0
    """Share of the picture's width that the camera really resolves."""
    snr_db: float = 44.0
    jpeg: float = 93.0
    """JPEG quality."""
    occlusion: float = 0.0
    """Share of the slots' area that shoppers stand in front of."""
    night: float = 1.0
    """Share of the light that is left; the sensor makes up for a part of it and adds noise."""


CLEAN = Conditions()

Knots = Mapping[str, tuple[float, float, float, float, float]]
"""Parameter -> its values at severity 1 to 5."""

TABLE: Mapping[str, Knots] = {
    "yaw": {"yaw_deg": (3, 6, 12, 20, 30), "pitch_deg": (1, 2, 4, 6.7, 10), "roll_deg": (0.6, 1.2, 2.4, 4, 6)},
    "shift": {"shift": (0.015, 0.03, 0.06, 0.10, 0.16)},
    "lens": {"lens": (0.03, 0.07, 0.12, 0.20, 0.30)},
    "exposure": {"exposure_ev": (0.5, 1.0, 1.5, 2.0, 2.5)},
    "kelvin": {"kelvin": (400, 900, 1500, 2200, 3000)},
    "gradient": {"gradient": (1.3, 1.8, 2.6, 4.0, 6.0)},
    "shadow": {"shadow": (0.25, 0.4, 0.55, 0.7, 0.82)},
    "glare": {"glare": (0.005, 0.01, 0.02, 0.04, 0.08)},
    "banding": {"banding": (0.05, 0.10, 0.18, 0.28, 0.40)},
    "defocus": {"defocus_px": (0.8, 1.4, 2.2, 3.6, 5.5)},
    "motion": {"motion_px": (4, 7, 11, 17, 26)},
    "resolution": {"resolution": (0.75, 0.55, 0.40, 0.27, 0.17)},
    "snr": {"snr_db": (30, 26, 22, 17, 12)},
    "jpeg": {"jpeg": (60, 40, 25, 14, 8)},
    "occlusion": {"occlusion": (0.05, 0.12, 0.22, 0.35, 0.50)},
    "night": {"night": (0.5, 0.25, 0.10, 0.03, 0.01)},
    "cheap": {
        "lens": (0.02, 0.05, 0.08, 0.14, 0.22),
        "defocus_px": (0.4, 0.7, 1.1, 1.8, 3.0),
        "resolution": (0.85, 0.7, 0.55, 0.38, 0.25),
        "snr_db": (34, 30, 26, 20, 15),
        "jpeg": (70, 50, 35, 20, 10),
    },
    "sun": {
        "exposure_ev": (0.2, 0.4, 0.7, 1.0, 1.5),
        "kelvin": (300, 600, 1000, 1500, 2200),
        "gradient": (1.2, 1.5, 2.0, 3.0, 4.5),
        "shadow": (0.2, 0.3, 0.45, 0.6, 0.75),
        "glare": (0.003, 0.006, 0.012, 0.025, 0.05),
    },
    "bumped": {
        "yaw_deg": (2, 4, 8, 14, 22),
        "pitch_deg": (0.7, 1.4, 2.7, 4.7, 7.3),
        "roll_deg": (0.6, 1.2, 2.4, 4.2, 6.6),
        "turn_deg": (0.3, 0.6, 1.2, 2.0, 3.2),
        "shift": (0.01, 0.02, 0.035, 0.06, 0.10),
        "defocus_px": (0.0, 0.0, 0.4, 0.9, 1.6),
    },
    "store": {
        "yaw_deg": (2.5, 5, 9, 15, 24),
        "pitch_deg": (0.8, 1.7, 3, 5, 8),
        "roll_deg": (0.5, 1.0, 1.8, 3, 4.8),
        "exposure_ev": (0.3, 0.6, 1.0, 1.4, 2.0),
        "kelvin": (300, 600, 1000, 1600, 2300),
        "gradient": (1.2, 1.5, 2.0, 2.8, 4.2),
        "snr_db": (34, 30, 26, 20, 15),
        "jpeg": (75, 60, 45, 28, 14),
        "resolution": (0.9, 0.75, 0.6, 0.42, 0.28),
    },
}
"""Every condition of the field bench. The last four are mixes."""

MIXES = ("cheap", "sun", "bumped", "store")
SINGLE = tuple(name for name in TABLE if name not in MIXES)
WORST = 5


def parameters(condition: str, severity: float) -> dict[str, float]:
    """The parameters that `condition` changes at `severity` (0 to 5, fractions interpolate linearly from the lab).

    `lab` changes nothing. Raises KeyError for a name that is not in TABLE, ValueError for a severity outside 0..5.
    """
    if not 0 <= severity <= WORST:
        raise ValueError(f"severity {severity} is outside 0..{WORST}")
    if condition == "lab":
        return {}
    return {name: _between(getattr(CLEAN, name), knots, severity) for name, knots in TABLE[condition].items()}


def conditions(condition: str, severity: float) -> Conditions:
    """One condition at one severity, everything else clean."""
    return Conditions(**parameters(condition, severity))


def mixed(parts: Mapping[str, float]) -> Conditions:
    """Several conditions at once (name -> severity): of each parameter the value furthest from clean holds."""
    worst: dict[str, float] = {}
    for name, severity in parts.items():
        for key, value in parameters(name, severity).items():
            clean = getattr(CLEAN, key)
            if abs(value - clean) >= abs(worst.get(key, clean) - clean):
                worst[key] = value
    return Conditions(**worst)


def _between(clean: float, knots: tuple[float, ...], severity: float) -> float:
    line = (clean, *knots)
    low = min(int(severity), WORST - 1)
    return line[low] + (severity - low) * (line[low + 1] - line[low])
