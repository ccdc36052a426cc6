"""What a JPEG file is, read from its markers without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import Refused

_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_SOS, _EOI = 0xDA, 0xD9
_AFTER_SCAN = np.zeros(256, bool)
_AFTER_SCAN[[0x00, 0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, 0xFF, *range(0xD0, 0xD8), *range(0xE0, 0xF0)]] = True
"""Second bytes that may follow 0xFF from the first scan on, EOI apart; any other is damage."""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """The facts that decide how a JPEG is decoded."""

    width: int
    height: int
    components: int
    baseline: bool
    """Sequential Huffman coding with 8 bits: what cameras write."""
    scan_at: int
    """Offset of the first entropy-coded byte."""


def read_header(data: bytes) -> JpegHeader | None:
    """Walk the segments up to the first scan. None if they do not lead to one: another decoder may say more."""
    at, width, height, components, baseline = 2, 0, 0, 0, False
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2 or at + 2 + length > len(data):
            return None
        if marker in _SOF and length >= 8:
            precision, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            baseline = marker in (0xC0, 0xC1) and precision == 8
        at += 2 + length
        if marker == _SOS:
            return JpegHeader(width, height, components, baseline, at)
    return None


def check_scan(data: bytes, header: JpegHeader) -> None:
    """Raises Refused if the entropy-coded data are cut off, hold a marker that can not be there, or lost a restart interval.

    A decoder would paint the rest of such a picture grey, which looks like a shelf state further on.
    """
    body = np.frombuffer(data, np.uint8, offset=header.scan_at)
    after = body[np.flatnonzero(body[:-1] == 0xFF) + 1]
    ends = np.flatnonzero(after == _EOI)
    if not ends.size:
        raise Refused("the JPEG is cut off: it has no end marker", "Take the picture again")
    inside = after[: ends[0]]
    strange = inside[~_AFTER_SCAN[inside]]
    if strange.size:
        raise Refused(f"the JPEG is damaged: marker FF{strange[0]:02X} inside the picture data", "Take it again")
    restarts = inside[(inside & 0xF8) == 0xD0] & 7
    if header.baseline and not (inside == _SOS).any() and restarts.size:
        wrong = restarts != np.arange(restarts.size) % 8
        if wrong.any():
            raise Refused("the JPEG is damaged: a part of the picture data is missing", "Take the picture again")
