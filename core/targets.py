"""Presets: what a target's size and shape mean for resolution and post-processing."""

from __future__ import annotations

import dataclasses

from core.errors import InputError


@dataclasses.dataclass(frozen=True)
class Target:
    """A preset.

    Attributes
    ----------
    name, title : str
    example_length : tuple of float
        Fewest and most canvas pixels that the example's longer side should span.
    area_ratio : tuple of float
        Smallest and largest area of a detection, as multiples of the example's.
    smooth_radius : int
        Radius in canvas pixels of the opening that removes slivers and bridges.
    largest_hole : float
        Holes up to this share of the example's area are filled.
    parted_from_side : float
        Square root of an example's area, in canvas pixels, from which on objects are parted along
        the borders that the network knows, rather than by clicks.
    """

    name: str
    title: str
    example_length: tuple[float, float]
    area_ratio: tuple[float, float]
    smooth_radius: int
    largest_hole: float
    parted_from_side: float


TARGETS = {
    target.name: target
    for target in (
        Target("building", "Building", (144, 192), (0.05, 100.0), 3, 0.2, 24.0),
        Target("vehicle", "Vehicle", (64, 192), (0.3, 4.0), 2, 1.0, 24.0),
        Target("other", "Other", (48, 192), (0.1, 25.0), 2, 0.2, 64.0),
    )
}


def target_named(name: str) -> Target:
    if name not in TARGETS:
        raise InputError(f"There is no target {name!r}. Choose one of: {', '.join(TARGETS)}.")
    return TARGETS[name]
