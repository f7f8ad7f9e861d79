"""From pixels to outlines: exact, seamless, and measured."""

import dataclasses

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import CRS
from scipy import ndimage

from core.vectors.attributes import COLUMNS, SIMPLIFY_WORK, filled, to_table
from core.vectors.contour import half_level
from core.vectors.polygonize import Piece, polygonize
from core.vectors.seams import merge
from core.voting.score_map import Segmentation
from core.voting.thresholding import THRESHOLD
from tests.support.grids import plain_grid

UTM = CRS("EPSG:25832")
MERIDIAN = 0.9996  # metres of the map per metre of the ground, on the central meridian
MEASURED = list(COLUMNS[2:10])


def segmentation_of(found, share=None, similarity=None, iou_pred=0.8):
    found = np.asarray(found, bool)
    share = np.where(found, 0.9, 0.1).astype(np.float32) if share is None else share
    similarity = np.full(found.shape, 0.5, np.float32) if similarity is None else similarity
    return Segmentation(share, found, similarity, iou_pred)


def whole(found):
    return tuple(slice(0, side) for side in np.shape(found))


def traced(found, **fields):
    return polygonize(segmentation_of(found, **fields), whole(found), 0, 0)


def rasterised(polygon, shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    return shapely.contains_xy(polygon, columns, rows)


masks = arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@settings(max_examples=200, deadline=None)
@given(masks)
def test_any_mask_is_traced_exactly(found):
    pieces = traced(found)
    count = ndimage.label(found)[1]
    assert len(pieces) == count
    drawn = np.zeros(found.shape, int)
    for piece in pieces:
        polygon = piece.polygon_work
        assert polygon.geom_type == "Polygon" and polygon.is_valid
        assert polygon.area == piece.pixels
        drawn += rasterised(polygon, found.shape)
    np.testing.assert_array_equal(drawn, found)


def test_attributes_are_sums_over_the_pieces_own_pixels():
    found = np.zeros((20, 30), bool)
    found[2:6, 3:8] = True
    found[10:12, 20:25] = True
    rng = np.random.default_rng(0)
    share, similarity = rng.random((2, 20, 30)).astype(np.float32)
    first, second = sorted(traced(found, share=share, similarity=similarity), key=lambda p: -p.pixels)
    assert first.polygon_work.equals(shapely.box(3, 2, 8, 6))
    assert first.score_sum == pytest.approx(share[2:6, 3:8].sum())
    assert first.similarity_sum == pytest.approx(similarity[2:6, 3:8].sum())
    assert first.iou_pred_sum == pytest.approx(0.8 * 20)
    assert second.polygon_work.equals(shapely.box(20, 10, 25, 12))
    assert second.stable == (share[10:12, 20:25] > THRESHOLD + 0.1).sum()


def test_only_the_tiles_own_cell_is_traced_and_placed_on_the_working_grid():
    found = np.ones((40, 50), bool)
    (piece,) = polygonize(segmentation_of(found), (slice(8, 32), slice(0, 42)), 1000, 2000)
    assert piece.polygon_work.equals(shapely.box(1000, 2008, 1042, 2032))
    assert polygonize(segmentation_of(np.zeros((40, 50))), (slice(0, 40), slice(0, 50)), 0, 0) == []


def test_a_hole_stays_a_hole():
    found = np.ones((12, 12), bool)
    found[4:7, 5:9] = False
    (piece,) = traced(found)
    (hole,) = piece.polygon_work.interiors
    assert shapely.Polygon(hole).equals(shapely.box(5, 4, 9, 7)) and piece.pixels == 144 - 12


# Across seams


@settings(max_examples=100, deadline=None)
@given(masks, st.data())
def test_cut_into_tiles_and_merged_is_the_same_as_whole(found, data):
    row = data.draw(st.integers(1, found.shape[0])) if found.shape[0] > 1 else 1
    column = data.draw(st.integers(1, found.shape[1])) if found.shape[1] > 1 else 1
    share = np.where(found, 0.9, 0.1).astype(np.float32)
    pieces = []
    for rows in (slice(0, row), slice(row, found.shape[0])):
        for columns in (slice(0, column), slice(column, found.shape[1])):
            part = np.s_[rows, columns]
            segmentation = segmentation_of(found[part], share[part])
            pieces += polygonize(segmentation, whole(found[part]), columns.start, rows.start)
    order = data.draw(st.permutations(range(len(pieces))))
    merged = merge([pieces[i] for i in order])
    expected = traced(found)
    assert len(merged) == len(expected)
    by_outline = {piece.polygon_work.normalize().wkb: piece for piece in expected}
    for piece in merged:
        assert piece.polygon_work.is_valid and piece.polygon_work.geom_type == "Polygon"
        same = by_outline[piece.polygon_work.simplify(0).normalize().wkb]
        assert (piece.pixels, piece.stable) == (same.pixels, same.stable)
        assert piece.score_sum == pytest.approx(same.score_sum)


def piece_of(x0, y0, x1, y1, **fields):
    pixels = (x1 - x0) * (y1 - y0)
    sums = {"score_sum": 0.5 * pixels, "similarity_sum": 0.4 * pixels, "iou_pred_sum": 0.8 * pixels}
    own_tile = {"stable": pixels, "tile_work": (x0, y0)}
    return Piece(shapely.box(x0, y0, x1, y1), pixels, **(sums | own_tile | fields))


def test_pieces_on_both_sides_of_a_seam_become_one_and_add_up():
    left = piece_of(0, 0, 10, 10, score_sum=90.0, stable=70)
    right = piece_of(10, 4, 30, 9, score_sum=20.0, stable=3)
    (joined,) = merge([right, left])
    assert joined.polygon_work.equals(shapely.union(left.polygon_work, right.polygon_work))
    assert (joined.pixels, joined.score_sum, joined.stable) == (200, 110.0, 73)
    assert joined.iou_pred_sum == pytest.approx(160) and joined.similarity_sum == pytest.approx(80)
    table = to_table([joined], plain_grid(Affine.identity(), None), largest_hole=0)
    assert table.score[0] == pytest.approx(0.55) and table.stability[0] == pytest.approx(73 / 200)


def test_objects_that_touch_within_a_tile_stay_apart():
    found = np.ones((10, 20), bool)
    objects = np.ones((10, 20), np.int32)
    objects[:, 12:] = 7
    segmentation = dataclasses.replace(segmentation_of(found), objects=objects)
    pieces = polygonize(segmentation, whole(found), 0, 0)
    assert sorted(piece.pixels for piece in pieces) == [80, 120]
    assert len(merge(pieces)) == 2


def test_what_one_object_claims_in_two_places_is_two_pieces():
    found = np.ones((10, 20), bool)
    objects = np.ones((10, 20), np.int32)
    objects[:, 8:12] = 2
    pieces = polygonize(dataclasses.replace(segmentation_of(found), objects=objects), whole(found), 0, 0)
    assert sorted(piece.pixels for piece in pieces) == [40, 80, 80]


@pytest.mark.parametrize("step", [-2, 0, 3])
def test_touching_objects_find_their_own_halves_across_a_seam(step):
    upper = [piece_of(x, 0, x + 10, 9, tile_work=(0, 0)) for x in (0, 10, 20)]
    lower = [piece_of(x + step, 9, x + step + 10, 20, tile_work=(0, 9)) for x in (0, 10, 20)]
    joined = merge(upper + lower, least_contact=0.5)
    assert len(joined) == 3
    for piece, above in zip(sorted(joined, key=lambda p: p.polygon_work.bounds), upper, strict=True):
        assert piece.pixels == 200 and piece.polygon_work.contains(above.polygon_work)
    assert len(merge(upper + lower)) == (3 if step == 0 else 1)


def test_corner_to_corner_is_no_contact():
    assert len(merge([piece_of(0, 0, 10, 10), piece_of(10, 10, 20, 20)])) == 2
    assert len(merge([piece_of(0, 0, 10, 10), piece_of(10, 9, 20, 20)])) == 1
    assert len(merge([piece_of(0, 0, 10, 10), piece_of(12, 0, 20, 10)])) == 2
    assert merge([]) == []


def test_an_object_over_four_tiles_is_one():
    parts = [
        piece_of(0, 0, 10, 10),
        piece_of(10, 0, 20, 10),
        piece_of(0, 10, 10, 20),
        piece_of(10, 10, 20, 20),
    ]
    (joined,) = merge(parts)
    assert joined.polygon_work.equals(shapely.box(0, 0, 20, 20)) and joined.pixels == 400


def test_the_order_of_tiles_makes_no_difference():
    rng = np.random.default_rng(3)
    pieces = [
        dataclasses.replace(p, score_sum=float(rng.random() * p.pixels))
        for p in traced(rng.random((60, 60)) > 0.55)
    ]
    tables = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(pieces))
        tables.append(
            to_table(merge([pieces[i] for i in order]), plain_grid(Affine.identity(), UTM), largest_hole=1)
        )
    assert len(tables[0]) > 20
    for table in tables[1:]:
        assert table.drop(columns="geometry").equals(tables[0].drop(columns="geometry"))
        assert (table.geometry.to_wkb() == tables[0].geometry.to_wkb()).all()


