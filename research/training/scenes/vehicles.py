"""Cars, vans, buses and trucks seen from above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research.training.scenes.paint import Painter, rectangle, swept

VEHICLE = 2
PAINTS = [  # half of all cars are white, grey or black
    (236, 236, 234), (228, 229, 230), (214, 214, 212), (44, 44, 47), (30, 31, 34), (66, 68, 72),
    (160, 163, 166), (172, 175, 178), (132, 136, 140), (98, 102, 108), (34, 40, 56),
    (232, 233, 232), (226, 226, 222), (38, 38, 42), (52, 54, 58), (150, 152, 156), (120, 124, 128),
    (184, 186, 190), (150, 32, 34), (44, 62, 122), (30, 44, 80), (96, 30, 36), (70, 98, 84), (196, 178, 120),
    (214, 150, 40), (92, 84, 74), (176, 60, 40),
]  # fmt: skip
GLASS = np.float32([38, 44, 52])


@dataclass
class Vehicle:
    """One vehicle: centre in pixels, heading (front) in radians, size in metres."""

    centre: np.ndarray
    angle: float
    kind: str
    length_m: float
    width_m: float
    instance: int = 0


def choose_vehicle(rng: np.random.Generator, centre, angle: float, trucks: float = 0.06) -> Vehicle:
    """A vehicle of random kind and size; ``trucks`` is the share of trucks and buses."""
    dice = rng.random()
    if dice < trucks:
        kind, length, width = ("truck", rng.uniform(6.5, 14), rng.uniform(2.3, 2.6))
        if rng.random() < 0.3:
            kind, length = "bus", rng.uniform(8, 12.5)
    elif dice < trucks + 0.12:
        kind, length, width = "van", rng.uniform(4.8, 6.2), rng.uniform(1.9, 2.1)
    else:
        kind, length, width = (
            str(rng.choice(["saloon", "hatch", "estate"])),
            rng.uniform(3.7, 4.9),
            rng.uniform(1.65, 1.9),
        )
    if rng.random() < 0.5:
        angle += np.pi
    return Vehicle(np.asarray(centre, float), angle, kind, length, width)


def outline(vehicle: Vehicle, gsd_m: float) -> np.ndarray:
    """The vehicle's outline: a rectangle with rounded corners, slightly narrower in front."""
    half_l, half_w = vehicle.length_m / 2, vehicle.width_m / 2
    corner = 0.12 if vehicle.kind in ("truck", "bus") else 0.45
    front = 0.9
    shape = np.array(
        [
            [half_l, half_w * 0.5],
            [half_l - corner * 0.6, half_w * front],
            [half_l - corner * 2, half_w],
            [-half_l + corner * 1.4, half_w],
            [-half_l + corner * 0.3, half_w * 0.92],
            [-half_l, half_w * 0.55],
        ]
    )
    shape = np.concatenate([shape, shape[::-1] * [1, -1]])
    return _place(vehicle, shape, gsd_m)


def _place(vehicle: Vehicle, shape_m: np.ndarray, gsd_m: float) -> np.ndarray:
    c, s = np.cos(vehicle.angle), np.sin(vehicle.angle)
    return np.asarray(shape_m) @ np.array([[c, s], [-s, c]]) / gsd_m + vehicle.centre


def paint_vehicle(painter: Painter, vehicle: Vehicle, sun_px: np.ndarray, shadow: float) -> None:
    """Draw a vehicle with its shadow and label it."""
    rng, gsd = painter.rng, painter.gsd_m
    body = outline(vehicle, gsd)
    tall = {"truck": 3.2, "bus": 3.0, "van": 2.1}.get(vehicle.kind, 1.45)
    painter.darken([swept(body, sun_px * tall * 0.8)], shadow, soft=max(0.5, 0.08 / gsd))
    # the contact shadow all round, which is there under clouds too
    painter.darken([_place(vehicle, _box(-0.52, 0.52, 1.1, vehicle), gsd)], 0.25, soft=max(0.6, 0.15 / gsd))
    color = np.float32(PAINTS[rng.integers(len(PAINTS))]) * rng.uniform(0.85, 1.1) + rng.normal(
        0, 5, 3
    ).astype(np.float32)
    color = np.clip(color, 20, 246)
    painter.fill([body], color * rng.uniform(0.82, 0.95), 2, "grain")
    draw = {"truck": _truck, "bus": _bus, "van": _van}.get(vehicle.kind, _car)
    draw(painter, vehicle, color, sun_px / (np.hypot(*sun_px) + 1e-6))
    vehicle.instance = painter.label([body], VEHICLE)


def _box(start: float, end: float, across: float, vehicle: Vehicle) -> np.ndarray:
    """Corners in metres of a part from ``start`` to ``end`` (shares of the length, front positive)."""
    half = vehicle.width_m / 2 * across
    length = vehicle.length_m
    return np.array(
        [[start * length, -half], [end * length, -half], [end * length, half], [start * length, half]]
    )


