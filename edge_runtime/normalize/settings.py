"""What a user of the room may choose; everything measured (thresholds) stands beside the code that it steers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NormalizeSettings:
    """How frames of one camera are brought to the reference view."""

    stateless: bool = False
    """True: every frame is a photograph of its own (full registration, no frozen-frame check)."""
    register: bool = True
    """False: polygons are only scaled to the frame, as if the camera had never moved."""
    light: bool = True
    """False: the light is never matched."""
    gate: bool = True
    """False: only a picture that can not be registered is unusable."""
    frozen_frames: int = 4
    """At least this many identical pictures in a row ..."""
    frozen_s: float = 30.0
    """... over at least this long are a frozen camera. H.264 of a still, quiet shelf repeats pictures to the last bit for up
    to 6 s (x264, sensor noise of 0.3 levels), and longer where keyframes are rare."""
