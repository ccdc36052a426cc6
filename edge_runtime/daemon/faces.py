"""Where faces are in a picture: YuNet through OpenCV, at several sizes, and rather too many than too few."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from edge_runtime.assets import face_detector
from edge_runtime.daemon.privacy import Box
from edge_runtime.errors import Unavailable
from edge_runtime.records import Image

SIDES_PX = (320, 640, 1280)
"""Long sides at which the picture is looked at: large faces are found in the small one, small ones in the large."""
SURE = 0.25
"""Low on purpose: a pack with a face on it may be blurred, a shopper may not be missed."""
OVERLAP = 0.3
MOST_FACES = 500


class Faces:
    """A `privacy.FaceFinder`. The network is loaded for the picture and let go after it: pictures are rarely asked for."""

    def __init__(self, path: Path | None = None, sure: float = SURE) -> None:
        self._path = path or face_detector()
        self._sure = sure

    def find(self, pixels: Image) -> Sequence[Box]:
        """Boxes in pixels of the picture, of all sizes together; one face may have several. Raises Unavailable if the
        detector can not run, for then nothing may be shown."""
        found: list[Box] = []
        usual = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of its own default
        try:
            for side in SIDES_PX:
                found += self._at(pixels, side)
        except cv2.error as fault:
            raise Unavailable(
                f"the face detector can not run: {str(fault)[:200]}", "Set [mqtt] snapshots to slots, or install again"
            ) from None
        finally:
            cv2.utils.logging.setLogLevel(usual)
        return found

    def _at(self, pixels: Image, side: int) -> list[Box]:
        factor = side / max(pixels.shape[:2])
        size = (max(32, round(pixels.shape[1] * factor)), max(32, round(pixels.shape[0] * factor)))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        detector = cv2.FaceDetectorYN.create(str(self._path), "", size, self._sure, OVERLAP, MOST_FACES)
        _, faces = detector.detect(cv2.resize(pixels, size, interpolation=how))
        fx, fy = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
        rows = [] if faces is None else faces
        return [
            (float(x) * fx, float(y) * fy, float(w) * fx, float(h) * fy) for x, y, w, h in (row[:4] for row in rows)
        ]
