"""recipe.toml of a model from photographs: everything that it is made from, beside the photographs themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.workshop.recipe import CropRecipe, Positive, Share

SHALLOW_BLOCKS = 11
"""Up to here Lite0 shrinks a crop 16 times, behind it 32 times; the padding is right for sides that go by that."""
Rate = Annotated[float, msgspec.Meta(gt=0.0)]


class HoldRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    share: Share
    """Of the groups of the train split that no weight is fitted on."""


class NetworkRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of EfficientNet-Lite0."""

    blocks: Annotated[int, msgspec.Meta(ge=1, le=16)] = 16
    embedding: Positive = 1280


class LearnRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW with a cosine rate, voids and facings drawn alike, augmented anew each time."""

    epochs: Positive
    batch: Positive
    rate: Rate
    frozen_blocks: Annotated[int, msgspec.Meta(ge=0)]
    """The stem and so many blocks keep their ImageNet weights."""
    weight_decay: float
    smoothing: Share
    average: Share
    """Decay of the exponential moving average of the weights."""
    trim: Share
    """Share of a batch, the facings with the highest loss, that is not learned from epoch `trim_from` on."""
    trim_from: Annotated[int, msgspec.Meta(ge=0)]
    shift: Rate
    """Deviation of a slot's place, as a share of its size."""
    scale: Rate
    """Deviation of the logarithm of a slot's sides."""
    teacher: str = ""
    """`<name>-<version>` of a model that this recipe folder has made: half of the loss is then its answer, of the crop of
    its own size."""


class HeadRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    penalties: tuple[Rate, ...]
    """Inverse penalties of the logistic regression; the one that is best on the held-out groups is taken."""
    max_crops: Positive
    """Training crops that the head sees, each plain and jittered."""


class QuantizeRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    crops: Positive
    method: str


class PhotoRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    name: str
    version: str
    created: str
    description: str
    licence: str
    seed: int
    threads: Positive
    runtime: tuple[str, str]
    crop: CropRecipe
    network: NetworkRecipe
    hold: HoldRecipe
    train: LearnRecipe
    head: HeadRecipe
    quantize: QuantizeRecipe


def read_plan(path: Path) -> PhotoRecipe:
    """Read a recipe. Raises Unavailable if it is not there, BadConfig if it is not exactly a recipe."""
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise Unavailable(f"recipe {path} can not be read: {fault.strerror}", "Name a recipe.toml") from None
    try:
        recipe = msgspec.toml.decode(raw, type=PhotoRecipe)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as fault:
        raise BadConfig(
            f"{path} is not a recipe: {fault}", "Compare with models/shelf-photographs/recipe.toml"
        ) from None
    stride = 16 if recipe.network.blocks <= SHALLOW_BLOCKS else 32
    if recipe.crop.size % stride:
        raise BadConfig(f"{path}: crop.size is {recipe.crop.size}, a multiple of {stride} was expected", "Take 96")
    return recipe