# Outlines


def test_holes_up_to_a_size_are_filled():
    shell = shapely.box(0, 0, 20, 20)
    polygon = shell - shapely.box(2, 2, 4, 4) - shapely.box(10, 10, 16, 16)
    assert filled(polygon, 0).area == 400 - 4 - 36
    assert filled(polygon, 4).area == 400 - 36
    assert filled(polygon, 36).equals(shell)


def wobbly(seed):
    """A mask with a natural outline: a blob of smoothed noise."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((80, 80)), 6)
    found = noise > np.quantile(noise, 0.6)
    labels, _ = ndimage.label(found)
    return labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1


@pytest.mark.parametrize("seed", range(5))
def test_simplifying_moves_the_half_level_contour_by_half_a_working_pixel_at_most(seed):
    (piece,) = traced(wobbly(seed))
    table = to_table([piece], plain_grid(Affine.identity(), None), largest_hole=0)
    outline = table.geometry[0]
    assert len(outline.exterior.coords) < len(piece.polygon_work.exterior.coords)
    assert outline.is_valid
    contour = half_level(piece.polygon_work)
    moved = shapely.hausdorff_distance(outline.boundary, contour.boundary, densify=0.05)
    assert moved <= SIMPLIFY_WORK + 0.05
    moved = shapely.hausdorff_distance(outline.boundary, piece.polygon_work.boundary, densify=0.05)
    assert moved < 1  # never a whole pixel from the mask's own
    assert table.area_m2[0] == pytest.approx(piece.pixels, rel=0.03)


@settings(max_examples=100, deadline=None)
@given(masks, st.floats(0, 3))
def test_every_detection_is_a_valid_polygon(found, largest_hole):
    turned = Affine.translation(5e5, 5e6) @ Affine.rotation(31) @ Affine.scale(0.3, -0.3)
    table = to_table(merge(traced(found)), plain_grid(turned, UTM), largest_hole=largest_hole)
    assert len(table) == ndimage.label(found)[1]
    assert table.geometry.is_valid.all() and (table.geometry.geom_type == "Polygon").all()
    assert not table.geometry.is_empty.any()
    assert (table.area_m2 > 0).all() and (table.length_m >= table.width_m).all()


def test_an_outline_can_be_redrawn_in_a_plane_of_true_angles():
    """In degrees at 60 north a pixel of equal ground sides is twice as wide as high."""
    seen = []

    def redraw(outline, mask):
        seen.append((outline, mask))
        return shapely.minimum_rotated_rectangle(mask)

    wide = Affine.translation(10, 60) @ Affine.scale(1e-5, -1e-5)  # pixels that are not square on the ground
    table = to_table(
        [piece_of(0, 0, 40, 20)], plain_grid(wide, CRS("EPSG:4326")), largest_hole=0, redraw=redraw
    )
    ((outline, mask),) = seen
    assert mask.area == pytest.approx(800) and outline.equals(mask)
    x0, y0, x1, y1 = mask.bounds
    assert (x1 - x0) / (y1 - y0) == pytest.approx(2 * 0.5013, rel=1e-3)
    assert shapely.hausdorff_distance(table.geometry[0], shapely.box(10, 59.9998, 10.0004, 60)) < 1e-9
    redrawn = to_table(
        [piece_of(0, 0, 40, 20)],
        plain_grid(Affine.translation(5e5, 5e6) @ Affine.scale(0.5, -0.5), UTM),
        largest_hole=0,
        redraw=lambda outline, mask: shapely.box(*mask.bounds).buffer(2, join_style="mitre"),
    )
    assert redrawn.area_m2[0] == pytest.approx(22 * 12 / MERIDIAN**2)  # what is written is what is measured
    assert (redrawn.length_m[0], redrawn.width_m[0]) == pytest.approx((22 / MERIDIAN, 12 / MERIDIAN))


# The table


def test_a_turned_raster_gives_turned_polygons_of_the_right_size():
    turned = Affine.translation(5e5, 5e6) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    table = to_table([piece_of(10, 20, 50, 30)], plain_grid(turned, UTM), largest_hole=0)
    corners = [turned @ corner for corner in ((10, 20), (50, 20), (50, 30), (10, 30))]
    assert shapely.equals(table.geometry[0].normalize(), shapely.Polygon(corners).normalize()) or (
        shapely.hausdorff_distance(table.geometry[0], shapely.Polygon(corners)) < 1e-6
    )
    assert table.area_m2[0] == pytest.approx(20 * 5 / MERIDIAN**2)
    assert (table.length_m[0], table.width_m[0]) == pytest.approx((20 / MERIDIAN, 5 / MERIDIAN), abs=1e-4)
    assert table.angle_deg[0] == pytest.approx(60, abs=0.01)  # 30 degrees up from east
    assert table.crs == UTM


def test_columns_are_the_documented_ones_best_score_first():
    pieces = [
        piece_of(0, 0, 5, 5, score_sum=10.0),
        piece_of(20, 0, 25, 5, score_sum=20.0),
        piece_of(10, 0, 15, 5, score_sum=20.0),
    ]
    table = to_table(pieces, plain_grid(Affine.identity(), UTM), largest_hole=0)
    assert [c for c in table.columns if c != "geometry"] == MEASURED
    assert list(table.score) == pytest.approx([0.8, 0.8, 0.4])
    assert list(table.bounds.minx) == [10, 20, 0]  # ties by place
    assert all(len(name) <= 10 for name in COLUMNS)  # a shapefile's limit


def test_an_empty_table_has_the_same_columns_and_kinds():
    some = to_table([piece_of(0, 0, 5, 5)], plain_grid(Affine.identity(), UTM), largest_hole=0)
    none = to_table([], plain_grid(Affine.identity(), UTM), largest_hole=0)
    assert len(none) == 0 and none.crs == UTM
    assert sorted(none.columns) == sorted(some.columns)
    assert all(none[name].dtype == some[name].dtype for name in MEASURED)
