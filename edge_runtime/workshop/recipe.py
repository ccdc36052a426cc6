"""recipe.toml: everything that a model is made from, so that the same file gives the same model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.records import CropSpec

Positive = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class CropRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the device will cut, and the larger crop that training cuts so that it can move about in it."""

    size: Annotated[int, msgspec.Meta(ge=16, le=256)]
    margin: Share
    stored_size: Annotated[int, msgspec.Meta(ge=16, le=384)]
    stored_margin: Share

    @property
    def device(self) -> CropSpec:
        return CropSpec((self.size, self.size), self.margin)

    @property
    def stored(self) -> CropSpec:
        return CropSpec((self.stored_size, self.stored_size), self.stored_margin)


class RenderRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rendered field dataset: the arguments of `python -m edge_runtime.simulator dataset`."""

    role: str
    """`train`, `validation` (calibration and thresholds) or `test` (figures only)."""
    arguments: tuple[str, ...]


class NetworkRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Widths of the two-input network; the strides are fixed (see network.py)."""

    stem: tuple[Positive, Positive]
    body: tuple[Positive, Positive, Positive]
    """Channels at 1/4, 1/8 and 1/16 of the crop."""
    repeats: tuple[int, int, int]
    """Residual blocks after the first block of each width."""
    embedding: Positive


class TrainRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the network learns: AdamW with a cosine rate; batches drawn by label, augmented anew each time."""

    cycles: tuple[tuple[Positive, float], ...]
    """(epochs, highest rate): each cycle falls from its highest rate to nothing (Loshchilov and Hutter 2017)."""
    batch: Positive
    steps_per_epoch: Positive
    weight_decay: float
    smoothing: Share
    average: Share
    """Decay of the exponential moving average of the weights."""
    class_shares: tuple[float, float, float, float]
    """Share of each label in a batch."""
    strength: float
    """Scale of all augmentations; 1 is up to severity 4 of the field bench."""
    growth: tuple[tuple[int, Positive], ...] = ()
    """(epoch, shelves): from that epoch on the first so many shelves are seen; none: always all.

    Training can thus begin while shelves are still being rendered, and is the same when they are all there."""

    @property
    def epochs(self) -> int:
        """Of all cycles."""
        return sum(epochs for epochs, _ in self.cycles)


class HeadRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    inverse_penalty: float
    rounds: Positive
    """Augmented passes over the training crops, beside one clean pass."""
    max_crops: Positive


class QuantizeRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pairs: Positive
    method: str
    """`minmax`, `entropy` or `percentile`."""
    float_nodes: tuple[str, ...] = ()
    """Name prefixes of nodes that stay float32."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model version, whole: what goes into the manifest and what makes the weights."""

    name: str
    version: str
    created: str
    description: str
    licence: str
    seed: int
    threads: Positive
    crop: CropRecipe
    render: tuple[RenderRecipe, ...]
    network: NetworkRecipe
    train: TrainRecipe
    head: HeadRecipe
    quantize: QuantizeRecipe
    runtime: tuple[str, str]


def read_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises Unavailable if it is not there, BadConfig if it is not exactly a recipe."""
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise Unavailable(
            f"recipe {path} can not be read: {fault.strerror}", "Name the recipe.toml of a model"
        ) from None
    try:
        return msgspec.toml.decode(raw, type=Recipe)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as fault:
        raise BadConfig(f"{path} is not a recipe: {fault}", "Compare with models/shelf-occupancy/recipe.toml") from None


def recipe_digest(path: Path) -> str:
    """sha256 of the recipe and the Python files beside it: the recipe as it was run."""
    digest = hashlib.sha256(path.read_bytes())
    for code in sorted(path.parent.glob("*.py")):
        digest.update(code.name.encode() + b"\0" + code.read_bytes())
    return digest.hexdigest()
