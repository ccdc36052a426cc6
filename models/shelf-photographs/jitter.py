"""What photographs of shelves differ in, drawn on batches of crops: geometry of the box, light, sensor.

Milder than the augmentation of models/shelf-occupancy, on purpose: channel order and hue carry what ImageNet features
know, and real photographs already hold the stores' variety.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from edge_runtime.workshop.recipe import CropRecipe


class Jitter:
    """Stored uint8 crops (n, S, S, 3) BGR to float RGB planes (n, 3, size, size) in 0..255."""

    def __init__(self, crop: CropRecipe, shift: float, scale: float, generator: torch.Generator) -> None:
        self._size = crop.size
        self._zoom = (1 + 2 * crop.margin) / (1 + 2 * crop.stored_margin)
        self._slot = 2 / (1 + 2 * crop.stored_margin)
        self._shift, self._scale = shift, scale
        self._random = generator

    def __call__(self, stored: torch.Tensor) -> torch.Tensor:
        """Other boxes, other light, other cameras."""
        x = self._warped(_planes(stored), self._theta(len(stored)))
        return self._sensed(self._lit(x)).round_().clamp_(0, 255)

    def plain(self, stored: torch.Tensor) -> torch.Tensor:
        """The device's crop out of the stored one, nothing else."""
        return self._warped(_planes(stored), torch.eye(2, 3).repeat(len(stored), 1, 1) * self._zoom).round_()

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._random)

    def _some(self, n: int, share: float) -> torch.Tensor:
        return torch.rand(n, generator=self._random) < share

    def _theta(self, n: int) -> torch.Tensor:
        theta = torch.zeros(n, 2, 3)
        sides = torch.exp(self._scale * self._normal(n, 2)) * self._zoom
        lean = 0.025 * self._normal(n)
        theta[:, 0, 0], theta[:, 1, 1] = sides[:, 0], sides[:, 1]
        theta[:, 0, 1], theta[:, 1, 0] = lean, -lean
        theta[:, :, 2] = self._slot * self._shift * self._normal(n, 2)
        theta[:, :, 0] *= torch.where(self._some(n, 0.5), -1.0, 1.0)[:, None]
        return theta

    def _warped(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        grid = functional.affine_grid(theta, [len(x), 3, self._size, self._size], align_corners=False)
        return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _lit(self, x: torch.Tensor) -> torch.Tensor:
        n = len(x)
        gamma = torch.exp(0.2 * self._normal(n))[:, None, None, None]
        gain = torch.exp(0.2 * self._normal(n, 1) + 0.06 * self._normal(n, 3))[:, :, None, None]
        vivid = (1 + 0.3 * self._normal(n)).clamp_(0, 1.8)[:, None, None, None]
        grey = x.mean(1, keepdim=True)
        x = (grey + vivid * (x - grey)).clamp_(0.5, 255)
        return (255 * (x / 255).pow(gamma) * gain).clamp_(0, 255)

    def _sensed(self, x: torch.Tensor) -> torch.Tensor:
        n, side = len(x), self._size
        coarse = torch.nonzero(self._some(n, 0.25)).flatten()
        if len(coarse):
            small = int(side * (0.4 + 0.5 * torch.rand(1, generator=self._random).item()))
            part = functional.interpolate(x[coarse], size=(small, small), mode="bilinear", antialias=True)
            x[coarse] = functional.interpolate(part, size=(side, side), mode="bilinear")
        noisy = torch.nonzero(self._some(n, 0.25)).flatten()
        sigma = torch.exp(1 + 0.7 * self._normal(len(noisy)))[:, None, None, None]
        return x.index_add_(0, noisy, sigma * self._normal(len(noisy), 3, side, side))


def _planes(stored: torch.Tensor) -> torch.Tensor:
    return stored.flip(-1).permute(0, 3, 1, 2).float()
