"""The two-input slot network in PyTorch: shared stem, difference, depthwise-separable ReLU6 body, embedding."""

from __future__ import annotations

import torch
from torch import nn

from edge_runtime.workshop.graph import Backbone, Block, Conv
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.recipe import NetworkRecipe


class ConvUnit(nn.Module):
    """Convolution, batch normalization, ReLU6 (or none)."""

    def __init__(
        self, wide: int, out: int, side: int, stride: int = 1, groups: int = 1, padding: int = 0, relu6: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, out, side, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, momentum=0.05)
        self.relu6 = relu6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return nn.functional.relu6(x) if self.relu6 else x

    def folded(self) -> Conv:
        """Batch normalization folded into weight and bias."""
        gain = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        weight = self.conv.weight * gain[:, None, None, None]
        bias = self.norm.bias - self.norm.running_mean * gain
        return Conv(
            weight.detach().numpy().copy(),
            bias.detach().numpy().copy(),
            self.conv.stride[0],
            self.conv.groups,
            int(self.conv.padding[0]),
            self.relu6,
        )


class Units(nn.Module):
    """Convolutions in a row, perhaps with the input added before a last ReLU6."""

    def __init__(self, *units: ConvUnit, residual: bool = False) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        begin = x
        for unit in self.units:
            x = unit(x)
        return nn.functional.relu6(x + begin) if self.residual else x

    def folded(self) -> Block:
        return Block(tuple(unit.folded() for unit in self.units), self.residual)


def separable(wide: int, out: int, stride: int) -> Units:
    return Units(ConvUnit(wide, wide, 3, stride, wide, 1), ConvUnit(wide, out, 1))


def residual(wide: int) -> Units:
    return Units(ConvUnit(wide, wide, 3, 1, wide, 1), ConvUnit(wide, wide, 1, relu6=False), residual=True)


class TwoInputNetwork(nn.Module):
    """`forward(current, reference)`: pixels (n, 3, size, size) in (p - 128) / 128 to logits (n, 4).

    Strides: 4 in the stem, then 8 and 16; a learned depthwise pooling keeps where in the slot something was seen.
    """

    def __init__(self, recipe: NetworkRecipe, size: int) -> None:
        super().__init__()
        first, second = recipe.stem
        self.size = size
        self.stem = nn.Sequential(Units(ConvUnit(3, first, 3, 2, 1, 1)), separable(first, second, 2))
        fine, middle, coarse = recipe.body
        body = [Units(ConvUnit(3 * second, fine, 1)), *(residual(fine) for _ in range(recipe.repeats[0]))]
        body += [separable(fine, middle, 2), *(residual(middle) for _ in range(recipe.repeats[1]))]
        body += [separable(middle, coarse, 2), *(residual(coarse) for _ in range(recipe.repeats[2]))]
        side = size // 16
        body.append(
            Units(ConvUnit(coarse, coarse, side, 1, coarse, 0, relu6=False), ConvUnit(coarse, recipe.embedding, 1))
        )
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(recipe.embedding, len(LABELS))
        self.drop = nn.Dropout(0.1)

    def embed(self, current: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        seen = self.stem(torch.cat([current, reference]))
        now, then = seen.chunk(2)
        return self.body(torch.cat([now, then, (now - then).abs()], 1)).flatten(1)

    def forward(self, current: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.embed(current, reference)))

    def folded(self) -> Backbone:
        """The embedding part as plain arrays, for `workshop.graph`."""
        stem = tuple(part.folded() for part in self.stem)
        return Backbone(stem, tuple(part.folded() for part in self.body), self.size)
