"""Where things stand: streets in a grid, and the blocks between them."""

from __future__ import annotations

import numpy as np

from research.training.scenes import ground
from research.training.scenes.blocks import plan_block
from research.training.scenes.town import Town
from research.training.scenes.vehicles import choose_vehicle


def lay_out(town: Town) -> None:
    """Paint streets and plan every block."""
    rng = town.rng
    reach = 0.75 * max(town.painter.width, town.painter.height) * town.painter.gsd_m
    u_lines, v_lines = _street_lines(town, reach), _street_lines(town, reach)
    for u0, u1 in zip(u_lines[:-1], u_lines[1:]):
        for v0, v1 in zip(v_lines[:-1], v_lines[1:]):
            rect = (u0[0] + u0[1] / 2, v0[0] + v0[1] / 2, u1[0] - u1[1] / 2, v1[0] - v1[1] / 2)
            if town.seen(rect):
                _block_ground(town, rect)
    planned = town.climate.order > 0.6
    color = ground.pick(rng, town.climate.paving, 10)
    for lines, along_u in ((u_lines, False), (v_lines, True)):
        for position, width in lines:
            ends = (
                [(-reach, position), (reach, position)]
                if along_u
                else [(position, -reach), (position, reach)]
            )
            ground.paint_street(
                town.painter, town.climate, town.px(*ends[0]), town.px(*ends[1]), width, planned, color
            )
            _street_vehicles(town, position, width, along_u, reach)
            if planned and width > 6:
                for other, _ in u_lines if along_u else v_lines:
                    if rng.random() < 0.2:
                        at = (
                            (other + rng.choice([-8, 8]), position)
                            if along_u
                            else (position, other + rng.choice([-8, 8]))
                        )
                        ground.paint_crossing(
                            town.painter, town.px(*at), town.angle + (0 if along_u else np.pi / 2), width
                        )
    for u0, u1 in zip(u_lines[:-1], u_lines[1:]):
        for v0, v1 in zip(v_lines[:-1], v_lines[1:]):
            margin = rng.uniform(0.5, 4)
            rect = (
                u0[0] + u0[1] / 2 + margin,
                v0[0] + v0[1] / 2 + margin,
                u1[0] - u1[1] / 2 - margin,
                v1[0] - v1[1] / 2 - margin,
            )
            if town.seen(rect):
                plan_block(town, rect)


def _street_lines(town: Town, reach: float) -> list[tuple[float, float]]:
    """Positions and widths (metres) of parallel streets; 0 wide where two blocks meet without one."""
    rng, lines = town.rng, []
    position = -reach - rng.uniform(0, 60)
    width = rng.uniform(4.5, 8)
    while position < reach + 60:
        real = width * rng.uniform(0.8, 1.2) if rng.random() < 0.8 else 0.0
        if rng.random() < 0.1:
            real = rng.uniform(9, 16)
        lines.append((position, real))
        position += rng.uniform(34, 95)
    return lines


def _block_ground(town: Town, rect) -> None:
    if town.rng.random() < 0.5:
        ground.paint_lawn(town.painter, town.climate, town.quad(rect))


def _street_vehicles(town: Town, position: float, width: float, along_u: bool, reach: float) -> None:
    """Parked along both kerbs, and traffic in the lanes."""
    rng = town.rng
    if width < 4:
        return
    heading = town.angle + (0 if along_u else np.pi / 2)
    lanes = [(side * (width / 2 - 1.1), 0.35 * town.traffic) for side in (-1, 1)]
    lanes += [(side * width / 4, 0.10 * town.traffic) for side in (-1, 1)]
    for offset, density in lanes:
        density *= rng.uniform(0, 2)
        at = -reach
        while at < reach:
            at += rng.uniform(5.4, 7)
            if rng.random() < density:
                u, v = (at, position + offset) if along_u else (position + offset, at)
                spot = town.px(u, v)
                if town.painter.window(spot[None], 3) is not None:
                    town.vehicles.append(choose_vehicle(rng, spot, heading + rng.normal(0, 0.03), 0.06))
