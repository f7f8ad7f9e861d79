"""What a block between streets is used for: houses, terraces, halls, parking, a park."""

from __future__ import annotations

import numpy as np

from research.training.scenes import ground
from research.training.scenes.roofs import roof_color
from research.training.scenes.town import Town, add_building, some_roof, split
from research.training.scenes.vehicles import choose_vehicle, paint_stall_lines, row_of_stalls


def plan_block(town: Town, rect) -> None:
    names = list(town.uses)
    weights = np.array([town.uses[name] for name in names])
    use = names[town.rng.choice(len(names), p=weights / weights.sum())]
    {
        "houses": _houses, "rows": _rows, "dense": _dense, "slabs": _slabs,
        "works": _works, "parking": _parking, "park": _park, "field": _field,
    }[use](town, rect)  # fmt: skip


def _houses(town: Town, rect) -> None:
    """A loose suburb: a house on every plot, with a drive, a car, a shed, trees."""
    rng = town.rng
    own_color = roof_color(rng, "gable", town.climate) if rng.random() < 0.5 else None
    for plot in split(rng, rect, 13, rng.uniform(20, 34)):
        if not town.seen(plot):
            continue
        u0, v0, u1, v1 = plot
        if rng.random() < 0.5:
            ground.paint_lawn(town.painter, town.climate, town.quad(plot))
        size = np.minimum([u1 - u0, v1 - v0], rng.uniform([8, 7], [18, 13])) * rng.uniform(0.65, 0.95)
        free = np.array([u1 - u0, v1 - v0]) - size
        corner = np.array([u0, v0]) + free * rng.uniform(0.15, 0.85, 2)
        if rng.random() < 0.92:
            color = own_color if rng.random() < 0.6 else None
            turn = rng.normal(0, 0.04) if rng.random() < 0.85 else rng.uniform(-0.8, 0.8)
            add_building(
                town,
                (*corner, *(corner + size)),
                some_roof(town),
                rng.uniform(3.5, 8),
                0.5,
                0.35,
                color,
                turn,
            )
        _plot_edges(town, plot)
        if rng.random() < 0.6:
            _drive(town, plot)
        if rng.random() < 0.45:
            shed = rng.uniform(2.2, 4.5, 2)
            at = np.array([u0 + 0.5, v0 + 0.5]) + rng.random(2) * np.maximum([u1 - u0, v1 - v0] - shed - 1, 0)
            add_building(town, (*at, *(at + shed)), str(rng.choice(["shed", "tin", "gable"])), 2.4, 0.4, 0)
        for _ in range(rng.poisson(4 * town.greenery)):
            town.trees.append((town.px(rng.uniform(u0, u1), rng.uniform(v0, v1)), rng.uniform(0.8, 3.4)))
        for _ in range(rng.poisson(2 * town.clutter)):
            town.spots.append(
                (
                    str(rng.choice(["box", "patch", "rubble", "pool"])),
                    town.px(rng.uniform(u0, u1), rng.uniform(v0, v1)),
                )
            )


def _plot_edges(town: Town, plot) -> None:
    corners = town.quad(plot)
    for a, b in zip(corners, np.roll(corners, -1, axis=0)):
        dice = town.rng.random()
        if dice < 0.15:
            town.spots.append(("hedge", np.array([a, b])))
        elif dice < 0.3 + 0.3 * town.clutter:
            town.spots.append(("wall", np.array([a, b])))


def _drive(town: Town, plot) -> None:
    u0, v0, u1, v1 = plot
    rng = town.rng
    width, length = rng.uniform(3, 6), rng.uniform(6, 14)
    u, v = rng.uniform(u0, max(u0 + 0.1, u1 - width)), (v0 if rng.random() < 0.5 else v1 - length)
    ground.paint_paving(town.painter, town.climate, town.quad((u, v, u + width, v + length)))
    for _ in range(rng.integers(0, 3)):
        spot = town.px(rng.uniform(u + 1, u + width - 1), rng.uniform(v + 2.5, v + length - 2.5))
        town.vehicles.append(choose_vehicle(rng, spot, town.angle + np.pi / 2 + rng.normal(0, 0.06), 0.02))


