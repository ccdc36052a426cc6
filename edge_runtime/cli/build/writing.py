"""What the verbs of `build` share: outputs that appear whole or not at all, and a bar where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from edge_runtime.errors import Unavailable, Usage

BAR_WIDTH = 32


def check_out(path: Path, force: bool, option: str = "--out") -> None:
    """Before minutes of work, not after them: raise Usage if `path` can not become a new file."""
    if path.is_dir():
        raise Usage(f"{option} {path} is a folder, a file was expected", f"Try {option} {path / 'model.onnx'}")
    if not path.parent.is_dir():
        raise Usage(f"{option} {path}: there is no folder {path.parent}", "Make it, or name another file")
    if path.exists() and not force:
        raise Usage(f"{option} {path} is there already", "Name another file, or add --force to replace it")


def write_whole(path: Path, body: bytes) -> None:
    """Write beside, then rename: a full disk leaves what was there. Raises Unavailable."""
    fresh = path.with_name(path.name + ".part")
    try:
        fresh.write_bytes(body)
        fresh.replace(path)
    except OSError as fault:
        fresh.unlink(missing_ok=True)
        raise Unavailable(f"{path} can not be written: {fault.strerror}", "Make room, or name another file") from None


def read_whole(path: Path, what: str) -> bytes:
    """A file's bytes. Raises Unavailable if it is not there."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise Unavailable(f"{what} {path} can not be read: {fault.strerror}", "Check the path and its rights") from None


def bar() -> Callable[[str, int, int], None] | None:
    """Draws (what, done, in all) on standard error; None if that is no terminal."""
    return _draw if sys.stderr.isatty() else None


def wipe() -> None:
    """Take the bar away."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _draw(what: str, done: int, total: int) -> None:
    filled = BAR_WIDTH * done // max(1, total)
    sys.stderr.write(f"\r\x1b[K[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done}/{total} {what}")
    sys.stderr.flush()
