"""Robust least squares for a homography and a radial lens: Levenberg-Marquardt with Tukey weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.normalize.warp import LEAST, NO_LENS, Matrix, Points, Warp

Floats = NDArray[np.float64]
LENS_PRIOR = np.array([0.5, 0.5])
"""Prior spread of a and b (`warp.Lens`) of a shop camera that was not corrected."""
LENS_MIN = 0.008
LENS_GAIN = 0.85
"""The lens is kept only if the robust cost falls below this share of the cost without it."""
_TUKEY = 4.685


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Normalized coordinates: the middle of a picture is 0, its half width is 1."""

    reference: tuple[int, int]
    frame: tuple[int, int]

    def inward(self, points: Points, size: tuple[int, int]) -> Points:
        return np.asarray((points - (np.array(size) - 1) / 2) / (size[0] / 2), np.float64)

    def matrix(self, size: tuple[int, int]) -> Matrix:
        half = size[0] / 2
        return np.array([[1 / half, 0, -(size[0] - 1) / size[0]], [0, 1 / half, -(size[1] - 1) / size[0]], [0, 0, 1.0]])

    def normalized(self, homography: Matrix) -> Matrix:
        h = self.matrix(self.frame) @ homography @ np.linalg.inv(self.matrix(self.reference))
        return np.asarray(h / h[2, 2], np.float64)

    def pixels(self, homography: Matrix) -> Matrix:
        h = np.linalg.inv(self.matrix(self.frame)) @ homography @ self.matrix(self.reference)
        return np.asarray(h / h[2, 2], np.float64)


def polish(
    start: Warp, reference: tuple[int, int], source: Points, target: Points, weights: Floats, scale_px: float
) -> tuple[Warp, float]:
    """Fit a warp to (n, 2) matches, n >= 8, from a start that is right to about 4 `scale_px`; also its robust cost.

    `weights` are the matches' a-priori weights; `scale_px` is the expected error in frame pixels, from which Tukey's
    weights fall off. With 20 or more matches a lens is fitted too, and kept only where it is worth its freedom.
    """
    frames = Frames(reference, start.size)
    x, y = frames.inward(source, reference), frames.inward(target, start.size)
    scale = scale_px / (start.size[0] / 2)
    bent = start.lens != NO_LENS
    first = np.concatenate([frames.normalized(start.homography).ravel()[:8], start.lens])
    best, cost = _descend(first, x, y, weights, scale, lens=bent)
    if len(source) >= 20 and not bent:
        curved, curved_cost = _descend(best, x, y, weights, scale, lens=True)
        if abs(curved[8] - curved[9]) > LENS_MIN and curved_cost < LENS_GAIN * cost:
            best, cost = curved, curved_cost
    homography = frames.pixels(np.append(best[:8], 1.0).reshape(3, 3))
    return Warp(homography, start.size, (float(best[8]), float(best[9]))), cost


def uncertainty(warp: Warp, reference: tuple[int, int], source: Points, noise_px: Floats, places: Points) -> Floats:
    """(m,) standard deviation in frame pixels of where `places` (m, 2) lie, given (n, 2) matches with this noise (n,).

    The linear propagation of the least-squares fit (Hartley & Zisserman 2004, 5.2); infinite where nothing holds it.
    """
    frames = Frames(reference, warp.size)
    half = warp.size[0] / 2
    free = 8 if warp.lens == NO_LENS else 10
    parameters = np.concatenate([frames.normalized(warp.homography).ravel()[:8], warp.lens])
    x, at = frames.inward(source, reference), frames.inward(places, reference)
    jacobian = _linearize(parameters, x, x)[1][:, :, :free] / (noise_px / half)[:, None, None]
    flat = jacobian.reshape(-1, free)
    normal = flat.T @ flat
    if free == 10:
        normal[[8, 9], [8, 9]] += LENS_PRIOR**-2
    if len(source) < 4 or np.linalg.cond(normal) > 1e14:
        return np.full(len(places), np.inf)
    here = _linearize(parameters, at, at)[1][:, :, :free]
    covariance = here @ np.linalg.inv(normal) @ here.transpose(0, 2, 1)
    return np.asarray(half * np.sqrt(np.trace(covariance, axis1=1, axis2=2)), np.float64)


