"""Secrets come from files; what is printed never holds one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from edge_runtime.config.values import CameraConfig
from edge_runtime.errors import Unavailable

MAX_SECRET_BYTES = 4096


def read_secret(path: Path) -> str:
    """The first line of a file, without its line end. Raises Unavailable if there is none."""
    mend = f"Write the secret into {path} and let only the service's user read it (chmod 400)"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
    except OSError as fault:
        raise Unavailable(f"the secret in {path} can not be read: {fault.strerror}", mend) from None
    try:
        secret = raw.decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise Unavailable(f"{path} is not UTF-8 text", mend) from None
    if not secret or len(raw) > MAX_SECRET_BYTES:
        raise Unavailable(f"{path} holds {len(raw)} bytes, 1 to {MAX_SECRET_BYTES} were expected", mend)
    return secret


def authorized_source(camera: CameraConfig) -> str:
    """The camera's source with the credentials of `credentials_file` in it. Never print this."""
    if camera.credentials_file is None or "://" not in camera.source:
        return camera.source
    user, _, password = read_secret(camera.credentials_file).partition(":")
    url = urlsplit(camera.source)
    host = url.netloc.rpartition("@")[2]
    return urlunsplit(url._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"))


def shown_url(source: str) -> str:
    """A source as it may be printed: `rtsp://***@host/stream?***`.

    Everything before the last @ is hidden (an unescaped password may hold / ? and #), and the query too: cameras take
    keys there.
    """
    if "://" not in source:
        return source
    scheme, _, rest = source.partition("://")
    _, at, place = rest.rpartition("@")
    address, mark, _ = place.partition("?")
    return f"{scheme}://{'***@' if at else ''}{address}{'?***' if mark else ''}"
