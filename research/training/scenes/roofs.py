"""Buildings: outlines of one to three wings, and roofs of six kinds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from research.training.scenes.climate import DARK_FELT, GREY_CONCRETE, TILES, TIN, Climate, pick
from research.training.scenes.paint import Painter, rectangle, sheets, stripes, swept

BUILDING = 1
ROOF_KINDS = ("flat", "gable", "hip", "shed", "tin", "sawtooth")


@dataclass
class Building:
    """Where a building stands and what its roof is (pixels, radians, metres of height)."""

    wings: list[np.ndarray]  # convex quadrilaterals
    angle: float
    height_m: float
    roof: str
    color: np.ndarray
    instance: int = 0


def wings(rng: np.random.Generator, centre, length: float, width: float, angle: float, complexity: float):
    """Rectangles that make up an outline: one, or an L, T or stepped shape inside length x width."""
    if rng.random() > complexity:
        return [rectangle(centre, length, width, angle)]
    u = np.array([np.cos(angle), np.sin(angle)])
    v = np.array([-u[1], u[0]])
    side = rng.choice([-1, 1])
    deep = width * rng.uniform(0.45, 0.65)
    main = rectangle(np.asarray(centre) - v * side * (width - deep) / 2, length, deep, angle)
    short = length * rng.uniform(0.3, 0.5)
    shift = (length - short) / 2 * rng.choice([-1, 1, 1, rng.uniform(-0.6, 0.6)])
    # the wing reaches into the main body, as roofs do
    wing_width = width - deep * 0.5
    wing = rectangle(
        np.asarray(centre) + u * shift + v * side * (width - wing_width) / 2,
        wing_width,
        short,
        angle + np.pi / 2,
    )
    return [main, wing]


def roof_color(rng: np.random.Generator, roof: str, climate: Climate) -> np.ndarray:
    """A colour that such a roof has."""
    if roof == "flat":
        return pick(rng, DARK_FELT if climate.order > 0.7 and rng.random() < 0.5 else GREY_CONCRETE, 14)
    if roof in ("tin", "shed", "sawtooth"):
        return pick(rng, TIN, 16)
    own = climate.roofs[rng.integers(len(climate.roofs))]
    return pick(rng, own if own is not TIN else TILES, 14)


def cast_shadow(painter: Painter, building: Building, sun_px: np.ndarray, strength: float) -> None:
    """Darken the ground beside a building; ``sun_px`` is the shadow of one metre, in pixels."""
    offset = sun_px * building.height_m
    painter.darken(
        [swept(wing, offset) for wing in building.wings], strength, soft=max(0.6, 0.12 / painter.gsd_m)
    )


def paint_building(painter: Painter, building: Building, sun_px: np.ndarray, lean_px: np.ndarray) -> None:
    """Draw walls and roof, and label the roof."""
    sun = sun_px / (np.hypot(*sun_px) + 1e-6)
    if np.hypot(*lean_px) * building.height_m > 0.8:
        # off nadir the roof is displaced: what is left of the footprint's sweep is wall
        foot = [wing - lean_px * building.height_m for wing in building.wings]
        wall = building.color * 0.5 + np.float32([60, 57, 54]) * painter.rng.uniform(0.5, 1.4)
        hulls = [swept(f, lean_px * building.height_m) for f in foot]
        painter.fill(hulls, wall * painter.rng.uniform(0.6, 1.1), 8, "grain")
    painters = {
        "flat": _flat,
        "gable": _gable,
        "hip": _hip,
        "shed": _shed,
        "tin": _tin,
        "sawtooth": _sawtooth,
    }
    painters[building.roof](painter, building, sun)
    if painter.rng.random() < 0.12:
        # weathering: the same roof with another stain
        painter.fill(
            building.wings, building.color * painter.rng.uniform(0.7, 1.2), 14, "clouds", opacity=0.4
        )
    building.instance = painter.label(building.wings, BUILDING)


def _oriented(wing: np.ndarray):
    """Corner order, axes and sizes with the first axis along the longer side."""
    edge, other = wing[1] - wing[0], wing[3] - wing[0]
    if np.hypot(*edge) < np.hypot(*other):
        wing = np.roll(wing, -1, axis=0)
        edge, other = wing[1] - wing[0], wing[3] - wing[0]
    length, width = float(np.hypot(*edge)), float(np.hypot(*other))
    return wing, edge / length, other / width, length, width


def _slope(painter, face, normal, color, sun, covering):
    """One roof face: brighter towards the sun (``sun`` points where shadows fall)."""
    shade = 1 - covering["contrast"] * float(normal @ sun)
    pattern, amplitude = None, 0.0
    if covering["period"] > 1.8:
        pattern, amplitude = (
            stripes(np.arctan2(*normal[::-1]) + covering["turn"], covering["period"]),
            covering["amplitude"],
        )
    painter.fill([face], color * shade, covering["grain"], covering["texture"], pattern, amplitude)


def _covering(painter: Painter) -> dict:
    rng = painter.rng
    return {
        "contrast": rng.uniform(0.08, 0.34),
        "grain": rng.uniform(2, 9),
        "texture": str(rng.choice(["grain", "soil", "leaves"])),
        "period": rng.uniform(0.25, 0.9) / painter.gsd_m,
        "amplitude": rng.choice([0.0, rng.uniform(2, 9)]),
        "turn": rng.choice([0.0, np.pi / 2]),
    }


def _ridge_line(painter, start, end, color):
    vector = end - start
    if np.hypot(*vector) > 2:
        line = rectangle(
            (start + end) / 2,
            float(np.hypot(*vector)),
            max(1.0, 0.25 / painter.gsd_m),
            float(np.arctan2(*vector[::-1])),
        )
        painter.fill([line], color * painter.rng.choice([0.7, 1.25]), opacity=0.6)


def _gable(painter: Painter, building: Building, sun: np.ndarray) -> None:
    _pitched(painter, building, sun, 0.0)


def _hip(painter: Painter, building: Building, sun: np.ndarray) -> None:
    _pitched(painter, building, sun, painter.rng.uniform(0.35, 0.55))


def _pitched(painter: Painter, building: Building, sun: np.ndarray, inset: float) -> None:
    covering = _covering(painter)
    for wing in building.wings:
        p, u, v, length, width = _oriented(wing)
        cut = min(inset * width, length * 0.5)
        start, end = (p[0] + p[3]) / 2 + u * cut, (p[1] + p[2]) / 2 - u * cut
        _slope(painter, np.array([p[0], p[1], end, start]), -v, building.color, sun, covering)
        _slope(painter, np.array([p[3], p[2], end, start]), v, building.color, sun, covering)
        if cut > 0:
            _slope(painter, np.array([p[0], p[3], start]), -u, building.color, sun, covering)
            _slope(painter, np.array([p[1], p[2], end]), u, building.color, sun, covering)
        if covering["amplitude"] or painter.rng.random() < 0.5:
            _ridge_line(painter, start, end, building.color)
    _small_installations(painter, building, sun, chance=0.5, most=3)


def _flat(painter: Painter, building: Building, sun: np.ndarray) -> None:
    rng, gsd = painter.rng, painter.gsd_m
    painter.fill(building.wings, building.color, rng.uniform(2, 6), "clouds")
    painter.fill(building.wings, building.color, rng.uniform(3, 10), "soil", opacity=0.6)
    _parapet(painter, building, sun)
    if rng.random() < 0.35:
        _terrace_parts(painter, building, sun)
    _small_installations(painter, building, sun, chance=0.8, most=8)
    if rng.random() < 0.25:
        # seams of the roofing felt
        p, u, v, length, width = _oriented(building.wings[0])
        for t in np.arange(-0.4, 0.45, max(0.1, 1.2 / gsd / width)):
            seam = rectangle(p.mean(0) + v * t * width, length * 0.95, 1.0, float(np.arctan2(*u[::-1])))
            painter.fill([seam], building.color * 0.85, opacity=0.4)


def _parapet(painter: Painter, building: Building, sun: np.ndarray) -> None:
    """A raised rim: a bright ring, and its shadow on the roof inside."""
    rng = painter.rng
    covered = painter.coverage(building.wings)
    reach = round(rng.uniform(0.2, 0.45) / painter.gsd_m)
    if covered is None or reach < 1 or rng.random() < 0.2:
        return
    window, alpha = covered
    inner = cv2.erode(alpha, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8), borderValue=1.0)
    part = painter.image[window]
    shift = sun * reach * rng.uniform(1, 3)
    moved = cv2.warpAffine(
        1 - inner, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), alpha.shape[::-1], borderValue=1.0
    )
    part *= 1 - (np.minimum(moved, inner) * rng.uniform(0.1, 0.5))[..., None]
    rim = building.color * rng.uniform(1.05, 1.4) if rng.random() < 0.75 else building.color * 0.7
    part += (np.minimum(rim, 245) - part) * ((alpha - inner).clip(0, 1) * rng.uniform(0.5, 1))[..., None]


def _terrace_parts(painter: Painter, building: Building, sun: np.ndarray) -> None:
    """A stair house, a second level or a tin lean-to on a flat roof."""
    rng = painter.rng
    p, u, v, length, width = _oriented(building.wings[0])
    for _ in range(rng.integers(1, 3)):
        size = rng.uniform(0.2, 0.5, 2) * [length, width]
        shift = (rng.choice([-1, 1], 2) * ([length, width] - size) / 2) * rng.uniform(0.6, 0.97, 2)
        part = rectangle(
            p.mean(0) + u * shift[0] + v * shift[1], size[0], size[1], float(np.arctan2(*u[::-1]))
        )
        painter.darken([swept(part, sun * rng.uniform(0.5, 2.5) / painter.gsd_m)], rng.uniform(0.2, 0.5))
        color = pick(rng, TIN if rng.random() < 0.4 else GREY_CONCRETE, 14)
        pattern = stripes(building.angle, max(2.5, 0.3 / painter.gsd_m)) if rng.random() < 0.4 else None
        painter.fill([part], color, 5, "soil", pattern, 7)


def _shed(painter: Painter, building: Building, sun: np.ndarray) -> None:
    """One slope of large sheets in one colour."""
    rng = painter.rng
    period = rng.uniform(0.3, 1.2) / painter.gsd_m
    turn = building.angle + rng.choice([0, np.pi / 2])
    pattern = stripes(turn, period) if period > 2 else None
    painter.fill(building.wings, building.color, rng.uniform(2, 7), "soil", pattern, rng.uniform(2, 9))
    if rng.random() < 0.5:
        pieces = sheets(rng, turn, max(3, 5 / painter.gsd_m), 400)
        painter.fill(building.wings, building.color, 4, "clouds", pieces, rng.uniform(4, 14), opacity=0.6)
    _small_installations(painter, building, sun, chance=0.35, most=6)


def _tin(painter: Painter, building: Building, sun: np.ndarray) -> None:
    """Corrugated sheets of different age: a patchwork, rusty in places; one slope or two."""
    rng, gsd = painter.rng, painter.gsd_m
    turn = building.angle + rng.choice([0, np.pi / 2])
    if rng.random() < 0.5:
        _pitched(painter, building, sun, 0.0)
    else:
        painter.fill(building.wings, building.color, 5, "soil")
    patches = sheets(rng, turn, max(2.5, rng.uniform(0.8, 1.4) / gsd), max(5, rng.uniform(2, 4) / gsd))
    painter.fill(building.wings, building.color, 4, "grain", patches, rng.uniform(8, 26), opacity=0.6)
    if rng.random() < 0.6:
        rust = np.float32([128, 84, 60]) * rng.uniform(0.8, 1.2)
        other = sheets(
            rng, turn + np.pi / 2, max(2.5, rng.uniform(1, 3) / gsd), max(5, rng.uniform(2, 4) / gsd)
        )
        painter.fill(building.wings, rust, 16, "clouds", other, 16, opacity=rng.uniform(0.15, 0.55))
    period = rng.uniform(0.2, 0.4) / gsd
    if period > 1.8:
        painter.fill(building.wings, building.color, 0, "grain", stripes(turn, period), 18, opacity=0.35)


def _sawtooth(painter: Painter, building: Building, sun: np.ndarray) -> None:
    """A hall whose roof is several parallel gables."""
    covering = _covering(painter)
    for wing in building.wings:
        p, u, v, length, width = _oriented(wing)
        n = max(2, int(length * painter.gsd_m / painter.rng.uniform(6, 12)))
        for i in range(2 * n):
            a, b = p[0] + u * length * i / (2 * n), p[0] + u * length * (i + 1) / (2 * n)
            face = np.array([a, b, b + v * width, a + v * width])
            _slope(painter, face, u if i % 2 else -u, building.color, sun, covering)


def _small_installations(
    painter: Painter, building: Building, sun: np.ndarray, chance: float, most: int
) -> None:
    """Chimneys, vents, skylights, water tanks, solar panels: on a roof, and no objects of their own."""
    rng, gsd = painter.rng, painter.gsd_m
    if rng.random() > chance:
        return
    p, u, v, length, width = _oriented(building.wings[rng.integers(len(building.wings))])
    angle = float(np.arctan2(*u[::-1]))
    row = rng.random() < 0.3  # skylights and panels stand in rows
    size = rng.uniform(0.5, 2.2, 2) / gsd
    color = pick(rng, [(40, 44, 60), (210, 212, 214), (90, 90, 92), (150, 110, 90), (60, 90, 130)], 14)
    n = int(rng.integers(1, most + 1))
    for i in range(n):
        if not row:
            size = rng.uniform(0.4, 2.2, 2) / gsd
            color = pick(rng, [(40, 44, 60), (210, 212, 214), (90, 90, 92), (150, 110, 90), (30, 30, 32)], 14)
        along = ((i + 0.5) / n - 0.5) * 0.8 if row else rng.uniform(-0.42, 0.42)
        across = 0.22 if row else rng.uniform(-0.4, 0.4)
        if min(length, width) < 2.5 * size.max():
            continue
        centre = p.mean(0) + u * along * length + v * across * width
        if rng.random() < 0.6 and not row:
            painter.darken([rectangle(centre + sun * size.min() * 0.6, *size, angle)], 0.4)
        if not row and rng.random() < 0.25:
            turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)[:, None]
            painter.fill([centre + np.hstack([np.cos(turn), np.sin(turn)]) * size[0] / 2], color)
        else:
            painter.fill([rectangle(centre, *size, angle)], color)
