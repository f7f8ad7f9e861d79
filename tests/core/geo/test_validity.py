"""Shapes that cross themselves."""

import numpy as np
import pytest
import shapely

from core.errors import InputError
from core.geo.validity import MOST_CROSSINGS, crossings, made_valid


def star(points):
    """A star whose every line crosses nearly all others."""
    angle = np.arange(points) * 2 * np.pi * (points // 2) / points
    return shapely.Polygon(np.stack([np.cos(angle), np.sin(angle)], axis=1))


def zigzag(turns):
    """A saw's blade and a straight line through the middle of its teeth."""
    teeth = [(x, (-1) ** x) for x in range(turns)]
    return shapely.Polygon([*teeth, (turns, 0), (-1, 0)])


@pytest.mark.parametrize("points", [5, 7, 21])
def test_crossings_of_a_star_are_those_of_its_lines(points):
    assert crossings(star(points), enough=10**6) == points * (points - 3) // 2


def test_a_sound_shape_is_left_as_it_is():
    shape = shapely.box(0, 0, 1, 1).difference(shapely.box(0.2, 0.2, 0.4, 0.4))
    assert made_valid(shape, "file") is shape


@pytest.mark.parametrize("shape", [star(5), zigzag(40), shapely.MultiPolygon([star(5), star(7)])])
def test_a_few_crossings_are_mended(shape):
    mended = made_valid(shape, "file")
    assert mended.is_valid and mended.area > 0


@pytest.mark.parametrize("shape", [star(10_001), zigzag(40_000), shapely.MultiPolygon([star(301), star(5)])])
def test_thousands_of_crossings_are_refused_at_once(shape):
    assert crossings(shape) > MOST_CROSSINGS
    with pytest.raises(InputError, match=r"of file crosses itself more than 500 times\. Draw it anew"):
        made_valid(shape, "file")
