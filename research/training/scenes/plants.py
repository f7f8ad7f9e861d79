"""Trees, bushes and hedges, with their shadows."""

from __future__ import annotations

import numpy as np

from research.training.scenes.climate import Climate, pick
from research.training.scenes.noise import texture
from research.training.scenes.paint import Painter

TREE = 3


def _crown(painter: Painter, centre, radius: float):
    """Window and coverage of a ragged crown; None outside the image."""
    rng = painter.rng
    window = painter.window(np.array([centre]), radius * 1.7 + 2)
    if window is None:
        return None
    rows, columns = window
    y, x = np.mgrid[rows, columns].astype(np.float32)
    distance = np.hypot(x - centre[0], y - centre[1]) / radius
    angle = np.arctan2(y - centre[1], x - centre[0])
    lobes = sum(
        a * np.sin(k * angle + p) for k, a, p in zip((2, 3, 5), rng.uniform(0, 0.13, 3), rng.uniform(0, 6, 3))
    )
    ragged = texture(rng, "leaves", *distance.shape) * 0.1 + texture(rng, "soil", *distance.shape) * 0.06
    soft = max(0.08, 1.2 / radius)
    return window, np.clip((1 + lobes + ragged - distance) / soft, 0, 1), distance


def paint_tree(
    painter: Painter,
    climate: Climate,
    centre,
    radius: float,
    sun_px: np.ndarray,
    shadow: float,
    label: bool = False,
) -> None:
    """A crown with its shadow; unless it is leafless it hides the labels below, and may get its own."""
    rng = painter.rng
    centre = np.asarray(centre, float)
    height_m = radius * painter.gsd_m * rng.uniform(1.2, 2.6)
    bare = rng.random() < climate.bare_trees
    crown = _crown(painter, centre + sun_px * height_m * 0.75, radius)
    if crown is not None:
        window, alpha, _ = crown
        painter.image[window] *= 1 - alpha[..., None] * (shadow * (0.35 if bare else 1))
    crown = _crown(painter, centre, radius)
    if crown is None:
        return
    window, alpha, distance = crown
    (rows, columns) = window
    if bare:
        twigs = texture(rng, "leaves", *alpha.shape) + texture(rng, "grain", *alpha.shape)
        alpha = alpha * np.clip(0.35 + 0.4 * twigs, 0, 0.9) * (distance < 1)
    y, x = np.mgrid[rows, columns].astype(np.float32)
    sun = sun_px / (np.hypot(*sun_px) + 1e-6)
    lit = -((x - centre[0]) * sun[0] + (y - centre[1]) * sun[1]) / radius
    level = 1 + lit * rng.uniform(0.1, 0.35) + texture(rng, "leaves", *alpha.shape) * rng.uniform(0.06, 0.2)
    level += texture(rng, "grain", *alpha.shape) * rng.uniform(0.03, 0.12)
    color = pick(rng, climate.crowns, 12) * (0.9 if not bare else 1.1)
    part = painter.image[window]
    part += (color * level.clip(0.25, 2.2)[..., None] - part) * alpha[..., None]
    if not bare:
        if label and radius > 3:
            painter.kinds.append(TREE)
        painter.instances[window][alpha > 0.6] = len(painter.kinds) if label and radius > 3 else 0


def paint_hedge(painter: Painter, climate: Climate, start, end, sun_px: np.ndarray, shadow: float) -> None:
    """A line of bushes."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    radius = painter.rng.uniform(0.5, 1.1) / painter.gsd_m
    n = int(min(60, np.hypot(*(end - start)) / (1.3 * radius) + 1))
    if radius < 1.2:
        return
    for t in np.linspace(0, 1, n):
        paint_tree(
            painter,
            climate,
            start + (end - start) * t,
            radius * painter.rng.uniform(0.8, 1.2),
            sun_px,
            shadow,
        )
