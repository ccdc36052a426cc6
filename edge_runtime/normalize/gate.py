"""Is a picture worth looking at? Black, blinded, covered, frozen, blurred: cheap figures of a small grey."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge_runtime.normalize.features import Grey, noise_sigma
from edge_runtime.records import Image, Reason

SMALL_WIDTH = 320
MIN_SIDE_PX = 96
MIN_SCALE = 0.14
"""Frame pixels per reference pixel below which slots are a few pixels wide."""
BLACK_LEVEL, BLACK_SPAN = 16.0, 5.0
CEILING, BLIND_SHARE = 250, 0.75
BLOCKS = (16, 12)
STRUCTURE_SHARE = 0.15
"""A picture with structure in fewer blocks than this is a hand, a sticker or fog."""
BLURRED_SHARE = 0.45
"""Fine detail against coarse, as a share of the reference's own."""


@dataclass(frozen=True, slots=True)
class Verdict:
    reason: Reason
    detail: str


def small_grey(pixels: Image) -> Grey:
    """A picture in grey at about SMALL_WIDTH, area-averaged: all that the cheap checks look at."""
    height, width = pixels.shape[:2]
    source: cv2.typing.MatLike = pixels
    if width > SMALL_WIDTH:
        small = (SMALL_WIDTH, max(1, round(height * SMALL_WIDTH / width)))
        source = cv2.resize(source, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(source, cv2.COLOR_BGR2GRAY), np.uint8)


def unseeable(pixels: Image, small: Grey, reference: tuple[int, int]) -> Verdict | None:
    """What rules a picture out before anything is sought in it."""
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE_PX or width < MIN_SCALE * reference[0]:
        return Verdict(
            Reason.TOO_SMALL,
            f"the picture is {width}x{height}, the reference {reference[0]}x{reference[1]}; "
            "set the camera to a larger picture",
        )
    low, high = (float(v) for v in np.percentile(small[::2, ::2], (1, 99)))
    if high < BLACK_LEVEL or (high < 2 * BLACK_LEVEL and high - low < BLACK_SPAN):
        return Verdict(Reason.BLACK, f"99 % of the picture is no brighter than {high:.0f} of 255")
    blind = float((small >= CEILING).mean())
    if blind > BLIND_SHARE:
        return Verdict(Reason.OVEREXPOSED, f"{100 * blind:.0f} % of the picture is at the sensor's ceiling")
    return None


def unmatched(small: Grey, reference: Grey) -> Verdict | None:
    """Why a picture that could not be registered could not: covered or blurred; None: it shows something else."""
    share = structure_share(small)
    if share < STRUCTURE_SHARE:
        return Verdict(Reason.COVERED, f"{100 * share:.0f} % of the picture shows any structure; is the lens covered?")
    detail = fineness(small) / max(fineness(reference), 1e-6)
    if detail < BLURRED_SHARE:
        return Verdict(
            Reason.BLURRED, f"fine detail is {100 * detail:.0f} % of the reference's; clean or focus the lens"
        )
    return None


def structure_share(small: Grey) -> float:
    """Share of 16 x 12 blocks whose spread stands clear of the noise."""
    calm = cv2.GaussianBlur(small, (0, 0), 1.5).astype(np.float32)
    mean = cv2.resize(calm, BLOCKS, interpolation=cv2.INTER_AREA)
    square = cv2.resize(calm * calm, BLOCKS, interpolation=cv2.INTER_AREA)
    spread = np.sqrt(np.maximum(np.asarray(square) - np.asarray(mean) ** 2, 0.0))
    return float((spread > 3.0 + 0.4 * noise_sigma(small)).mean())


def fineness(grey: Grey) -> float:
    """Energy of fine detail against coarse, the noise's share taken out; the same under any gain of the light."""
    values = grey.astype(np.float32)
    fine = values - np.asarray(cv2.GaussianBlur(values, (0, 0), 1.0))
    coarse = np.asarray(cv2.GaussianBlur(values, (0, 0), 2.0)) - np.asarray(cv2.GaussianBlur(values, (0, 0), 6.0))
    noise = noise_sigma(grey) ** 2 * 0.85
    return float(np.sqrt(max(float((fine**2).mean()) - noise, 0.0) / max(float((coarse**2).mean()), 1e-3)))


class FrozenWatch:
    """Counts pictures that are the same to the last bit: a live sensor is never that quiet, an encoder is for seconds."""

    def __init__(self, frames: int, seconds: float) -> None:
        self._frames, self._seconds = frames, seconds
        self._last: Grey | None = None
        self._since_s = 0.0
        self._same = 0

    def frozen(self, small: Grey, captured_s: float) -> Verdict | None:
        """Take the next picture of the camera."""
        if self._last is None or not np.array_equal(self._last, small):
            self._last, self._since_s, self._same = small, captured_s, 1
            return None
        self._same += 1
        lasted = captured_s - self._since_s
        if self._same < self._frames or lasted < self._seconds:
            return None
        return Verdict(Reason.FROZEN, f"{self._same} pictures in {lasted:.0f} s are the same to the last bit")
