from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.workshop.recipe import read_recipe, recipe_digest

MODELS = Path(__file__).parents[2] / "models" / "shelf-occupancy"


@pytest.mark.parametrize("name", ["recipe-0.9.toml", "recipe.toml"])
def test_the_shipped_recipes_are_recipes(name: str) -> None:
    recipe = read_recipe(MODELS / name)
    assert recipe.name == "shelf-occupancy"
    assert {plan.role for plan in recipe.render} == {"train", "validation", "test"}
    assert recipe.crop.device.size == (recipe.crop.size, recipe.crop.size)


@pytest.mark.parametrize("line", ["learning = 1\n", "[train]\nmomentum = 0.9\n"])
def test_an_unknown_key_is_refused_and_named(tmp_path: Path, line: str) -> None:
    text = (MODELS / "recipe.toml").read_text()
    key = line.splitlines()[-1].split()[0]
    mixed = text.replace("[train]\n", line) if line.startswith("[train]") else line + text
    (tmp_path / "recipe.toml").write_text(mixed)
    with pytest.raises(BadConfig, match=key):
        read_recipe(tmp_path / "recipe.toml")


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")


def test_the_digest_covers_the_code_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("a = 1")
    before = recipe_digest(tmp_path / "recipe.toml")
    (tmp_path / "train.py").write_text("rate = 1")
    assert recipe_digest(tmp_path / "recipe.toml") != before
