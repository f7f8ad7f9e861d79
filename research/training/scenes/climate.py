"""Colours of a place: ground, roads, roofs, plants, and its light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GREY_CONCRETE = [(150, 147, 142), (128, 124, 120), (175, 172, 166), (108, 104, 101), (196, 192, 186)]
TILES = [(178, 92, 62), (205, 112, 70), (150, 78, 58), (122, 66, 52), (196, 128, 92), (140, 100, 80)]
TIN = [
    (122, 140, 160),
    (66, 118, 176),
    (150, 110, 86),
    (118, 86, 68),
    (166, 168, 170),
    (96, 130, 104),
    (172, 60, 62),
]
DARK_FELT = [(76, 76, 78), (92, 90, 90), (62, 64, 68), (112, 110, 108)]
BRIGHT = [(222, 220, 214), (208, 206, 204), (232, 230, 226)]


@dataclass(frozen=True)
class Climate:
    """Colour lists (RGB, 0 to 255) that a scene draws from."""

    grounds: list
    lush: list
    paving: list
    roofs: list
    crowns: list
    bare_trees: float  # share of leafless crowns
    order: float  # 0 informal settlement, 1 planned town


CLIMATES = [
    Climate(  # red earth, tiles and tin
        grounds=[(176, 128, 96), (160, 112, 80), (190, 148, 116)],
        lush=[(112, 140, 72), (96, 124, 64), (136, 150, 84)],
        paving=[(176, 140, 112), (150, 128, 110), (138, 132, 126)],
        roofs=[TILES, TILES, TIN, TIN, GREY_CONCRETE],
        crowns=[(62, 92, 42), (80, 112, 46), (50, 76, 38)],
        bare_trees=0.05,
        order=0.45,
    ),
    Climate(  # dusty dense town, concrete
        grounds=[(146, 136, 124), (128, 120, 108), (158, 144, 126)],
        lush=[(96, 106, 72), (112, 116, 82)],
        paving=[(140, 132, 124), (160, 150, 138), (118, 114, 110)],
        roofs=[GREY_CONCRETE, GREY_CONCRETE, GREY_CONCRETE, TIN, TILES],
        crowns=[(66, 84, 50), (82, 96, 58)],
        bare_trees=0.1,
        order=0.25,
    ),
    Climate(  # northern spring: brown grass, dark firs, leafless trees
        grounds=[(104, 102, 76), (116, 112, 88), (92, 90, 70)],
        lush=[(88, 100, 62), (100, 104, 72)],
        paving=[(122, 122, 122), (146, 144, 140), (92, 92, 96)],
        roofs=[DARK_FELT, TILES, GREY_CONCRETE, BRIGHT, TIN],
        crowns=[(46, 62, 42), (56, 70, 48), (86, 78, 66)],
        bare_trees=0.5,
        order=0.85,
    ),
    Climate(  # green suburb
        grounds=[(118, 132, 84), (132, 138, 92), (104, 120, 76)],
        lush=[(98, 130, 66), (86, 118, 60), (120, 144, 80)],
        paving=[(150, 150, 150), (128, 128, 130), (178, 176, 170)],
        roofs=[TILES, DARK_FELT, DARK_FELT, GREY_CONCRETE, TILES],
        crowns=[(54, 84, 40), (66, 98, 48), (48, 70, 40)],
        bare_trees=0.05,
        order=0.95,
    ),
    Climate(  # arid, bright
        grounds=[(196, 178, 148), (184, 164, 134), (206, 190, 164)],
        lush=[(140, 146, 100), (156, 152, 108)],
        paving=[(164, 158, 150), (140, 136, 132), (186, 178, 166)],
        roofs=[BRIGHT, GREY_CONCRETE, BRIGHT, TILES, TIN],
        crowns=[(92, 106, 64), (78, 94, 54)],
        bare_trees=0.1,
        order=0.6,
    ),
    Climate(  # northern town in early spring: grey and beige, low sun
        grounds=[(112, 108, 92), (96, 92, 78), (130, 124, 108)],
        lush=[(92, 98, 70), (84, 90, 66)],
        paving=[(140, 138, 130), (156, 152, 142), (74, 76, 82), (100, 102, 106)],
        roofs=[DARK_FELT, DARK_FELT, GREY_CONCRETE, TILES, BRIGHT],
        crowns=[(40, 54, 38), (92, 84, 72), (80, 74, 64)],
        bare_trees=0.7,
        order=0.8,
    ),
    Climate(  # dense hill town: weathered concrete, blue and rusty tin
        grounds=[(124, 112, 98), (138, 128, 114), (108, 100, 88)],
        lush=[(84, 98, 60), (98, 108, 70)],
        paving=[(132, 124, 116), (118, 112, 106)],
        roofs=[GREY_CONCRETE, GREY_CONCRETE, GREY_CONCRETE, GREY_CONCRETE, TIN],
        crowns=[(58, 78, 42), (74, 92, 50)],
        bare_trees=0.05,
        order=0.1,
    ),
]


def pick(rng: np.random.Generator, colors, spread: float = 10.0) -> np.ndarray:
    """One of ``colors``, varied: mostly in brightness, a little in hue."""
    base = np.asarray(colors[rng.integers(len(colors))], np.float32)
    return np.clip(base * rng.normal(1, spread / 128) + rng.normal(0, spread / 2.5, 3), 12, 250).astype(
        np.float32
    )