def _descend(
    start: Floats, x: Points, y: Points, weights: Floats, scale: float, lens: bool, steps: int = 10
) -> tuple[Floats, float]:
    """Parameters (10,) and the robust cost in squared scales."""
    free = 10 if lens else 8
    parameters, damping = start.copy(), 1e-4
    error, jacobian = _linearize(parameters, x, y)
    cost = _cost(error, weights, scale, parameters[8:])
    for _ in range(steps):
        normal, gradient = _normal(error, jacobian[:, :, :free], weights * _tukey(error, scale) / scale**2)
        if lens:
            normal[[8, 9], [8, 9]] += LENS_PRIOR**-2
            gradient[8:] += parameters[8:] / LENS_PRIOR**2
        trial = parameters.copy()
        diagonal = np.diag(normal) + 1e-9
        trial[:free] -= np.linalg.solve(normal + damping * np.diag(diagonal), gradient)
        trial_error, trial_jacobian = _linearize(trial, x, y)
        trial_cost = _cost(trial_error, weights, scale, trial[8:])
        if not trial_cost <= cost:
            damping *= 10.0
            continue
        gained, damping = cost - trial_cost, damping / 5.0
        parameters, error, jacobian, cost = trial, trial_error, trial_jacobian, trial_cost
        if gained < 1e-4 * cost:
            break
    return parameters, cost


def _normal(error: Points, jacobian: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The normal matrix and the gradient of the weighted squares."""
    flat = jacobian.reshape(-1, jacobian.shape[2])
    weighted = flat * np.repeat(weights, 2)[:, None]
    return weighted.T @ flat, weighted.T @ error.ravel()


def _linearize(parameters: Floats, x: Points, y: Points) -> tuple[Points, Floats]:
    """Errors (n, 2) and their Jacobian (n, 2, 10)."""
    h = np.append(parameters[:8], 1.0).reshape(3, 3)
    xyw = x @ h[:, :2].T + h[:, 2]
    w = np.maximum(xyw[:, 2], 1e-6)
    q = xyw[:, :2] / w[:, None]
    r2 = (q**2).sum(1)
    a, b = parameters[8:]
    below = np.maximum(1.0 + b * r2, LEAST)
    bend = (1.0 + a * r2) / below
    plane = np.zeros((len(x), 2, 8))
    ones = np.column_stack([x, np.ones(len(x))]) / w[:, None]
    plane[:, 0, 0:3] = ones
    plane[:, 1, 3:6] = ones
    plane[:, :, 6:8] = -q[:, :, None] * (x / w[:, None])[:, None, :]
    radial = bend[:, None, None] * np.eye(2)
    radial += (2.0 * (a - b) / below**2)[:, None, None] * q[:, :, None] * q[:, None, :]
    by_lens = np.stack([r2 / below, -bend * r2 / below], 1)
    jacobian = np.concatenate([radial @ plane, q[:, :, None] * by_lens[:, None, :]], axis=2)
    return q * bend[:, None] - y, jacobian


def _tukey(error: Points, scale: float) -> Floats:
    u2 = (error**2).sum(1) / (_TUKEY * scale) ** 2
    return np.asarray(np.where(u2 < 1.0, (1.0 - u2) ** 2, 0.0), np.float64)


def _cost(error: Points, weights: Floats, scale: float, lens: Floats) -> float:
    u2 = np.minimum((error**2).sum(1) / (_TUKEY * scale) ** 2, 1.0)
    rho = _TUKEY**2 / 6.0 * (1.0 - (1.0 - u2) ** 3)
    total = float((weights * rho).sum() + 0.5 * ((lens / LENS_PRIOR) ** 2).sum())
    return total if np.isfinite(total) else np.inf
