"""What a store does to a crop, in batches: geometry, light, sensor, occluders.

All of it acts on pairs. What changes the product or the whole scene (channel order, hue, mirror) acts on both crops
alike; what changes since commissioning acts on the current crop only. Motion blur and mains banding are drawn neither
here nor by the simulator's training plan: the bench shows what the network makes of conditions that it never saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional

from edge_runtime.workshop.labels import BLOCKED, BLOCKED_FROM

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Geometry:
    """From the stored crop to the device's: sides in pixels and margins as shares of the slot."""

    size: int
    margin: float
    stored_margin: float

    @property
    def zoom(self) -> float:
        return (1 + 2 * self.margin) / (1 + 2 * self.stored_margin)


class Augment:
    """Batches of stored uint8 crops (n, S, S, 3) to float pairs (n, 3, size, size) in 0..255, and their labels."""

    def __init__(self, geometry: Geometry, strength: float, generator: torch.Generator) -> None:
        self._geometry = geometry
        self._strength = strength
        self._random = generator

    def __call__(
        self, current: np.ndarray, reference: np.ndarray, label: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        now, then = (torch.from_numpy(x).permute(0, 3, 1, 2).float() for x in (current, reference))
        now, then = self._footed(now, then)
        now, then = self._moved(now, then)
        now, then = self._recoloured(now, then)
        now, label = self._occluded(now, label)
        now = self._lit(now)
        now = self._sensed(now)
        then = self._sensed(then, 0.35)
        return now.round_().clamp_(0, 255), then.round_().clamp_(0, 255), label

    def plain(self, current: np.ndarray, reference: np.ndarray) -> Pair:
        """The device's crop out of the stored one, nothing else."""
        pair = [torch.from_numpy(x).permute(0, 3, 1, 2).float() for x in (current, reference)]
        still = torch.eye(2, 3).repeat(len(current), 1, 1) * self._geometry.zoom
        now, then = (self._warped(x, still) for x in pair)
        return now.round_(), then.round_()

    def _uniform(self, n: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(n, generator=self._random) * (high - low) + low

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._random)

    def _some(self, n: int, share: float) -> torch.Tensor:
        return self._uniform(n) < share

    def _warped(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        side = self._geometry.size
        grid = functional.affine_grid(theta, [len(x), 3, side, side], align_corners=False)
        return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _theta(self, n: int, shift: float, scale: float, turn: float) -> torch.Tensor:
        angle = torch.deg2rad(self._normal(n) * turn)
        sx, sy = (1 + scale * self._normal(n) for _ in range(2))
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = sx * torch.cos(angle), -torch.sin(angle)
        theta[:, 1, 0], theta[:, 1, 1] = torch.sin(angle), sy * torch.cos(angle)
        theta[:, :, 2] = 2 * shift * self._normal(n, 2)
        return theta * self._geometry.zoom

    def _moved(self, now: torch.Tensor, then: torch.Tensor) -> Pair:
        """Jitter of the current crop against the reference, and mirror of both."""
        n = len(now)
        calm = 0.25 + 0.75 * self._some(n, 0.6).float()
        moved = self._theta(n, 0.014, 0.014, 0.7)
        still = torch.eye(2, 3).repeat(n, 1, 1) * self._geometry.zoom
        both = self._theta(n, 0.012, 0.02, 0.5) - still
        mine = still + calm[:, None, None] * (moved - still) + both
        yours = still + both
        mirror = torch.where(self._some(n, 0.5), -1.0, 1.0)
        for theta in (mine, yours):
            theta[:, :, 0] *= mirror[:, None]
        return self._warped(now, mine), self._warped(then, yours)

    def _footed(self, now: torch.Tensor, then: torch.Tensor) -> Pair:
        """The step, lip or board edge before the feet of the packs, of another height in each crop: the camera has moved.

        Without it, feet that another angle hides look like a front row that is gone.
        """
        n, side = len(now), now.shape[2]
        margin = self._geometry.stored_margin
        rows = (torch.arange(side) + 0.5) / side * (1 + 2 * margin) - margin
        usual = self._uniform(n, 0.0, 0.13) * self._some(n, 0.6)
        some = self._some(n, 0.22)
        tone = self._uniform(n, 10, 150)[:, None] + 6 * self._normal(n, 3)
        own = now[:, :, int((1 + margin) / (1 + 2 * margin) * side) - 2].mean(2)
        paint = torch.where(self._some(n, 0.3)[:, None], own, tone)[:, :, None, None]
        found = []
        for x in (now, then):
            height = (usual + self._uniform(n, -0.03, 0.09)).clamp(0, 0.2) * some
            mask = (rows[None] > 1 - height[:, None]) & (rows[None] < 1)
            shade = 1 + 0.15 * self._normal(n)[:, None, None, None]
            found.append(torch.where(mask[:, None, :, None], (paint * shade).clamp(0, 255), x))
        return found[0], found[1]

    def _recoloured(self, now: torch.Tensor, then: torch.Tensor) -> Pair:
        """Other pack and shelf colours: channel order, hue, saturation, invert, of both crops alike."""
        n = len(now)
        order = torch.stack([torch.randperm(3, generator=self._random) for _ in range(n)])
        order[~self._some(n, 0.5)] = torch.arange(3)
        mix = torch.eye(3)[order]
        mix = torch.bmm(_hue(self._uniform(n, -math.pi, math.pi) * self._some(n, 0.5)), mix)
        grey = torch.full((1, 3, 3), 1 / 3)
        vivid = self._uniform(n, 0.2, 1.4)[:, None, None]
        mix = grey + vivid * (mix - grey)
        gain = torch.exp(0.25 * self._normal(n))[:, None, None, None]
        level = 18 * self._normal(n)[:, None, None, None]
        return tuple(torch.einsum("nij,njhw->nihw", mix, x).mul_(gain).add_(level).clamp_(0, 255) for x in (now, then))  # type: ignore[return-value]

    def _lit(self, x: torch.Tensor) -> torch.Tensor:
        """Gain, cast, gamma, a gradient, a shadow edge, a patch of glare; a light match has already taken most of it."""
        n, side, k = len(x), x.shape[2], self._strength
        scale = k * torch.where(self._some(n, 0.35), 1.0, 0.35)
        gain = 0.30 * self._normal(n, 1) + 0.10 * self._normal(n, 3)
        slope = 0.22 * self._normal(n, 2)
        y, u = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
        field = slope[:, :1, None] * u + slope[:, 1:, None] * y
        field = field + self._shadow(n, u, y)
        light = torch.exp(scale[:, None, None, None] * (gain[:, :, None, None] + field[:, None]))
        gamma = torch.exp(0.18 * scale * self._normal(n))[:, None, None, None]
        x = 255 * (x / 255).clamp(1e-3, 1).pow(gamma) * light
        return x + self._glare(n, u, y)

    def _shadow(self, n: int, u: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        angle = self._uniform(n, 0, 2 * math.pi)[:, None, None]
        place = self._uniform(n, -0.8, 0.8)[:, None, None]
        sharp = torch.exp(self._uniform(n, 0.7, 3.5))[:, None, None]
        depth = (self._uniform(n, 0.1, 1.4) * self._some(n, 0.25))[:, None, None]
        return -depth * torch.sigmoid(sharp * (u * torch.cos(angle) + y * torch.sin(angle) - place))

    def _glare(self, n: int, u: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        cx, cy = (self._uniform(n, -1, 1)[:, None, None] for _ in range(2))
        wide, tall = (self._uniform(n, 0.08, 0.5)[:, None, None] for _ in range(2))
        power = (self._uniform(n, 80, 420) * self._some(n, 0.12 * self._strength))[:, None, None]
        return (power * torch.exp(-(((u - cx) / wide) ** 2) - ((y - cy) / tall) ** 2))[:, None]

    def _sensed(self, x: torch.Tensor, share: float = 1.0) -> torch.Tensor:
        """Resolution, defocus, noise, JPEG; each on part of the batch."""
        x = self._coarser(x.clamp_(0, 255), 0.35 * share)
        x = self._noisy(x, 0.5 * share)
        return self._compressed(x, 0.2 * share)

    def _coarser(self, x: torch.Tensor, share: float) -> torch.Tensor:
        chosen = torch.nonzero(self._some(len(x), share)).flatten()
        for rows in chosen.chunk(4):
            if not len(rows):
                continue
            part, side = x[rows], x.shape[2]
            if self._uniform(1).item() < 0.5:
                small = max(8, round(side * self._uniform(1, 0.25, 0.9).item()))
                part = functional.interpolate(part, size=(small, small), mode="bilinear", antialias=True)
                part = functional.interpolate(part, size=(side, side), mode="bilinear")
            else:
                part = _disc_blur(part, self._uniform(1, 0.6, 3.0).item() * self._strength)
            x[rows] = part
        return x

    def _noisy(self, x: torch.Tensor, share: float) -> torch.Tensor:
        """Sensor noise, fine or (behind a resampled sensor) soft, grey or coloured."""
        rows = torch.nonzero(self._some(len(x), share)).flatten()
        n, side = len(rows), x.shape[2]
        noise = self._normal(n, 3, side, side)
        soft = n // 2
        noise[:soft] = functional.avg_pool2d(noise[:soft], 3, 1, 1) * 2.2
        grey = torch.where(self._some(n, 0.4), 0.8, 0.2)[:, None, None, None]
        noise = grey * noise[:, :1] + (1 - grey) * noise
        sigma = torch.exp(self._uniform(n, 0.0, 2.9)) * self._strength
        return x.index_add_(0, rows, noise.mul_(sigma[:, None, None, None]))

    def _compressed(self, x: torch.Tensor, share: float) -> torch.Tensor:
        for row in torch.nonzero(self._some(len(x), share)).flatten().tolist():
            quality = int(self._uniform(1, 8, 70).item())
            picture = x[row].clamp(0, 255).byte().permute(1, 2, 0).numpy()
            grown = 1 + int(self._uniform(1).item() * 2)
            large = cv2.resize(picture, None, fx=grown, fy=grown) if grown > 1 else picture
            _, packed = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, quality])
            back = cv2.imdecode(packed, cv2.IMREAD_COLOR)
            if grown > 1:
                back = cv2.resize(back, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
            x[row] = torch.from_numpy(back).permute(2, 0, 1).float()
        return x

    def _occluded(self, x: torch.Tensor, label: torch.Tensor) -> Pair:
        """Something in front: an ellipse, a band or a blob of plain or uneven colour; `blocked` from half the slot on."""
        n, side = len(x), x.shape[2]
        y, u = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
        angle = self._normal(n)[:, None, None] * 0.4
        cx, cy = (self._uniform(n, -1.2, 1.2)[:, None, None] for _ in range(2))
        wide, tall = (torch.exp(self._uniform(n, -1.6, 1.2))[:, None, None] for _ in range(2))
        a = (u - cx) * torch.cos(angle) + (y - cy) * torch.sin(angle)
        b = (y - cy) * torch.cos(angle) - (u - cx) * torch.sin(angle)
        power = torch.where(self._some(n, 0.5), 2.0, 8.0)[:, None, None]
        inside = ((a / wide).abs().clamp(max=9) ** power + (b / tall).abs().clamp(max=9) ** power) < 1
        mask = inside & self._some(n, 0.2)[:, None, None]
        edge = 1 / (1 + 2 * self._geometry.margin)
        core = (u.abs() < edge) & (y.abs() < edge)
        covered = (mask & core).flatten(1).sum(1) / core.sum()
        uneven = functional.interpolate(self._normal(n, 3, 4, 4), size=(side, side), mode="bilinear")
        colour = self._uniform(n * 3, 15, 240).reshape(n, 3, 1, 1)
        paint = colour + uneven * self._uniform(n, 0, 30)[:, None, None, None]
        x = torch.where(mask[:, None], paint, x)
        return x, torch.where(covered >= BLOCKED_FROM, BLOCKED, label)


def _hue(angle: torch.Tensor) -> torch.Tensor:
    """Rotations about the grey axis, (n, 3, 3)."""
    c, s = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    one = torch.full((1, 3, 3), 1 / 3)
    skew = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])[None] / math.sqrt(3)
    return c * torch.eye(3)[None] + s * skew + (1 - c) * one


def _disc_blur(x: torch.Tensor, radius: float) -> torch.Tensor:
    reach = max(1, math.ceil(radius))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    disc = (radius + 0.5 - torch.hypot(at[:, None], at[None])).clamp(0, 1)
    kernel = (disc / disc.sum()).expand(3, 1, -1, -1)
    return functional.conv2d(functional.pad(x, (reach,) * 4, mode="replicate"), kernel, groups=3)
