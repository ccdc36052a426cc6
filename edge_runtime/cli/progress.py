"""A bar for what takes long, where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable

WIDTH = 30


def download_bar() -> Callable[[int, int], None] | None:
    """Draws bytes that are here, of those that there will be, on one line of a terminal; None if there is none."""
    if not sys.stderr.isatty():
        return None

    def draw(here: int, whole: int) -> None:
        share = min(1.0, here / whole) if whole else 1.0
        bar = "#" * round(WIDTH * share)
        ends = "\n" if here >= whole else ""
        print(
            f"\r  [{bar.ljust(WIDTH)}] {here / 1e6:.1f} of {whole / 1e6:.1f} MB", end=ends, file=sys.stderr, flush=True
        )

    return draw
