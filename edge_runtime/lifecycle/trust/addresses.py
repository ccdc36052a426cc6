"""From the `repository` of a configuration to what reads it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_runtime.errors import Refused
from edge_runtime.lifecycle.trust.ceilings import CEILINGS, Ceilings
from edge_runtime.lifecycle.trust.folder import FolderTransport
from edge_runtime.lifecycle.trust.transport import Transport


def open_repository(address: str, ceilings: Ceilings = CEILINGS) -> Transport:
    """`https://…`, `http://…`, `file:///…` or a path. Raises Refused for anything else; connects to nothing yet."""
    try:
        return _open(address, ceilings)
    except ValueError:  # of urlsplit, for what stands in [brackets]; its words may hold a password
        raise _no_address(address) from None


def _open(address: str, ceilings: Ceilings) -> Transport:
    scheme = address.split(":", 1)[0].lower() if "://" in address else ""
    if scheme in ("http", "https"):
        from edge_runtime.lifecycle.trust.http import HttpTransport

        return HttpTransport(address, ceilings)
    if scheme == "file":
        split = urlsplit(address)
        if split.netloc not in ("", "localhost") or not split.path:
            raise Refused(f"{address} names another machine", "Write file:///path, or the path alone")
        return _folder(address, unquote(split.path))
    if scheme or not address:
        raise _no_address(address)
    return _folder(address, address)


def _folder(address: str, path: str) -> FolderTransport:
    if "\0" in path:
        raise _no_address(address)
    return FolderTransport(Path(path))


def _no_address(address: str) -> Refused:
    shown = re.sub("//.*@", "//...@", address)
    return Refused(
        f"{shown!r} is no address of a repository",
        "Write https://host/path, http://host/path, file:///path or a path",
    )
