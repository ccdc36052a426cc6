"""The commissioned picture: read once, checked against its layout."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from edge_runtime.errors import BadConfig, Refused, Unavailable
from edge_runtime.layout import MAX_SIDE_PX
from edge_runtime.records import Image, Layout

_MEND = "Commission the camera again with `edge-runtime camera commission`"


def open_reference(layout: Layout) -> Image:
    """Read the reference picture of a layout, upright (EXIF orientation applied), BGR.

    Raises Unavailable if it is not there, Refused if it is not a picture, BadConfig if its size is not the layout's.
    """
    try:
        pixels = _read(layout)
    except (UnidentifiedImageError, Pillow.DecompressionBombError, SyntaxError, ValueError) as fault:
        raise Refused(f"{layout.reference} is not a picture that can be read: {fault}", _MEND) from None
    except OSError as fault:
        if fault.errno is None:
            raise Refused(f"{layout.reference} is damaged: {fault}", _MEND) from None
        raise Unavailable(f"reference picture {layout.reference} can not be read: {fault.strerror}", _MEND) from None
    height, width = pixels.shape[:2]
    if (width, height) != layout.image_size:
        raise BadConfig(
            f"{layout.reference} is {width}x{height}, but {layout.path} says "
            f"{layout.image_size[0]}x{layout.image_size[1]}",
            f'Set "image_size" to [{width}, {height}] if the slots were drawn on this picture; otherwise put back the '
            "picture on which they were drawn",
        )
    return pixels


def _read(layout: Layout) -> Image:
    with Pillow.open(layout.reference) as picture:
        if max(picture.size) > MAX_SIDE_PX:
            raise ValueError(f"it is {picture.size[0]}x{picture.size[1]}, at most {MAX_SIDE_PX} a side are read")
        upright = ImageOps.exif_transpose(picture)
        rgb = np.asarray(upright.convert("RGB"))
    return np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8)
