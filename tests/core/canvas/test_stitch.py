"""The canvas: every pixel of the example lands where the canvas says it went."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.canvas.stitch import (
    FILL,
    MAX_COLUMN,
    RING_GAP,
    RING_WIDTH,
    Crop,
    crop_side,
    orientations,
    shown_in_turn,
    stitch,
)
from core.sam import geometry
from core.sam.geometry import CELL


def random_crop(rng, side):
    mask = np.zeros((side, side), bool)
    top, left = rng.integers(0, side // 2, 2)
    mask[top : top + side // 3, left : left + side // 4] = True
    mask[top, left] = False  # lopsided, so that no orientation maps it to itself
    valid = rng.random((side, side)) > 0.1
    return Crop(rng.integers(0, 256, (side, side, 3), np.uint8), mask, valid)


@st.composite
def sizes(draw):
    side = CELL * draw(st.integers(1, 4))
    height = draw(st.integers(side, 9 * side + 7))
    return side, height, draw(st.integers(1, 40)), draw(st.integers(1, 3)), draw(st.integers(0, 2**31))


@settings(max_examples=25, deadline=None)
@given(sizes())
def test_every_pixel_of_every_copy_lands_where_the_map_says(drawn):
    side, height, width, count, seed = drawn
    rng = np.random.default_rng(seed)
    crops = [random_crop(rng, side) for _ in range(count)]
    tile = rng.integers(0, 256, (height, width, 3), np.uint8)
    canvas = stitch(crops, tile, np.ones((height, width), bool))
    assert canvas.image.shape == (height, side + width, 3)
    assert len(canvas.copies) == height // side
    rows, columns = np.mgrid[:side, :side]
    for number, copy in enumerate(canvas.copies):
        assert copy.crop == number % count
        crop = crops[copy.crop]
        x, y = copy.canvas_from_example * (columns + 0.5, rows + 0.5)
        # Pixel centres stay pixel centres: nothing is scaled or shifted by half a pixel.
        np.testing.assert_allclose(x % 1, 0.5)
        np.testing.assert_allclose(y % 1, 0.5)
        at = y.astype(int), x.astype(int)
        assert x.min() == 0.5 and x.max() == side - 0.5
        assert y.min() == number * side + 0.5
        shown = np.where(crop.valid[..., None], crop.image, np.uint8(FILL))
        np.testing.assert_array_equal(canvas.image[at], shown)
        np.testing.assert_array_equal(canvas.example[at], crop.mask)
        # And back: the inverse brings canvas pixels home.
        back_x, back_y = ~copy.canvas_from_example * (x, y)
        np.testing.assert_allclose(back_x, columns + 0.5)
        np.testing.assert_allclose(back_y, rows + 0.5)
    assert canvas.example.sum() == sum(crops[copy.crop].mask.sum() for copy in canvas.copies)


def test_the_copies_show_all_eight_orientations():
    rng = np.random.default_rng(1)
    side = 32
    crop = random_crop(rng, side)
    canvas = stitch([crop], np.zeros((8 * side, 16, 3), np.uint8), np.ones((8 * side, 16), bool))
    shown = {canvas.image[top : top + side, :side].tobytes() for top in range(0, 8 * side, side)}
    assert len(shown) == 8
    assert {tuple(map[:6]) for _, _, map in orientations(side)} == {
        tuple(
            np.round((type(c.canvas_from_example).translation(0, -i * side) * c.canvas_from_example)[:6], 9)
        )
        for i, c in enumerate(canvas.copies)
    }


def test_the_tile_stands_right_of_the_column_pixel_for_pixel():
    rng = np.random.default_rng(2)
    tile = rng.integers(0, 256, (100, 70, 3), np.uint8)
    valid = rng.random((100, 70)) > 0.3
    canvas = stitch([random_crop(rng, 48)], tile, valid)
    x, y = canvas.canvas_from_tile * (0.5, 0.5)
    assert (x, y) == (48.5, 0.5) and canvas.column == 48
    np.testing.assert_array_equal(canvas.tile_part(canvas.query), valid)
    assert not canvas.query[:, :48].any()
    shown = canvas.image[:, 48:]
    np.testing.assert_array_equal(shown[valid], tile[valid])
    assert (shown[~valid] == FILL).all()
    assert np.shares_memory(canvas.tile_part(canvas.image[..., 0]), canvas.image)


def test_a_copy_that_is_cut_off_is_shown_but_not_prompted():
    rng = np.random.default_rng(3)
    side = 32
    crop = Crop(random_crop(rng, side).image, np.ones((side, side), bool), np.ones((side, side), bool))
    canvas = stitch([crop], np.zeros((2 * side + 20, 8, 3), np.uint8), np.ones((2 * side + 20, 8), bool))
    assert len(canvas.copies) == 2
    assert not canvas.example[2 * side :].any() and not canvas.ring[2 * side :].any()
    half_turn = crop.image[::-1, ::-1]  # the third showing is turned twice
    np.testing.assert_array_equal(canvas.image[2 * side :, :side], half_turn[:20])


def test_the_ring_keeps_its_distance_and_avoids_missing_image():
    side = 64
    mask = np.zeros((side, side), bool)
    mask[24:40, 20:44] = True
    valid = np.ones((side, side), bool)
    valid[:22] = False
    crop = Crop(np.zeros((side, side, 3), np.uint8), mask, valid)
    canvas = stitch([crop], np.zeros((side, 4, 3), np.uint8), np.ones((side, 4), bool))
    ring = canvas.ring[:, :side]
    assert ring.any() and not (ring & mask).any() and not ring[:22].any()
    rows, columns = np.nonzero(ring)
    away = np.hypot(
        np.maximum(np.maximum(24 - rows, rows - 39), 0), np.maximum(np.maximum(20 - columns, columns - 43), 0)
    )
    assert away.min() > RING_GAP and away.max() == RING_GAP + RING_WIDTH
    assert ring[45, 30] and not ring[41, 30]  # outline + 6 is ring, outline + 2 is gap
    assert not canvas.ring[:, side:].any()


@given(st.floats(1, 192))
def test_the_crop_holds_the_example_and_its_surroundings(longer_side):
    side = crop_side(longer_side)
    assert side % CELL == 0 and side <= MAX_COLUMN
    assert side - longer_side >= 2 * 16  # at least one cell of SAM on every side
    assert side >= longer_side + 2 * (RING_GAP + RING_WIDTH)
    assert crop_side(longer_side) <= crop_side(longer_side + 1)


@pytest.mark.parametrize("turns", range(8))
def test_orientations_are_whole_pixel_moves(turns):
    side = 16
    quarter_turns, mirrored, oriented_from_example = orientations(side)[turns]
    assert abs(oriented_from_example.determinant) == 1
    assert (oriented_from_example.determinant < 0) == mirrored
    corners = {oriented_from_example * corner for corner in ((0, 0), (side, 0), (0, side), (side, side))}
    assert corners == {(0, 0), (side, 0), (0, side), (side, side)}
    assert quarter_turns == turns % 4


def test_the_column_leaves_at_least_two_thirds_for_the_query():
    assert geometry.SIDE == 1024
    assert MAX_COLUMN <= 1024 / 3 and MAX_COLUMN % CELL == 0
    assert crop_side(192) <= MAX_COLUMN  # the largest example that a target asks for


def test_other_examples_are_no_ring():
    side = 4 * CELL
    mask, others = np.zeros((2, side, side), bool)
    mask[20:40, 10:30], others[20:40, 30:50] = True, True
    everywhere, nothing = np.ones((side, side), bool), np.zeros((side, side, 3), np.uint8)
    alone = Crop(nothing, mask, everywhere)
    beside = Crop(nothing, mask, everywhere, others)
    assert (alone.ring & others).any()
    np.testing.assert_array_equal(beside.ring, alone.ring & ~others)
    canvas = stitch([beside], np.zeros((side, 8, 3), np.uint8), np.ones((side, 8), bool))
    np.testing.assert_array_equal(canvas.ring[:, :side], beside.ring)


def test_the_showings_show_all_examples_in_turn():
    rng = np.random.default_rng(4)
    crops = [random_crop(rng, 2 * CELL) for _ in range(5)]
    height = 5 * CELL  # two whole copies, and a part of one
    shown = [shown_in_turn(crops, height, showing)[:2] for showing in range(4)]
    assert {id(crop) for each in shown for crop in each} == {id(crop) for crop in crops}
    assert len({id(each[0]) for each in shown}) == 4
    for few in (crops[:1], crops[:2]):  # there is room for all
        assert all(shown_in_turn(few, height, showing) == few for showing in range(4))