def _rows(town: Town, rect) -> None:
    """Terraces: touching houses of one depth along two sides of the block, yards between."""
    rng = town.rng
    u0, v0, u1, v1 = rect
    depth = min(rng.uniform(7, 12), (v1 - v0) * 0.4)
    roof, height = some_roof(town), rng.uniform(5, 9)
    color = roof_color(rng, roof, town.climate)
    for low in (v0, v1 - depth):
        u = u0
        while u < u1 - 5:
            width = min(rng.uniform(5, 9) if rng.random() < 0.8 else rng.uniform(9, 15), u1 - u)
            if rng.random() < 0.93:
                shift = rng.choice([0.0, rng.uniform(-0.8, 0.8)])
                own = color if rng.random() < 0.7 else None
                own_roof = roof if own is not None else some_roof(town)
                house = (u, low + shift, u + width - 0.12, low + depth + shift)
                add_building(town, house, own_roof, height, 0.0, 0.1, own)
            u += width
    for plot in split(rng, (u0, v0 + depth + 3, u1, v1 - depth - 3), 9, 16):
        if rng.random() < 0.5:
            shed = rng.uniform(2, 5, 2)
            add_building(
                town,
                (plot[0] + 1, plot[1] + 1, plot[0] + 1 + shed[0], plot[1] + 1 + shed[1]),
                "shed",
                2.4,
                0.5,
                0,
            )
        _plot_edges(town, plot)
        if rng.random() < town.greenery:
            town.trees.append(
                (town.px(rng.uniform(plot[0], plot[2]), rng.uniform(plot[1], plot[3])), rng.uniform(1, 3))
            )


def _dense(town: Town, rect) -> None:
    """A dense settlement: buildings of all sizes wall to wall, narrow gaps, few yards."""
    rng = town.rng
    if rng.random() < 0.6:
        ground.paint_paving(town.painter, town.climate, town.quad(rect))
    empty, gap = rng.uniform(0.03, 0.3), rng.choice([0.15, 0.6, 1.5])
    for plot in split(rng, rect, 4.5, rng.uniform(9, 16)):
        u0, v0, u1, v1 = plot
        inset = rng.uniform(0, gap, 4)
        inner = (u0 + inset[0], v0 + inset[1], u1 - inset[2], v1 - inset[3])
        if rng.random() > empty:
            turn = rng.normal(0, 0.05) if rng.random() < 0.3 else 0.0
            add_building(
                town,
                inner,
                some_roof(town),
                rng.choice([3, 6, 9]) * rng.uniform(0.8, 1.2),
                0.0,
                0.25,
                None,
                turn,
            )
        elif rng.random() < town.greenery:
            town.trees.append((town.px((u0 + u1) / 2, (v0 + v1) / 2), rng.uniform(0.8, 3)))
        if rng.random() < town.clutter:
            kind = str(rng.choice(["box", "patch", "rubble", "wall"]))
            spot = (
                town.quad(plot)[:2] if kind == "wall" else town.px(rng.uniform(u0, u1), rng.uniform(v0, v1))
            )
            town.spots.append((kind, spot))


def _slabs(town: Town, rect) -> None:
    """Blocks of flats or offices on lawns with parking beside them."""
    rng = town.rng
    for plot in split(rng, rect, 26, 60):
        u0, v0, u1, v1 = plot
        depth = rng.uniform(10, 16)
        ground.paint_lawn(town.painter, town.climate, town.quad(plot))
        if v1 - v0 > depth + 12:
            slab = (u0 + 2, v0 + 2, u1 - rng.uniform(2, 8), v0 + 2 + depth)
            add_building(town, slab, str(rng.choice(["flat", "flat", "hip"])), rng.uniform(9, 20), 1.0, 0.3)
            _parking(
                town, (u0 + 1, v0 + depth + 5, u1 - 1, min(v1 - 1, v0 + depth + 5 + rng.uniform(11, 17)))
            )
        for _ in range(rng.poisson(5 * town.greenery)):
            town.trees.append((town.px(rng.uniform(u0, u1), rng.uniform(v0, v1)), rng.uniform(1, 4)))


