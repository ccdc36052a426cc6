"""The model card: what the author wrote, what packing knows, and honest silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.workshop.packing.identity import HEADINGS, NOT_STATED, read_card, whole_card

ROOT = Path(__file__).parents[3]


def test_the_shipped_card_has_every_heading() -> None:
    card = read_card(ROOT / "models" / "shelf-occupancy" / "recipe.card.toml")
    assert set(card) == set(HEADINGS)


def test_the_author_goes_before_what_packing_knows_and_silence_is_told() -> None:
    card = whole_card({"limits": " Cans\n only. "}, {"limits": "x", "how_measured": "On 3 shelves."})
    assert card == {
        "intended_use": NOT_STATED,
        "limits": "Cans only.",
        "training_data": NOT_STATED,
        "how_measured": "On 3 shelves.",
    }


def test_all_faults_of_a_card_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text('limits = 3\nlimit = "x"\ntraining_data = ""\n')
    with pytest.raises(BadConfig) as caught:
        read_card(path)
    assert [fault.split(": ")[0] for fault in caught.value.faults] == [f"card.toml:{line}" for line in (1, 2, 3)]


def test_no_card(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        read_card(tmp_path / "card.toml")
    (tmp_path / "card.toml").write_text("limits = ")
    with pytest.raises(BadConfig, match="not TOML"):
        read_card(tmp_path / "card.toml")
