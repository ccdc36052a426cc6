"""The recipe's own code, which needs PyTorch (edge-runtime[train])."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recipe trains with PyTorch: pip install -e '.[train]'")

RECIPE = Path(__file__).parents[2] / "models" / "shelf-occupancy"
sys.path.insert(0, str(RECIPE))

import msgspec  # noqa: E402
from augment import Augment, Geometry  # noqa: E402
from finish import export_error  # noqa: E402
from network import TwoInputNetwork  # noqa: E402
from train import train  # noqa: E402

from edge_runtime.errors import Refused  # noqa: E402
from edge_runtime.workshop.crops import CropSet  # noqa: E402
from edge_runtime.workshop.graph import backbone_graph, multiply_adds  # noqa: E402
from edge_runtime.workshop.labels import BLOCKED  # noqa: E402
from edge_runtime.workshop.recipe import NetworkRecipe, Recipe, read_recipe  # noqa: E402

SMALL = NetworkRecipe((4, 8), (12, 16, 24), (1, 0, 0), 16)
GEOMETRY = Geometry(64, 0.12, 0.12)


@pytest.fixture
def recipe() -> Recipe:
    shipped = read_recipe(RECIPE / "recipe.toml")
    plan = msgspec.structs.replace(
        shipped.train, cycles=((1, 0.004), (1, 0.002)), steps_per_epoch=3, batch=8, growth=()
    )
    crop = msgspec.structs.replace(shipped.crop, size=64, stored_size=64, stored_margin=shipped.crop.margin)
    return msgspec.structs.replace(shipped, network=SMALL, train=plan, crop=crop)


def test_the_exported_graph_says_what_the_network_says(crops: CropSet) -> None:
    torch.manual_seed(0)
    network = TwoInputNetwork(SMALL, 64)
    network.train()
    pair = torch.rand(2, 16, 3, 64, 64) * 2 - 1
    network(pair[0], pair[1])
    network.eval()
    assert export_error(network, backbone_graph(network.folded()), crops) < 1e-4


@pytest.mark.parametrize("name", ["recipe-0.9.toml", "recipe.toml"])
def test_the_shipped_networks_cost_no_more_than_eight_million_multiply_adds(name: str) -> None:
    recipe = read_recipe(RECIPE / name)
    assert multiply_adds(TwoInputNetwork(recipe.network, recipe.crop.size).eval().folded()) <= 8_000_000


def test_training_goes_on_where_it_stopped(recipe: Recipe, crops: CropSet, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "halves").mkdir()
    whole = train(recipe, crops, crops, tmp_path / "whole").folded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train._validate", _stop_after_first())
        with pytest.raises(KeyboardInterrupt):
            train(recipe, crops, crops, tmp_path / "halves")
    halves = train(recipe, crops, crops, tmp_path / "halves").folded()
    assert np.allclose(whole.body[-1].convs[-1].weight, halves.body[-1].convs[-1].weight, atol=1e-6)


def _stop_after_first() -> object:
    def stop(*_: object) -> dict[str, float]:
        raise KeyboardInterrupt

    return stop


def test_an_epoch_that_wants_more_shelves_than_there_are_is_refused(
    recipe: Recipe, crops: CropSet, tmp_path: Path
) -> None:
    growing = msgspec.structs.replace(recipe.train, growth=((0, 1), (1, 3)))
    with pytest.raises(Refused, match="epoch 2 wants 3 shelves, 2 are there"):
        train(msgspec.structs.replace(recipe, train=growing), crops, crops, tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()


def test_augmented_crops_are_pixels_and_repeat_with_the_seed(crops: CropSet) -> None:
    rows, label = slice(0, 16), torch.zeros(16, dtype=torch.int64)
    made = [
        Augment(GEOMETRY, 1.0, torch.Generator().manual_seed(4))(crops.current[rows], crops.reference_of(rows), label)
        for _ in range(2)
    ]
    now, then, said = made[0]
    assert now.shape == then.shape == (16, 3, 64, 64)
    assert now.min() >= 0
    assert now.max() <= 255
    assert set(said.tolist()) <= {0, BLOCKED}
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


def test_without_augmentation_a_crop_stays_as_the_device_cuts_it(crops: CropSet) -> None:
    rows = slice(0, 4)
    now, _ = Augment(GEOMETRY, 1.0, torch.Generator()).plain(crops.current[rows], crops.reference_of(rows))
    assert np.abs(now.permute(0, 2, 3, 1).numpy() - crops.current[rows]).max() <= 1


def test_something_that_covers_half_the_slot_makes_it_blocked(crops: CropSet) -> None:
    rows = np.zeros(600, np.int64)
    augment = Augment(GEOMETRY, 1.0, torch.Generator().manual_seed(1))
    _, _, said = augment(crops.current[rows], crops.reference_of(rows), torch.zeros(600, dtype=torch.int64))
    assert 0.01 < (said == BLOCKED).float().mean() < 0.15
