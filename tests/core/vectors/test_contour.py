"""The half-level contour: no steps, nothing moved, whatever the mask."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.features import rasterize, shapes
from shapely.affinity import rotate

from core.vectors.contour import corners_alone, half_level

masks = arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def outlines(mask):
    """Traced along pixel edges; pixels are connected by edges."""
    found = shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    return [shapely.Polygon(g["coordinates"][0], g["coordinates"][1:]) for g, _ in found]


@settings(max_examples=300, deadline=None)
@given(masks)
def test_it_parts_the_same_pixels_and_stays_within_half_a_pixels_diagonal(mask):
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    drawn = np.zeros(mask.shape, int)
    for outline in outlines(mask):
        contour = half_level(outline)
        assert contour.is_valid and contour.geom_type == "Polygon"
        assert len(contour.interiors) == len(outline.interiors)
        assert (
            shapely.hausdorff_distance(contour.boundary, outline.boundary, densify=0.1) <= 0.5**0.5 / 2 + 0.05
        )
        drawn += shapely.contains_xy(contour, columns, rows)
    np.testing.assert_array_equal(drawn, mask)  # every pixel's middle on its own side


def test_a_box_keeps_its_corners():
    box = shapely.box(2, 3, 12, 9)
    assert half_level(box).equals(box)


def test_where_a_seam_ran_makes_no_difference():
    outline = shapely.box(0, 0, 9, 6).union(shapely.box(9, 1, 20, 6))
    cut = outline.segmentize(1)  # vertices that are no corners
    assert half_level(cut).equals_exact(half_level(outline), 0)


@pytest.mark.parametrize("degrees", [7, 20, 33, 45])
def test_a_slanted_wall_is_nearly_straight(degrees):
    """A wall's traced length is up to 1.41 times its own; the contour's hardly more than its own."""
    truth = rotate(shapely.box(30, 50, 130, 110), degrees)
    (outline,) = outlines(rasterize([truth], (160, 160)).astype(bool))
    assert outline.length > 1.1 * truth.length
    assert half_level(outline).length < 1.08 * truth.length
    before, after = (
        shape.intersection(truth).area / shape.union(truth).area for shape in (outline, half_level(outline))
    )
    assert after > before


def test_vertices_within_walls_go_wherever_a_ring_starts():
    hole = [(6, 2), (6, 3), (6, 4), (8, 4), (8, 2), (7, 2)]
    shell = [(0, 5), (0, 0), (4, 0), (10, 0), (10, 3), (10, 9), (5, 9), (5, 10), (0, 10), (0, 7)]
    alone = corners_alone(shapely.Polygon(shell, [hole]))
    assert list(alone.exterior.coords) == [(0, 0), (10, 0), (10, 9), (5, 9), (5, 10), (0, 10), (0, 0)]
    assert list(alone.interiors[0].coords) == [(6, 2), (6, 4), (8, 4), (8, 2), (6, 2)]
