"""A camera's folder as a technician has it: a commissioned layout, a bundle, photographs good and bad."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from lifecycle.bundles import make_bundle

from edge_runtime.cli.main import main
from edge_runtime.layout import write_layout
from edge_runtime.records import Image, Slot

SIZE = (960, 720)


@dataclass(frozen=True)
class Ran:
    """One call of the command line."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("infer", "--layout", path)`: the command line in this process; never raises but for wrong usage of argparse."""

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = int(left.code or 0)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


def slots() -> tuple[Slot, ...]:
    found = []
    for k in range(6):
        x, y = 30.0 + 300 * (k % 3), 40.0 + 330 * (k // 3)
        found.append(Slot(f"r{k // 3}s{k % 3}", f"sku-{k}", ((x, y), (x + 290, y), (x + 290, y + 290), (x, y + 290))))
    return tuple(found)


def shelf(empty: tuple[str, ...] = ()) -> Image:
    """A shelf with plenty of texture; the named slots show a flat back panel."""
    draw = np.random.default_rng(7)
    coarse = draw.integers(0, 255, (SIZE[1] // 12, SIZE[0] // 12, 3), np.uint8)
    picture = np.asarray(cv2.resize(coarse, SIZE, interpolation=cv2.INTER_NEAREST), np.uint8)
    for slot in slots():
        if slot.id in empty:
            (x, y), _, (right, bottom), _ = slot.polygon
            picture[int(y) : int(bottom), int(x) : int(right)] = (20, 22, 25)
    return picture


@dataclass(frozen=True)
class Site:
    folder: Path
    layout: Path
    bundle: Path
    full: Path
    gap: Path
    """As `full`, but slot r0s1 is empty."""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    cv2.imwrite(str(folder / "reference.jpg"), shelf(), [cv2.IMWRITE_JPEG_QUALITY, 95])
    write_layout(folder / "layout.json", "reference.jpg", SIZE, slots())
    (folder / "photos").mkdir()
    cv2.imwrite(str(folder / "photos" / "full.jpg"), shelf())
    cv2.imwrite(str(folder / "photos" / "gap.jpg"), shelf(("r0s1",)))
    bundle = make_bundle(folder / "shelf-test-1.0.0.zip")
    return Site(folder, folder / "layout.json", bundle, folder / "photos/full.jpg", folder / "photos/gap.jpg")


@pytest.fixture
def site(prepared: Site) -> Site:
    """Do not write into its folder; use tmp_path."""
    return prepared
