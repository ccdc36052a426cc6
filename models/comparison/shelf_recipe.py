"""What is taken from the shipped model's recipe, which is a folder of programs and no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "shelf-occupancy"))

from augment import Augment, Geometry
from network import TwoInputNetwork
from train import State

__all__ = ["Augment", "Geometry", "State", "TwoInputNetwork"]
