"""Packs: what may be trained on never meets what is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import Unavailable
from edge_runtime.simulator import catalogue
from edge_runtime.simulator.shapes import FAMILIES


def test_training_and_held_out_packs_are_apart() -> None:
    for names in (catalogue.invented, catalogue.photographed):
        train, held_out = set(names("train")), set(names("heldout"))
        assert train and held_out
        assert not train & held_out
    assert len(catalogue.invented("train")) > 3000


def test_one_family_is_held_out_as_a_whole() -> None:
    assert not [name for name in catalogue.invented("train") if name.startswith(catalogue.HELD_OUT_FAMILY)]
    assert (
        len([n for n in catalogue.invented("heldout") if n.startswith(catalogue.HELD_OUT_FAMILY)]) == catalogue.VARIANTS
    )


def test_the_split_does_not_move() -> None:
    assert catalogue.is_held_out("Banana")
    assert not catalogue.is_held_out("Mango")


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_invented_packs_are_solid_and_differ(family: str) -> None:
    first, second = (catalogue.load_pack(f"{family}-{number:04d}") for number in (1, 2))
    for pack in (first, second):
        alpha = pack.front[0][..., 3]
        assert alpha.max() == 255
        assert (alpha > 127).mean() > 0.2
        assert not alpha[0].any() and not alpha[:, -1].any()
        assert 0.1 < pack.aspect < 10
    assert first.front[0].shape != second.front[0].shape or np.any(first.front[0] != second.front[0])


def test_photographs_are_cut_from_their_white_ground() -> None:
    alpha = catalogue.load_pack("Banana").front[0][..., 3]
    assert 0.3 < (alpha > 127).mean() < 0.95
    assert alpha[:6, :6].max() < 128


def test_the_packs_ship_with_their_licence() -> None:
    folder = Path(catalogue.__file__).parent / "packs"
    assert "MIT License" in (folder / "LICENSE").read_text()
    assert len(catalogue.photographs()) == 81


@pytest.mark.parametrize("name", ["", "Nothing", "box-", "crate-0001"])
def test_an_unknown_pack_is_named(name: str) -> None:
    with pytest.raises(Unavailable, match="no pack is called"):
        catalogue.load_pack(name)
