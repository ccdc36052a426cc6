"""comparison.toml: what is compared, and on what."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.records import CropSpec
from edge_runtime.workshop.recipe import NetworkRecipe, RenderRecipe


class Crop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    network: int
    backbone: int
    margin: float
    stored_size: int
    stored_margin: float

    @property
    def stored(self) -> CropSpec:
        return CropSpec((self.stored_size, self.stored_size), self.stored_margin)

    @property
    def seen(self) -> CropSpec:
        """What a device would cut for the backbone."""
        return CropSpec((self.backbone, self.backbone), self.margin)


class Pairs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    counts: tuple[int, int, int, int]
    rounds: int
    strength: float


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    inverse_penalties: tuple[float, ...]
    max_pairs: int


class Train(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    epochs: int
    rate: float
    batch: int
    steps_per_epoch: int
    weight_decay: float
    smoothing: float
    average: float
    class_shares: tuple[float, float, float, float]


class Distil(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    share: float
    temperature: float


class Recentre(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shares: tuple[float, ...]


class Bootstrap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    draws: int


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    seed: int
    shipped: str
    """Bundle that stands beside the candidates, from the repository's root."""
    crop: Crop
    pairs: Pairs
    head: Head
    network: NetworkRecipe
    train: Train
    distil: Distil
    recentre: Recentre
    bootstrap: Bootstrap
    render: tuple[RenderRecipe, ...]

    def key(self, *parts: object) -> str:
        """Name of a folder for what is made of these settings alone."""
        return hashlib.sha256(msgspec.json.encode([self.seed, *parts])).hexdigest()[:12]


def read_comparison(path: Path) -> Comparison:
    """Read the file. Raises Unavailable if it is not there, BadConfig if it is not exactly a comparison."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Comparison)
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", "Name a comparison.toml") from None
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as fault:
        raise BadConfig(
            f"{path} is not a comparison: {fault}", "Compare with models/comparison/comparison.toml"
        ) from None