def _works(town: Town, rect) -> None:
    """Halls, trucks, containers and heaps on paving."""
    rng = town.rng
    ground.paint_paving(town.painter, town.climate, town.quad(rect))
    for plot in split(rng, rect, 22, 55):
        u0, v0, u1, v1 = plot
        size = np.array([u1 - u0, v1 - v0]) * rng.uniform(0.4, 0.85, 2)
        roof = str(rng.choice(["flat", "shed", "tin", "sawtooth", "gable"]))
        add_building(
            town, (u0 + 2, v0 + 2, u0 + 2 + size[0], v0 + 2 + size[1]), roof, rng.uniform(5, 11), 1.0, 0.25
        )
        for _ in range(rng.poisson(5)):
            spot = town.px(rng.uniform(u0, u1), rng.uniform(v0, v1))
            if rng.random() < 0.5:
                town.spots.append((str(rng.choice(["box", "box", "rubble", "patch"])), spot))
            else:
                town.vehicles.append(
                    choose_vehicle(
                        rng, spot, town.angle + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1), 0.4
                    )
                )


def _parking(town: Town, rect, filled: float | None = None) -> None:
    """Rows of stalls with lanes between them."""
    rng, gsd = town.rng, town.painter.gsd_m
    u0, v0, u1, v1 = rect
    if min(u1 - u0, v1 - v0) < 6:
        return
    ground.paint_paving(town.painter, town.climate, town.quad(rect))
    filled = rng.uniform(0.25, 0.97) if filled is None else filled
    pitch, depth = rng.uniform(2.4, 2.9), 5.2
    slant = rng.choice([0.0, 0.0, rng.uniform(-0.5, 0.5)])
    lined = rng.random() < 0.7
    heading = town.angle + np.pi / 2 + slant
    direction = np.array([np.cos(town.angle), np.sin(town.angle)])
    n = int((u1 - u0 - 1) / pitch)
    rows, v, gap = [], v0 + depth / 2 + 0.3, rng.uniform(5.5, 7.5)
    while v + depth / 2 < v1:
        rows.append(v)
        v += depth + (gap if len(rows) % 2 else 0.4)
    for v in rows:
        centres = row_of_stalls(town.px(u0 + 0.5, v), direction, n, pitch, gsd)
        if lined:
            paint_stall_lines(town.painter, centres, heading, pitch, depth)
        for centre in centres:
            if rng.random() < filled:
                shift = rng.normal(0, 0.2, 2) / gsd
                town.vehicles.append(choose_vehicle(rng, centre + shift, heading + rng.normal(0, 0.03), 0.01))


def _park(town: Town, rect) -> None:
    """Lawn and trees."""
    rng = town.rng
    ground.paint_lawn(town.painter, town.climate, town.quad(rect))
    u0, v0, u1, v1 = rect
    thick = rng.choice([12, 60, 120])  # square metres per tree: a wood, a park, a meadow
    for _ in range(int(min(160, rng.poisson((u1 - u0) * (v1 - v0) / thick * town.greenery)))):
        town.trees.append((town.px(rng.uniform(u0, u1), rng.uniform(v0, v1)), rng.uniform(1.2, 5)))


def _field(town: Town, rect) -> None:
    """Open ground, perhaps a barn and odd objects."""
    rng = town.rng
    ground.paint_lawn(town.painter, town.climate, town.quad(rect))
    u0, v0, u1, v1 = rect
    if rng.random() < 0.5 and u1 - u0 > 20:
        add_building(
            town,
            (u0 + 4, v0 + 3, u0 + 4 + rng.uniform(6, 14), v0 + 3 + rng.uniform(5, 10)),
            some_roof(town),
            5,
            1,
            0.2,
        )
    for _ in range(rng.poisson(3)):
        town.spots.append(
            (str(rng.choice(["patch", "rubble", "box"])), town.px(rng.uniform(u0, u1), rng.uniform(v0, v1)))
        )
