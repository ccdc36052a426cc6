"""Look at a camera for a few seconds: does it open, what does it give, how fast."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from edge_runtime.camera.address import redact
from edge_runtime.camera.picture import EndOfRecording, Picture, Source
from edge_runtime.camera.source import source_for
from edge_runtime.errors import EdgeError, Refused
from edge_runtime.records import Image


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a camera was found to be; the last field tells `camera probe` how to end."""

    source: str
    """The address without credentials."""
    opened: bool
    pictures: int = 0
    refused: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    codec: str = ""
    open_ms: float = 0.0
    first_frame_ms: float = 0.0
    """From the call to the first decoded picture."""
    decode_ms: float = 0.0
    """Median."""
    fault: str = ""
    """What was found wrong, with the mend; empty if all went well."""
    exit_code: int = 0
    """Of the fault's family; 0 if a picture came."""


def probe(uri: str, seconds: float = 3.0, timeout_s: float = 10.0) -> ProbeReport:
    """Open the camera and read as fast as it gives pictures. Raises Usage for an address that can never work."""
    return probe_source(source_for(uri, timeout_s=timeout_s), seconds)


def probe_source(source: Source, seconds: float) -> ProbeReport:
    """As `probe`, for a source not opened yet; closes it."""
    began_s = time.monotonic()
    pictures: list[_Seen] = []
    refused = 0
    opened_s: float | None = None
    fault: EdgeError | None = None
    try:
        source.open()
        opened_s = time.monotonic()
        while not pictures or time.monotonic() - pictures[0].at_s < seconds:
            try:
                picture = source.read()
            except Refused as bad:
                refused, fault = refused + 1, bad
                if refused >= 10 and not pictures:
                    break
                continue
            if isinstance(picture, EndOfRecording):
                break
            pictures.append(_seen(picture))
    except EdgeError as met:
        fault = met
    finally:
        source.close()
    return _report(source.name, began_s, opened_s, pictures, refused, fault)


def snapshot(uri: str, timeout_s: float = 10.0) -> Image:
    """One picture from a camera, now. Raises what the source raises; Refused after three pictures that do not decode."""
    source = source_for(uri, timeout_s=timeout_s)
    try:
        source.open()
        for attempt in range(3):
            try:
                picture = source.read()
            except Refused:
                if attempt == 2:
                    raise
                continue
            if isinstance(picture, Picture):
                return picture.pixels
            break
    finally:
        source.close()
    raise Refused(f"{source.name} holds no picture", "Name another recording")


@dataclass(frozen=True, slots=True)
class _Seen:
    at_s: float
    captured_s: float
    width: int
    height: int
    decode_ms: float
    codec: str


def _seen(picture: Picture) -> _Seen:
    height, width = picture.pixels.shape[:2]
    return _Seen(time.monotonic(), picture.captured_monotonic_s, width, height, picture.decode_ms, picture.codec)


def _report(
    name: str, began_s: float, opened_s: float | None, pictures: list[_Seen], refused: int, fault: EdgeError | None
) -> ProbeReport:
    text, code = (redact(str(fault)), 0 if pictures else fault.exit_code) if fault else ("", 0)
    report = ProbeReport(name, opened_s is not None, len(pictures), refused, fault=text, exit_code=code)
    if opened_s is not None:
        report = replace(report, open_ms=1e3 * (opened_s - began_s))
    if not pictures:
        return report
    first, last = pictures[0], pictures[-1]
    span_s = last.captured_s - first.captured_s
    return replace(
        report,
        width=last.width,
        height=last.height,
        codec=last.codec,
        fps=(len(pictures) - 1) / span_s if span_s > 0 else 0.0,
        first_frame_ms=1e3 * (first.at_s - began_s),
        decode_ms=sorted(p.decode_ms for p in pictures)[len(pictures) // 2],
    )
