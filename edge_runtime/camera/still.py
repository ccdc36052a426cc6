"""Stills to pixels: any common image file, upright, as BGR uint8."""

from __future__ import annotations

import io
import re
import stat
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, ImageOps, UnidentifiedImageError
from PIL import Image as Pillow

from edge_runtime.camera.jpeg import check_scan, read_header
from edge_runtime.camera.silence import Remarks, silence_decoders
from edge_runtime.errors import Refused, Unavailable
from edge_runtime.records import Image

MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 8
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF")  # the first five load without Pillow's other plug-ins
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, TypeError)
"""What Pillow's decoders raise for damaged files."""
_MEND = "Give a JPEG, PNG, WebP, BMP or TIFF picture"
_LOST_DATA = re.compile("premature end|bad Huffman code|inconsistent progression|restart marker")
"""Remarks of libjpeg after which a part of the picture is made up. Some cameras send a few bytes too many: no harm."""
_REMARKS = Remarks()
silence_decoders()


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    pixels: Image
    codec: str


def decode_still(source: bytes | Path) -> Image:
    """An image file, or its bytes, to upright BGR uint8.

    EXIF orientation is applied and EXIF then dropped. Grey, 16-bit, palette, CMYK and transparent pictures (laid on
    white) are converted; of an animation the first picture is taken. Raises Unavailable if the file can not be read,
    Refused if it is empty, cut off, damaged, no image, over 64 MB or over 64 megapixels (seen before decoding).
    """
    return read_still(source).pixels


def read_still(source: bytes | Path) -> Still:
    """As `decode_still`, with the name of the format."""
    if isinstance(source, bytes):
        return _decode(source, "the picture")
    return _decode(_bytes_of(source), str(source))


def read_taken_at(path: Path) -> float | None:
    """The EXIF capture time of a file, seconds since 1970, without decoding it; None if it has none or can not be read.

    Cameras write local time; where the file names no zone it is read as UTC, the same on every device.
    """
    try:
        with Pillow.open(path, formats=_FORMATS) as opened:
            return _taken_at(opened)
    except (Pillow.DecompressionBombError, *_DAMAGE):
        return None


def _decode(data: bytes, name: str) -> Still:
    if not data:
        raise Refused(f"{name} is empty (0 bytes)", _MEND)
    if len(data) > MAX_BYTES:
        raise _too_many_bytes(name, len(data))
    if data[:3] == b"\xff\xd8\xff":
        try:
            pixels = _decode_camera_jpeg(data, name)
        except Refused as fault:
            raise Refused(f"{name}: {fault.found}", fault.mend) from None
        if pixels is not None:
            return Still(pixels, "jpeg")
    return _decode_any(data, name)


def _decode_camera_jpeg(data: bytes, name: str) -> Image | None:
    """The quick path (a third of Pillow's time): a JPEG as cameras write it. None: leave it to Pillow."""
    header = read_header(data)
    if header is None:
        return None
    _check_size(name, header.width, header.height)
    check_scan(data, header)
    if not header.baseline or header.components not in (1, 3):
        return None
    # IMREAD_COLOR also applies the EXIF orientation.
    try:
        with _REMARKS.heard() as remarks:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    for remark in remarks:
        if _LOST_DATA.search(remark):
            raise Refused(f"the JPEG is damaged: {remark.rpartition(': ')[2]}", "Take the picture again")
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _decode_any(data: bytes, name: str) -> Still:
    try:
        with Pillow.open(io.BytesIO(data), formats=_FORMATS) as opened:
            _check_size(name, *opened.size)
            codec = (opened.format or "").lower().replace("mpo", "jpeg")
            opened.load()
            upright = ImageOps.exif_transpose(opened) or opened
            return Still(_as_bgr(upright), codec)
    except UnidentifiedImageError:
        raise Refused(f"{name} is not a picture: {_looks_like(data)}", _MEND) from None
    except Pillow.DecompressionBombError:
        raise Refused(f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels", _MEND) from None
    except _DAMAGE as fault:
        raise Refused(f"{name} is damaged or cut off: {fault}", "Take the picture again") from None


def _as_bgr(picture: Pillow.Image) -> Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        deep = np.asarray(picture).astype(np.float64)
        ceiling = 65535.0 if deep.max() > 255 else 255.0
        grey = np.clip(deep * (255.0 / ceiling), 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if "A" in picture.getbands() or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        picture = Pillow.alpha_composite(Pillow.new("RGBA", clear.size, "white"), clear)
    rgb = np.asarray(picture.convert("RGB"), np.uint8)
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _taken_at(picture: Pillow.Image) -> float | None:
    exif = picture.getexif()
    detail = exif.get_ifd(ExifTags.IFD.Exif) if exif else {}
    text = detail.get(ExifTags.Base.DateTimeOriginal) or (exif.get(ExifTags.Base.DateTime) if exif else None)
    zone = str(detail.get(ExifTags.Base.OffsetTimeOriginal) or "+00:00")
    if not isinstance(text, str):
        return None
    for stamp, pattern in ((text.strip("\0 ") + zone, "%Y:%m:%d %H:%M:%S%z"), (text.strip("\0 "), "%Y:%m:%d %H:%M:%S")):
        try:
            parsed = datetime.strptime(stamp, pattern)
        except ValueError:
            continue
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    return None


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Refused(
            f"{name} is {width}x{height}, more than {MAX_PIXELS // 1_000_000} megapixels",
            "Let the camera send a smaller picture; 1280x960 is plenty for a shelf bay",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise Refused(f"{name} is {width}x{height}, at least {MIN_SIDE_PX} pixels a side were expected", _MEND)


def _looks_like(data: bytes) -> str:
    start = data[:64].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "it is a web page"
    if data[4:8] == b"ftyp" or start.startswith(b"riff"):
        return "it is a video or a format that is not supported"
    if data[:512].isascii() and not data[:512].strip(b"\t\r\n\f").translate(None, bytes(range(32, 127))):
        return "it is text"
    return f"it begins with {data[:8].hex(' ')}"


def _too_many_bytes(name: str, size: int) -> Refused:
    return Refused(f"{name} has {size / 2**20:.0f} MB, at most {MAX_BYTES // 2**20} MB were expected", _MEND)


def _bytes_of(path: Path) -> bytes:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise Unavailable(f"{path} is a folder, a picture was expected", "Name a picture in it")
        if not stat.S_ISREG(found.st_mode):
            raise Unavailable(f"{path} is not a file", _MEND)
        if found.st_size > MAX_BYTES:
            raise _too_many_bytes(str(path), found.st_size)
        return path.read_bytes()
    except OSError as fault:
        raise Unavailable(
            f"picture {path} can not be read: {fault.strerror}", "Check the path and its rights"
        ) from None
    except ValueError:
        raise Unavailable("the picture's path holds a null character", "Check the path") from None
