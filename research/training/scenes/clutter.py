"""Things that are neither building nor vehicle: to be told apart from both."""

from __future__ import annotations

import numpy as np

from research.training.scenes.climate import pick
from research.training.scenes.paint import Painter, rectangle, swept

POOL, CONTAINER = 4, 5
BOXES = [(176, 60, 44), (40, 84, 140), (70, 110, 74), (206, 206, 202), (120, 84, 62), (200, 160, 60)]


def paint_box(painter: Painter, centre, angle: float, sun_px: np.ndarray, shadow: float) -> None:
    """A container, a bin or a crate: a plain box with a shadow."""
    rng, gsd = painter.rng, painter.gsd_m
    length, width, tall = (
        (rng.uniform(6, 12.2), 2.44, 2.6) if rng.random() < 0.4 else (*rng.uniform(0.8, 2.2, 2), 1.2)
    )
    box = rectangle(centre, length / gsd, width / gsd, angle)
    if not painter.free([box], 0.3):
        return
    painter.occupy([box])
    painter.darken([swept(box, sun_px * tall)], shadow)
    color = pick(rng, BOXES, 14)
    painter.fill([box], color, 3, "soil")
    if length > 5:
        painter.label([box], CONTAINER)
        # ribs
        direction = np.array([np.cos(angle), np.sin(angle)])
        for t in np.arange(-0.45, 0.5, 0.1):
            rib = rectangle(
                np.asarray(centre) + direction * t * length / gsd, max(0.8, 0.1 / gsd), width / gsd, angle
            )
            painter.fill([rib], color * 0.8, opacity=0.4)


def paint_pool(painter: Painter, centre, angle: float) -> None:
    """A swimming pool with a bright rim."""
    rng, gsd = painter.rng, painter.gsd_m
    size = rng.uniform([4, 2.5], [11, 5.5]) / gsd
    rim = rectangle(centre, *(size + 1.6 / gsd), angle)
    if painter.free([rim], 0.3):
        painter.occupy([rim])
        painter.fill([rim], (205, 198, 188), 5)
        painter.fill(
            [rectangle(centre, *size, angle)],
            pick(rng, [(86, 168, 190), (60, 140, 170), (110, 190, 200)], 10),
            4,
            "leaves",
        )
        painter.label([rim], POOL)


def paint_rubble(painter: Painter, centre, radius: float) -> None:
    """A heap of small bright and dark pieces."""
    rng = painter.rng
    for _ in range(int(rng.integers(8, 30))):
        spot = np.asarray(centre) + rng.normal(0, radius / 2, 2)
        size = rng.uniform(0.2, 1.2, 2) / painter.gsd_m
        piece = rectangle(spot, *np.maximum(size, 0.8), rng.uniform(0, np.pi))
        painter.fill([piece], pick(rng, [(200, 196, 190), (120, 112, 104), (60, 56, 52), (150, 110, 86)], 20))


def paint_patch(painter: Painter, centre, angle: float) -> None:
    """A bright or dark rectangle on the ground without height: a slab, a tarpaulin, a repaired surface."""
    rng = painter.rng
    size = rng.uniform(1.5, 9, 2) / painter.gsd_m
    color = pick(rng, [(206, 202, 194), (84, 82, 80), (150, 130, 110), (70, 110, 150), (186, 150, 120)], 16)
    painter.fill(
        [rectangle(centre, *size, angle)],
        color,
        rng.uniform(2, 9),
        "soil",
        soft=rng.uniform(0, 1.5),
        opacity=rng.uniform(0.5, 1),
    )


def paint_wall(painter: Painter, start, end, sun_px: np.ndarray, shadow: float) -> None:
    """A garden wall or fence."""
    rng = painter.rng
    start, end = np.asarray(start, float), np.asarray(end, float)
    vector = end - start
    line = rectangle(
        (start + end) / 2,
        float(np.hypot(*vector)),
        max(0.7, 0.25 / painter.gsd_m),
        float(np.arctan2(*vector[::-1])),
    )
    painter.darken([swept(line, sun_px * rng.uniform(1, 2.2))], shadow * 0.8)
    painter.fill([line], pick(rng, [(190, 182, 170), (150, 120, 96), (110, 104, 98)], 14))
