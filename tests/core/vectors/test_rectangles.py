"""Rectangles: exact on rectangles, and steadier than the smallest one around a mask with bumps."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate, translate

from core.geo import units
from core.vectors.rectangles import fitted

CAR = shapely.box(-20, -9, 20, 9)


def iou(one, other):
    return one.intersection(other).area / one.union(other).area


def turned(polygon, degrees, x=0.0, y=0.0):
    return translate(rotate(polygon, degrees, origin=(0, 0)), x, y)


def off_deg(one, other):
    return abs((one - other + 90) % 180 - 90)


@settings(max_examples=100, deadline=None)
@given(st.floats(4, 60), st.floats(0.1, 1), st.floats(0, 360), st.floats(-1e5, 1e5))
def test_a_rectangle_is_itself(length, share, degrees, away):
    given_ = turned(shapely.box(0, 0, length, length * share), degrees, away, -away)
    drawn = fitted(given_, given_)
    assert len(drawn.exterior.coords) == 5 and drawn.is_valid
    assert iou(drawn, given_) > 1 - 1e-6


points = st.lists(st.tuples(st.floats(0, 40), st.floats(0, 40)), min_size=3, max_size=12)


@settings(max_examples=150, deadline=None)
@given(points)
def test_any_outline_gives_a_rectangle_of_the_masks_area(corners):
    hull = shapely.MultiPoint(corners).convex_hull.buffer(1)
    drawn = fitted(hull, hull)
    edges = np.diff(np.asarray(drawn.exterior.coords), axis=0)
    assert len(edges) == 4 and drawn.is_valid
    assert abs(edges[0] @ edges[1]) < 1e-6 * math.hypot(*edges[0]) * math.hypot(*edges[1])
    assert drawn.area == pytest.approx(hull.area)


@pytest.mark.parametrize("degrees", [0, 17, 45, 80, 133])
def test_a_bump_moves_neither_the_direction_nor_the_sides_much(degrees):
    bumpy = CAR.union(shapely.box(6, 9, 9, 13)).union(shapely.box(-23, -4, -20, 0))
    truth, mask = turned(CAR, degrees, 300, 200), turned(bumpy, degrees, 300, 200)
    drawn, around = fitted(mask, mask), mask.minimum_rotated_rectangle
    assert iou(drawn, truth) > 0.93 > 0.8 > iou(around, truth)
    length, width, angle = units.rectangle(drawn, None)
    assert length == pytest.approx(40, rel=0.05) and width == pytest.approx(18, rel=0.06)
    assert off_deg(angle, 90 - degrees) < 3  # clockwise from y, where degrees run from x the other way
    assert iou(drawn, mask) > iou(around, mask)


def test_of_a_square_the_direction_is_that_of_its_sides():
    """Its second moments are the same in all directions."""
    square = turned(shapely.box(0, 0, 20, 20), 30)
    cut = square - turned(shapely.box(19, 19, 20, 20), 30)
    assert iou(fitted(cut, cut), square) > 0.98


def test_a_hole_counts_as_filled():
    holed = CAR - shapely.box(-5, -3, 5, 3)
    assert fitted(holed, holed).area == pytest.approx(CAR.area)
    assert iou(fitted(holed, holed), CAR) > 1 - 1e-9


def test_the_area_is_the_masks_where_the_outline_has_another():
    larger = CAR.buffer(1, join_style="mitre")
    assert fitted(larger, CAR).area == pytest.approx(CAR.area)
