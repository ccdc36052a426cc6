"""Decoders print remarks on standard error, which is the daemon's log. What matters comes as an error; the rest goes."""

from __future__ import annotations

import os
import warnings

import cv2


def silence_decoders() -> None:
    """Stop OpenCV, its ffmpeg and Pillow from printing in this process. Cheap, and may be called often."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # OpenCV reads this when it opens its first video; there is no call for it.
    os.putenv("OPENCV_FFMPEG_LOGLEVEL", "-8")
