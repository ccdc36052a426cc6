"""Keypoints and their matches: ORB at 960 px (Rublee et al. 2011), SIFT at 480 px (Lowe 2004) where ORB falls short."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.warp import Points

Grey = NDArray[np.uint8]
"""(height, width) uint8."""

ORB_WIDTH, ORB_COUNT = 960, 1500
SIFT_WIDTH, SIFT_COUNT = 480, 800
RATIO = {"orb": 0.88, "sift": 0.85}
TURN_DEG = 20.0
"""Keypoints of one rigid view turn together: a match whose turn is further than this from the common one is dropped."""
NOISY_SIGMA = 6.0
VERY_NOISY_SIGMA = 14.0


class Kind(Enum):
    ORB = "orb"
    SIFT = "sift"


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Keypoints of one picture in its own full-size pixels."""

    points: Points
    angles: NDArray[np.float32]
    """Degrees, 0..360."""
    descriptors: cv2.typing.MatLike | None


def working_grey(grey: Grey, width: int) -> Grey:
    """Shrink to at most `width`, area-averaged."""
    if grey.shape[1] <= width:
        return grey
    height = max(1, round(grey.shape[0] * width / grey.shape[1]))
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def noise_sigma(grey: Grey) -> float:
    """Noise in grey levels: the lower quartile over blocks of a second-difference filter's spread (Immerkaer 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6.0
    rough = np.abs(cv2.filter2D(grey[::2] if grey.shape[0] > 400 else grey, cv2.CV_32F, kernel))
    blocks = cv2.resize(rough, (16, 12), interpolation=cv2.INTER_AREA)
    return float(np.percentile(blocks, 25) * np.sqrt(np.pi / 2))


def for_detector(grey: Grey) -> Grey:
    """Spread the contrast of a dark or flat picture and smooth a noisy one; only keypoints ever see this picture."""
    low, high = (float(v) for v in np.percentile(grey[::4, ::4], (1, 99)))
    sigma = noise_sigma(grey)
    if sigma > NOISY_SIGMA:
        side = 5 if sigma <= VERY_NOISY_SIGMA else 7
        grey = np.asarray(cv2.GaussianBlur(grey, (side, side), 0), np.uint8)
    gain = 235.0 / max(high - low, 8.0)
    if gain > 1.3:
        curve = np.clip((np.arange(256) - low) * gain, 0, 255).astype(np.uint8)
        grey = np.asarray(cv2.LUT(grey, curve), np.uint8)
    return grey


def find(grey: Grey, kind: Kind, size: tuple[int, int]) -> Features:
    """Keypoints of a working grey, their points scaled to a picture of `size` (width, height)."""
    keypoints, descriptors = _detector(kind).detectAndCompute(grey, None)
    points = cv2.KeyPoint.convert(keypoints) if keypoints else np.zeros((0, 2), np.float32)
    scale = np.array([size[0] / grey.shape[1], size[1] / grey.shape[0]])
    angles = np.array([k.angle for k in keypoints], np.float32)
    return Features((np.asarray(points, np.float64) + 0.5) * scale - 0.5, angles, descriptors)


def match(reference: Features, frame: Features, kind: Kind) -> NDArray[np.intp]:
    """(n, 2) index pairs reference, frame: ratio test, each reference point once, common turn."""
    if reference.descriptors is None or frame.descriptors is None or len(reference.points) < 2:
        return np.zeros((0, 2), np.intp)
    norm = cv2.NORM_HAMMING if kind is Kind.ORB else cv2.NORM_L2
    pairs = cv2.BFMatcher(norm).knnMatch(frame.descriptors, reference.descriptors, k=2)
    ratio = RATIO[kind.value]
    kept: dict[int, tuple[float, int]] = {}
    for pair in pairs:
        if len(pair) == 2 and pair[0].distance < ratio * pair[1].distance:
            best = kept.get(pair[0].trainIdx)
            if best is None or pair[0].distance < best[0]:
                kept[pair[0].trainIdx] = (pair[0].distance, pair[0].queryIdx)
    indices = np.array([(train, query) for train, (_, query) in kept.items()], np.intp).reshape(-1, 2)
    return indices[_turn_together(reference.angles[indices[:, 0]], frame.angles[indices[:, 1]])]


def _turn_together(reference: NDArray[np.float32], frame: NDArray[np.float32]) -> NDArray[np.bool_]:
    turn = (frame - reference) % 360.0
    if len(turn) == 0:
        return np.zeros(0, np.bool_)
    bins = np.bincount((turn / 10.0).astype(int) % 36, minlength=36).astype(float)
    smooth = bins + np.roll(bins, 1) + np.roll(bins, -1)
    common = 10.0 * float(np.argmax(smooth)) + 5.0
    return np.asarray(np.abs((turn - common + 180.0) % 360.0 - 180.0) <= TURN_DEG, np.bool_)


def _detector(kind: Kind) -> cv2.Feature2D:
    if kind is Kind.ORB:
        return cv2.ORB.create(ORB_COUNT, 1.2, 8, fastThreshold=7)
    return cv2.SIFT.create(SIFT_COUNT, contrastThreshold=0.02)
