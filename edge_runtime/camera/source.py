"""From a camera's address to its source."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_runtime.camera.address import parse_net_address, redact
from edge_runtime.camera.capture import device_source, rtsp_source
from edge_runtime.camera.http_source import HttpSource
from edge_runtime.camera.picture import TIMEOUT_S, EndOfRecording, Picture, Source, Stalled
from edge_runtime.camera.recording import RecordingSource
from edge_runtime.errors import Usage

__all__ = ["EndOfRecording", "Picture", "Source", "Stalled", "source_for"]

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")
_KINDS = "/dev/video0, v4l2:/dev/video0?size=1280x960, rtsp://, rtsps://, http://, https://, a video file, or a folder of stills"


def source_for(uri: str, *, interval_s: float = 0.0, timeout_s: float = TIMEOUT_S) -> Source:
    """The source for an address, not opened yet.

    `interval_s`: at most one picture in this time (0: as fast as the camera gives them). `timeout_s`: how long the
    camera may give nothing. Raises Usage for an address that can never work; whether something is there shows `open`.
    """
    if not uri.strip():
        raise Usage("the camera address is empty", f"Name one of: {_KINDS}")
    found = _SCHEME.match(uri)
    scheme = found[1].lower() if found else ""
    if scheme in ("http", "https"):
        return HttpSource(parse_net_address(uri), interval_s=interval_s, timeout_s=timeout_s)
    if scheme in ("rtsp", "rtsps"):
        return rtsp_source(parse_net_address(uri), interval_s=interval_s, timeout_s=timeout_s)
    if scheme == "v4l2" or re.match(r"^/dev/video\d+(\?|$)", uri):
        return device_source(uri, interval_s=interval_s, timeout_s=timeout_s)
    if scheme == "file":
        return RecordingSource(_file_path(uri), interval_s=interval_s)
    if scheme and not Path(uri).exists():
        raise Usage(f"{redact(uri)} has the scheme {scheme}:, which is not supported", f"Name one of: {_KINDS}")
    return RecordingSource(Path(uri), interval_s=interval_s)


def _file_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise Usage(f"{redact(uri)} names a host, file: works on this device only", "Write file:///path/to/video.mp4")
    return Path(unquote(parts.path))
