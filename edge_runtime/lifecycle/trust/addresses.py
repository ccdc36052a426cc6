"""From the `repository` of a configuration to what reads it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.trust.ceilings import CEILINGS, Ceilings
from edge_runtime.lifecycle.trust.folder import FolderTransport
from edge_runtime.lifecycle.trust.transport import Transport


def open_repository(address: str, ceilings: Ceilings = CEILINGS) -> Transport:
    """`https://…`, `http://…`, `file:///…` or a path. Raises Refused for anything else; connects to nothing yet."""
    scheme = address.split(":", 1)[0].lower() if "://" in address else ""
    if scheme in ("http", "https"):
        from edge_runtime.lifecycle.trust.http import HttpTransport

        return HttpTransport(address, ceilings)
    if scheme == "file":
        split = urlsplit(address)
        if split.netloc not in ("", "localhost") or not split.path:
            raise Refused(f"{address} names another machine", "Write file:///path, or the path alone")
        return FolderTransport(Path(unquote(split.path)))
    if scheme or not address or "\0" in address:
        raise Refused(
            f"{address!r} is no address of a repository",
            "Write https://host/path, http://host/path, file:///path or a path",
        )
    return FolderTransport(Path(address))
