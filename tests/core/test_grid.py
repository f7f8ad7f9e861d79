"""The grid: cells share the raster out exactly, whatever its size."""

import numpy as np
import shapely
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.canvas import SIDE, STEP, crop_side
from core.grid import LEAST_OVERLAP, MOST_OVERLAP, Grid

MAP_FROM_WORK = Affine(0.5, 0, 1000, 0, -0.5, 8000)


@st.composite
def grids(draw, largest=6000):
    example_px = draw(st.floats(8, 192))
    return Grid(
        draw(st.integers(1, largest)), draw(st.integers(1, largest)), crop_side(example_px), example_px
    )


def whole(grid):
    return shapely.transform(
        shapely.box(0, 0, grid.raster_width, grid.raster_height),
        lambda xy: np.stack(MAP_FROM_WORK * (xy[:, 0], xy[:, 1]), axis=1),
    )


def cuts(intervals):
    """Sorted distinct intervals, checked to follow each other without gap or overlap."""
    ordered = sorted(set(intervals))
    for (_, end), (start, _) in zip(ordered, ordered[1:]):
        assert end == start
    return ordered[0][0], ordered[-1][1]


@settings(max_examples=150, deadline=None)
@given(grids())
def test_cells_share_the_raster_out_without_gap_or_overlap(grid):
    tiles = list(grid.tiles(whole(grid), MAP_FROM_WORK))
    boxes = [tile.cell_work for tile in tiles]
    assert cuts([(x0, x1) for x0, _, x1, _ in boxes]) == (0, grid.raster_width)
    assert cuts([(y0, y1) for _, y0, _, y1 in boxes]) == (0, grid.raster_height)
    assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) == grid.raster_width * grid.raster_height
    assert len({(tile.row, tile.column) for tile in tiles}) == len(tiles)


@settings(max_examples=150, deadline=None)
@given(grids())
def test_each_cell_lies_in_its_tile_with_half_the_overlap_to_spare(grid):
    assert grid.column + grid.tile_width <= SIDE
    assert grid.column <= grid.tile_height <= SIDE
    last_row = max(tile.row for tile in grid.tiles(whole(grid), MAP_FROM_WORK))
    last_column = max(tile.column for tile in grid.tiles(whole(grid), MAP_FROM_WORK))
    for tile in grid.tiles(whole(grid), MAP_FROM_WORK):
        rows, columns = tile.cell_tile
        assert 0 <= rows.start < rows.stop <= grid.tile_height
        assert 0 <= columns.start < columns.stop <= grid.tile_width
        # No tile starts beyond the raster, and every pixel of its cell is inside both.
        assert 0 <= tile.x_work < grid.raster_width and 0 <= tile.y_work < grid.raster_height
        half = grid.overlap // 2
        assert rows.start == (half if tile.row else 0)
        assert columns.start == (half if tile.column else 0)
        if tile.row < last_row:
            assert grid.tile_height - rows.stop == half
        if tile.column < last_column:
            assert grid.tile_width - columns.stop == half


@settings(max_examples=100, deadline=None)
@given(grids(), st.data())
def test_a_smaller_extent_gives_some_of_the_same_tiles(grid, data):
    x0, x1 = sorted(data.draw(st.tuples(*[st.floats(0, grid.raster_width)] * 2)))
    y0, y1 = sorted(data.draw(st.tuples(*[st.floats(0, grid.raster_height)] * 2)))
    assume(x1 - x0 > 1e-3 and y1 - y0 > 1e-3)
    extent = shapely.box(*(MAP_FROM_WORK * (x0, y1)), *(MAP_FROM_WORK * (x1, y0)))
    every = {(tile.row, tile.column): tile for tile in grid.tiles(whole(grid), MAP_FROM_WORK)}
    some = list(grid.tiles(extent, MAP_FROM_WORK))
    assert some
    for tile in some:
        assert every[tile.row, tile.column] == tile
    # Every pixel of the extent is answered for, and a margin of one example around it.
    answered = shapely.union_all([shapely.box(*tile.cell_work) for tile in some])
    reach = shapely.box(x0, y0, x1, y1).buffer(grid.example_px, join_style="mitre")
    reach = reach.intersection(shapely.box(0, 0, grid.raster_width, grid.raster_height))
    assert reach.difference(answered).area < 1e-6


def test_the_overlap_holds_an_object_of_the_examples_size():
    for example_px in (8, 48, 100, 192):
        grid = Grid(5000, 5000, crop_side(example_px), example_px)
        assert grid.overlap >= example_px and grid.overlap % STEP == 0
        assert LEAST_OVERLAP <= grid.overlap <= MOST_OVERLAP


def test_a_raster_smaller_than_a_tile_is_one_tile_of_its_own_size():
    grid = Grid(300, 200, 96, 48)
    (tile,) = grid.tiles(whole(grid), MAP_FROM_WORK)
    assert tile.cell_work == (0, 0, 300, 200)
    assert (grid.tile_width, grid.tile_height) == (304, 208)  # whole cells of SAM
    flat = Grid(300, 20, 96, 48)
    assert flat.tile_height == 96  # the example has to fit beside it


def test_a_turned_raster_gives_the_tiles_under_the_extent():
    turned = Affine.translation(1000, 8000) * Affine.rotation(30) * Affine.scale(0.5)
    grid = Grid(4000, 4000, 96, 48)
    x, y = turned * (3000.0, 500.0)
    tiles = list(grid.tiles(shapely.Point(x, y).buffer(1), turned))
    near = shapely.Point(3000, 500).buffer(2)
    assert any(near.intersects(shapely.box(*tile.cell_work)) for tile in tiles)
    assert len(tiles) <= 4
