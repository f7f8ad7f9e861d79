"""What lies under everything: soil, grass, fields, paving and streets."""

from __future__ import annotations

import cv2
import numpy as np

from research.training.scenes.climate import Climate, pick
from research.training.scenes.noise import texture
from research.training.scenes.paint import Painter, rectangle, stripes


def paint_soil(painter: Painter, climate: Climate) -> None:
    """Cover the whole image with two or three soils that fade into each other."""
    rng, (h, w) = painter.rng, (painter.height, painter.width)
    painter.image[:] = pick(rng, climate.grounds, 14)
    for colors in (climate.grounds, climate.lush, climate.lush):
        edge = rng.uniform(0.03, 0.5)
        patch = np.clip((texture(rng, "clouds", h, w) - rng.uniform(-0.3, 0.9)) / edge, 0, 1)[..., None]
        painter.image += (pick(rng, colors, 14) - painter.image) * (patch * rng.uniform(0.4, 1))
    level = texture(rng, "soil", h, w) * rng.uniform(4, 14) + texture(rng, "grain", h, w) * rng.uniform(2, 8)
    if rng.random() < 0.5:
        level = level + texture(rng, "clouds", h, w) * rng.uniform(3, 10)
    painter.image *= 1 + level[..., None] * (1 / 128)


def paint_lawn(painter: Painter, climate: Climate, polygon: np.ndarray) -> None:
    """A plot of its own green or soil, sometimes mown or ploughed in stripes."""
    rng = painter.rng
    colors = climate.lush if rng.random() < 0.6 else climate.grounds
    pattern, amplitude = None, 0.0
    if rng.random() < 0.3:
        period = max(3.0, rng.uniform(0.7, 3) / painter.gsd_m)
        pattern, amplitude = stripes(rng.uniform(0, np.pi), period), rng.uniform(3, 12)
    painter.fill(
        [polygon],
        pick(rng, colors, 12),
        rng.uniform(5, 14),
        "soil",
        pattern,
        amplitude,
        soft=rng.uniform(0.5, 3),
    )


def paint_paving(painter: Painter, climate: Climate, polygon: np.ndarray, color=None) -> np.ndarray:
    """A paved area; gives back its colour."""
    rng = painter.rng
    color = pick(rng, climate.paving, 10) if color is None else color
    painter.fill([polygon], color, rng.uniform(2, 7), "clouds", soft=0.6)
    painter.fill([polygon], color, rng.uniform(2, 7), "soil", soft=0.6, opacity=0.5)
    return color


def paint_street(
    painter: Painter, climate: Climate, start, end, width_m: float, planned: bool, color
) -> None:
    """A straight street between two pixels, with pavements and markings where planned."""
    rng, gsd = painter.rng, painter.gsd_m
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start
    length = float(np.hypot(*along))
    angle = float(np.arctan2(along[1], along[0]))
    middle = (start + end) / 2
    if planned and rng.random() < 0.7:
        side_walk = width_m + rng.uniform(2.5, 6)
        painter.fill(
            [rectangle(middle, length, side_walk / gsd, angle)], pick(rng, climate.paving, 8), 5, soft=0.6
        )
    painter.fill(
        [rectangle(middle, length, width_m / gsd, angle)],
        color,
        rng.uniform(2, 6),
        "clouds",
        soft=0.7 if planned else 2.0,
    )
    painter.fill(
        [rectangle(middle, length, width_m / gsd * 0.98, angle)],
        color,
        rng.uniform(2, 7),
        "grain",
        soft=1,
        opacity=0.5,
    )
    if not planned or rng.random() < 0.25:
        return
    white = np.float32([225, 225, 220]) * rng.uniform(0.8, 1)
    normal = np.array([-np.sin(angle), np.cos(angle)])
    direction = np.array([np.cos(angle), np.sin(angle)])
    mark_px = max(0.8, 0.18 / gsd)
    dash, gap = 3.0 / gsd, rng.uniform(3, 6) / gsd
    for t in np.arange(-length / 2, length / 2, dash + gap):
        painter.fill([rectangle(middle + direction * t, dash, mark_px, angle)], white, opacity=0.8)
    if rng.random() < 0.5:
        for side in (-1, 1):
            centre = middle + normal * side * (width_m / 2 - 0.3) / gsd
            painter.fill([rectangle(centre, length, mark_px, angle)], white, opacity=0.7)


def paint_crossing(painter: Painter, centre, angle: float, width_m: float) -> None:
    """Zebra stripes across a street that runs along ``angle``."""
    gsd, rng = painter.gsd_m, painter.rng
    normal = np.array([-np.sin(angle), np.cos(angle)])
    for t in np.arange(-width_m / 2 + 0.5, width_m / 2 - 0.2, 1.0):
        bar = rectangle(np.asarray(centre) + normal * t / gsd, 3 / gsd, 0.5 / gsd, angle)
        painter.fill([bar], (222, 222, 218), opacity=float(rng.uniform(0.6, 0.9)))


def paint_tracks(painter: Painter) -> None:
    """A bare footpath or wheel tracks winding over the soil."""
    rng, size = painter.rng, max(painter.height, painter.width)
    knots = np.cumsum(rng.normal(0, size / 5, (6, 2)), axis=0) + rng.uniform(0, size, 2)
    curve = cv2.resize(knots.astype(np.float32), (2, 60), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((painter.height, painter.width), np.uint8)
    width = max(1, int(rng.uniform(0.6, 2) / painter.gsd_m))
    cv2.polylines(mask, [np.round(curve).astype(np.int32)], False, 255, width, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(mask, (0, 0), 1.5).astype(np.float32)[..., None] * (rng.uniform(0.3, 0.7) / 255)
    painter.image += (painter.image.mean((0, 1)) * rng.uniform(0.9, 1.4) - painter.image) * alpha
