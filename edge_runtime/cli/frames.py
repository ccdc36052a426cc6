"""A few pictures of any camera address, for the verbs that only want to look."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge_runtime.errors import EdgeError, Refused, Unavailable

if TYPE_CHECKING:
    from edge_runtime.camera.picture import Picture

MAX_BAD = 20


def take(uri: str, count: int, interval_s: float = 0.0, limit_s: float = 60.0) -> list[Picture]:
    """Up to `count` pictures (fewer if a recording ends, or after `limit_s`).

    Raises what `source.open` raises, and Unavailable if not one picture came.
    """
    from edge_runtime.camera.picture import EndOfRecording
    from edge_runtime.camera.source import source_for

    source = source_for(uri, interval_s=interval_s)
    pictures: list[Picture] = []
    refused: list[EdgeError] = []
    ends = time.monotonic() + limit_s
    source.open()
    try:
        while len(pictures) < count and len(refused) < MAX_BAD and time.monotonic() < ends:
            try:
                got = source.read()
            except Refused as fault:
                refused.append(fault)
                continue
            if isinstance(got, EndOfRecording):
                break
            pictures.append(got)
    finally:
        source.close()
    if not pictures:
        why = refused[-1].found if refused else "it gave none in time"
        raise Unavailable(f"{source.name} gave no picture that can be used: {why}", "Check the camera and its address")
    return pictures
