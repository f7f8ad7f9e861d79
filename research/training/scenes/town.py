"""A scene being planned: its character, its own coordinates, and what is still to be painted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from research.training.scenes.climate import Climate
from research.training.scenes.paint import Painter, rectangle
from research.training.scenes.roofs import Building, roof_color, wings
from research.training.scenes.vehicles import Vehicle, outline


@dataclass
class Town:
    """A scene being planned: the painter, the place's character and what is still to be painted."""

    painter: Painter
    climate: Climate
    sun_px: np.ndarray  # shadow of one metre of height, in pixels
    shadow: float
    angle: float
    uses: dict[str, float]
    traffic: float = 0.5
    greenery: float = 0.5
    clutter: float = 0.5
    roof_style: list[str] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    vehicles: list[Vehicle] = field(default_factory=list)
    trees: list[tuple[np.ndarray, float]] = field(default_factory=list)
    spots: list[tuple[str, np.ndarray]] = field(default_factory=list)

    @property
    def rng(self) -> np.random.Generator:
        return self.painter.rng

    def px(self, u, v) -> np.ndarray:
        """Pixel of the town's own coordinates (metres from the image's centre along its streets)."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        centre = np.array([self.painter.width, self.painter.height]) / 2
        return centre + np.array([u * c - v * s, u * s + v * c]) / self.painter.gsd_m

    def quad(self, rect) -> np.ndarray:
        """Corners in pixels of a rectangle (u0, v0, u1, v1)."""
        u0, v0, u1, v1 = rect
        return np.array([self.px(u0, v0), self.px(u1, v0), self.px(u1, v1), self.px(u0, v1)])

    def seen(self, rect) -> bool:
        """Whether a rectangle may touch the image."""
        return self.painter.window(self.quad(rect), 4) is not None


def split(rng: np.random.Generator, rect, least: float, most: float) -> list[tuple]:
    """Cut a rectangle at random until no side is longer than about ``most`` (metres)."""
    u0, v0, u1, v1 = rect
    if min(u1 - u0, v1 - v0) <= 0:
        return []
    long_u = u1 - u0 > v1 - v0
    side = max(u1 - u0, v1 - v0)
    if side < 2 * least or (side < most and rng.random() < 0.5):
        return [rect]
    cut = rng.uniform(max(0.3, least / side), min(0.7, 1 - least / side))
    if long_u:
        middle = u0 + (u1 - u0) * cut
        halves = (u0, v0, middle, v1), (middle, v0, u1, v1)
    else:
        middle = v0 + (v1 - v0) * cut
        halves = (u0, v0, u1, middle), (u0, middle, u1, v1)
    return [part for half in halves for part in split(rng, half, least, most)]


def add_building(
    town: Town,
    rect,
    roof: str,
    height_m: float,
    gap_m: float,
    complexity: float,
    color=None,
    turn: float = 0.0,
):
    """Plan one building that fills a rectangle (metres), if nothing stands there; None otherwise."""
    u0, v0, u1, v1 = rect
    if min(u1 - u0, v1 - v0) < 2 or not town.seen(rect):
        return None
    rng = town.rng
    length, width, angle = u1 - u0, v1 - v0, town.angle + turn
    if length < width:
        length, width, angle = width, length, angle + np.pi / 2
    gsd = town.painter.gsd_m
    parts = wings(rng, town.px((u0 + u1) / 2, (v0 + v1) / 2), length / gsd, width / gsd, angle, complexity)
    if not town.painter.free(parts, gap_m):
        return None
    town.painter.occupy(parts)
    color = roof_color(rng, roof, town.climate) if color is None else color * rng.normal(1, 0.05)
    building = Building(parts, angle, height_m, roof, np.clip(color, 15, 245), 0)
    town.buildings.append(building)
    return building


def vehicle_fits(town: Town, vehicle: Vehicle) -> bool:
    """Whether a vehicle's outline is free; takes the place if so."""
    body = outline(vehicle, town.painter.gsd_m)
    if not town.painter.free([body], 0.25):
        return False
    town.painter.occupy(
        [
            rectangle(
                vehicle.centre,
                vehicle.length_m / town.painter.gsd_m,
                vehicle.width_m / town.painter.gsd_m,
                vehicle.angle,
            )
        ]
    )
    return True


def some_roof(town: Town) -> str:
    return str(town.rng.choice(town.roof_style))
