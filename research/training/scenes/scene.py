"""One scene from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research.training.scenes import clutter, ground, plants
from research.training.scenes.climate import CLIMATES
from research.training.scenes.clutter import CONTAINER, POOL
from research.training.scenes.layout import lay_out
from research.training.scenes.paint import Painter
from research.training.scenes.plants import TREE
from research.training.scenes.roofs import BUILDING, ROOF_KINDS, cast_shadow, paint_building
from research.training.scenes.sensor import expose
from research.training.scenes.town import Town, vehicle_fits
from research.training.scenes.vehicles import VEHICLE, paint_vehicle

__all__ = ["BUILDING", "CONTAINER", "POOL", "TREE", "VEHICLE", "Scene", "make_scene", "paint_town"]
SMALLEST_SHARE = 0.35  # of its roof that must be seen for an instance to stay labelled


@dataclass
class Scene:
    """A picture and what is in it.

    Attributes
    ----------
    image : numpy.ndarray
        (H, W, 3) uint8, RGB.
    instances : numpy.ndarray
        (H, W) int32, 0 = nothing, otherwise the index into ``kinds``.
    kinds : numpy.ndarray
        (n + 1,) uint8: kind of instance i; ``kinds[0]`` is 0.
    gsd_m : float
        Metres per pixel.
    """

    image: np.ndarray
    instances: np.ndarray
    kinds: np.ndarray
    gsd_m: float


def make_scene(seed: int, size: int = 512, gsd_m: float | None = None) -> Scene:
    """Draw a random scene.

    Parameters
    ----------
    seed : int
        Same seed, same scene.
    size : int
        Side in pixels.
    gsd_m : float, optional
        Ground resolution; by default random, 0.08 to 0.6 m.
    """
    rng = np.random.default_rng([20261122, seed])
    if gsd_m is None:
        gsd_m = float(np.exp(rng.uniform(np.log(0.08), np.log(0.6) if rng.random() < 0.6 else np.log(0.25))))
    painter = Painter(rng, size, size, gsd_m)
    town = _random_town(painter)
    paint_town(town)
    return Scene(
        expose(rng, painter.image), painter.instances, np.array([0, *painter.kinds], np.uint8), gsd_m
    )


def _random_town(painter: Painter) -> Town:
    rng = painter.rng
    climate = CLIMATES[rng.integers(len(CLIMATES))]
    ground.paint_soil(painter, climate)
    for _ in range(rng.integers(0, 3)):
        ground.paint_tracks(painter)
    direction = rng.uniform(0, 2 * np.pi)
    length = rng.choice([rng.uniform(0.2, 0.6), rng.uniform(0.5, 1.3)])  # noon or afternoon
    loose = climate.order > 0.6
    uses = {
        "houses": 1.0 + loose, "rows": 0.6, "dense": 1.6 - 1.3 * loose, "slabs": 0.3 + 0.4 * loose,
        "works": 0.6, "parking": 0.3 + 0.5 * loose, "park": 0.25, "field": 0.2,
    }  # fmt: skip
    # a scene has a character, two uses prevail; or it is mixed, halls beside sheds
    mixed = rng.random() < 0.4
    uses = {name: weight * (1 if mixed else rng.choice([0.15, 1, 3])) for name, weight in uses.items()}
    likely = [0.5, 0.1, 0.05, 0.15, 0.2] if climate.order < 0.3 else None  # dense towns: flat and tin
    styles = list(rng.choice(ROOF_KINDS[:5], rng.integers(1, 4), p=likely)) + list(
        ROOF_KINDS[:5] if rng.random() < 0.4 else []
    )
    return Town(
        painter,
        climate,
        sun_px=np.array([np.cos(direction), np.sin(direction)]) * length / painter.gsd_m,
        shadow=float(rng.choice([rng.uniform(0.45, 0.85), rng.uniform(0.08, 0.35)], p=[0.8, 0.2])),
        angle=float(rng.uniform(0, np.pi)),
        uses=uses,
        traffic=float(rng.uniform(0.1, 1.6)),
        greenery=float(rng.uniform(0, 1.2)),
        clutter=float(rng.uniform(0, 1)),
        roof_style=[str(style) for style in styles],
    )


def paint_town(town: Town, lean: float | None = None) -> None:
    """Lay out a town on painted soil and paint all of it, from the ground up."""
    painter, rng = town.painter, town.rng
    lay_out(town)
    flat_spots = [spot for spot in town.spots if spot[0] == "patch"]
    for _, spot in flat_spots:
        clutter.paint_patch(painter, spot, town.angle + rng.choice([0, rng.uniform(0, 3)]))
    for vehicle in town.vehicles:
        if vehicle_fits(town, vehicle):
            paint_vehicle(painter, vehicle, town.sun_px, town.shadow)
    _paint_spots(town)
    lean = float(rng.choice([0, rng.uniform(0, 0.16)], p=[0.6, 0.4])) if lean is None else lean
    lean_px = np.array([np.cos(a := rng.uniform(0, 2 * np.pi)), np.sin(a)]) * lean / painter.gsd_m
    ordered = sorted(town.buildings, key=lambda building: building.height_m)
    for building in ordered:
        cast_shadow(painter, building, town.sun_px, town.shadow)
    for building in ordered:
        # neighbours that stand against each other still shade each other's roofs a little
        if rng.random() < 0.5:
            cast_shadow(painter, building, town.sun_px * 0.25, town.shadow * 0.5)
        paint_building(painter, building, town.sun_px, lean_px)
    for centre, radius_m in town.trees:
        radius = radius_m / painter.gsd_m
        plants.paint_tree(painter, town.climate, centre, radius, town.sun_px, town.shadow * 0.9, label=True)
    _drop_hidden(painter, town)


def _paint_spots(town: Town) -> None:
    painter, rng = town.painter, town.rng
    for kind, spot in town.spots:
        if kind == "box":
            clutter.paint_box(
                painter, spot, town.angle + rng.choice([0, np.pi / 2]), town.sun_px, town.shadow
            )
        elif kind == "pool":
            clutter.paint_pool(painter, spot, town.angle)
        elif kind == "rubble":
            clutter.paint_rubble(painter, spot, rng.uniform(0.8, 3) / painter.gsd_m)
        elif kind == "hedge":
            plants.paint_hedge(painter, town.climate, spot[0], spot[1], town.sun_px, town.shadow)
        elif kind == "wall":
            clutter.paint_wall(painter, spot[0], spot[1], town.sun_px, town.shadow)


def _drop_hidden(painter: Painter, town: Town) -> None:
    """Remove labels of instances that crowns and neighbours hide almost wholly."""
    seen = np.bincount(painter.instances.ravel(), minlength=len(painter.kinds) + 1)
    drop = np.zeros(len(painter.kinds) + 1, bool)
    for building in town.buildings:
        covered = painter.coverage(building.wings)
        if building.instance and covered is not None:
            drop[building.instance] = seen[building.instance] < SMALLEST_SHARE * (covered[1] > 0.5).sum()
    drop |= seen < 6
    painter.instances[drop[painter.instances]] = 0