def _car(painter: Painter, vehicle: Vehicle, color: np.ndarray, sun: np.ndarray) -> None:
    gsd, rng = painter.gsd_m, painter.rng
    # sheen: hood and boot are brighter along the middle
    painter.fill(
        [_place(vehicle, _box(0.2, 0.46, 0.72, vehicle), gsd)],
        np.minimum(color * rng.uniform(0.95, 1.2), 250),
    )
    length, half = vehicle.length_m, vehicle.width_m / 2
    back = {"saloon": -0.3, "hatch": -0.42, "estate": -0.45}[vehicle.kind]
    cabin = [
        [0.22 * length, half * 0.68],
        [0.1 * length, half * 0.9],
        [(back + 0.08) * length, half * 0.9],
        [back * length, half * 0.66],
    ]
    cabin = np.array(cabin)
    glass = GLASS * rng.uniform(0.6, 1.9) + rng.normal(0, 5, 3)
    painter.fill(
        [_place(vehicle, np.concatenate([cabin, cabin[::-1] * [1, -1]]), gsd)], np.clip(glass, 15, 200)
    )
    roof = _box(back + 0.1, 0.09, 0.74, vehicle)
    top = np.minimum(color * rng.uniform(1.0, 1.15), 252)
    if rng.random() < 0.08:
        top = np.float32([45, 46, 50])
    painter.fill([_place(vehicle, roof, gsd)], top)
    if rng.random() < 0.3:
        # the sky mirrors in one of the windows
        bright = (
            _box(0.11, 0.19, 0.7, vehicle)
            if rng.random() < 0.6
            else _box(back + 0.02, back + 0.08, 0.6, vehicle)
        )
        painter.fill([_place(vehicle, bright, gsd)], (176, 188, 200), opacity=float(rng.uniform(0.3, 0.9)))


def _van(painter: Painter, vehicle: Vehicle, color: np.ndarray, sun: np.ndarray) -> None:
    gsd, rng = painter.gsd_m, painter.rng
    painter.fill([_place(vehicle, _box(0.22, 0.36, 0.82, vehicle), gsd)], GLASS * rng.uniform(0.7, 1.6))
    painter.fill(
        [_place(vehicle, _box(-0.47, 0.24, 0.84, vehicle), gsd)],
        np.minimum(color * rng.uniform(0.98, 1.15), 252),
        2,
    )


def _bus(painter: Painter, vehicle: Vehicle, color: np.ndarray, sun: np.ndarray) -> None:
    gsd = painter.gsd_m
    painter.fill([_place(vehicle, _box(-0.48, 0.46, 0.86, vehicle), gsd)], np.minimum(color * 1.1, 252), 2)
    for start in painter.rng.uniform(-0.4, 0.35, 2):
        painter.fill([_place(vehicle, _box(start, start + 0.12, 0.5, vehicle), gsd)], color * 0.75)


def _truck(painter: Painter, vehicle: Vehicle, color: np.ndarray, sun: np.ndarray) -> None:
    gsd, rng = painter.gsd_m, painter.rng
    share = min(0.3, 2.0 / vehicle.length_m)
    cab_back = 0.5 - share
    painter.fill([_place(vehicle, _box(0.41, 0.47, 0.84, vehicle), gsd)], GLASS)
    load = (
        np.float32(PAINTS[rng.integers(len(PAINTS))]) if rng.random() < 0.5 else np.float32([212, 212, 208])
    )
    if rng.random() < 0.3:
        load = np.float32([118, 100, 82]) * rng.uniform(0.7, 1.2)  # an open load bed
    painter.fill([_place(vehicle, _box(cab_back - 0.05, cab_back, 0.9, vehicle), gsd)], (42, 42, 44))
    painter.fill(
        [_place(vehicle, _box(-0.5, cab_back - 0.03, 0.98, vehicle), gsd)],
        load * rng.uniform(0.85, 1.05),
        5,
        "soil",
    )


def row_of_stalls(start, direction: np.ndarray, n: int, pitch_m: float, gsd_m: float) -> list[np.ndarray]:
    """Centres (pixels) of ``n`` parking stalls along ``direction``."""
    return [np.asarray(start) + direction * (i + 0.5) * pitch_m / gsd_m for i in range(n)]


def paint_stall_lines(
    painter: Painter, centres: list[np.ndarray], angle: float, pitch_m: float, depth_m: float
) -> None:
    """White lines between stalls whose vehicles stand along ``angle``."""
    gsd = painter.gsd_m
    across = np.array([-np.sin(angle), np.cos(angle)]) * pitch_m / 2 / gsd
    for centre in centres:
        painter.fill(
            [rectangle(centre + across, depth_m / gsd, max(0.7, 0.12 / gsd), angle)],
            (220, 220, 216),
            opacity=0.7,
        )
