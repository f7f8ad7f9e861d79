"""The grid: cells share the raster out exactly, whatever its size."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from core.canvas.stitch import crop_side
from core.canvas.tiling import LEAST_OVERLAP, MOST_OVERLAP, Tiling
from core.sam.geometry import CELL, SIDE


@st.composite
def grids(draw, largest=6000):
    length = draw(st.floats(8, 192))
    return Tiling(draw(st.integers(1, largest)), draw(st.integers(1, largest)), crop_side(length), length)


def cuts(intervals):
    """Sorted distinct intervals, checked to follow each other without gap or overlap."""
    ordered = sorted(set(intervals))
    for (_, end), (start, _) in zip(ordered, ordered[1:]):
        assert end == start
    return ordered[0][0], ordered[-1][1]


@settings(max_examples=150, deadline=None)
@given(grids())
def test_cells_share_the_raster_out_without_gap_or_overlap(grid):
    tiles = list(grid.tiles())
    boxes = [tile.cell_work for tile in tiles]
    assert cuts([(x0, x1) for x0, _, x1, _ in boxes]) == (0, grid.width_work)
    assert cuts([(y0, y1) for _, y0, _, y1 in boxes]) == (0, grid.height_work)
    assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) == grid.width_work * grid.height_work
    assert len({(tile.row, tile.column) for tile in tiles}) == len(tiles)


@settings(max_examples=150, deadline=None)
@given(grids(), st.booleans())
def test_each_cell_lies_in_its_tile_with_half_the_overlap_to_spare(grid, evenly):
    grid = dataclasses.replace(grid, evenly=evenly)
    assert grid.column + grid.tile_width <= SIDE
    assert grid.column <= grid.tile_height <= SIDE
    last_row = max(tile.row for tile in grid.tiles())
    last_column = max(tile.column for tile in grid.tiles())
    for tile in grid.tiles():
        rows, columns = tile.cell_tile
        assert 0 <= rows.start < rows.stop <= grid.tile_height
        assert 0 <= columns.start < columns.stop <= grid.tile_width
        # No tile starts beyond the raster, and every pixel of its cell is inside both.
        assert 0 <= tile.x_work < grid.width_work and 0 <= tile.y_work < grid.height_work
        half = grid.overlap // 2
        spare = {
            (rows.start, tile.row > 0),
            (grid.tile_height - rows.stop, tile.row < last_row),
            (columns.start, tile.column > 0),
            (grid.tile_width - columns.stop, tile.column < last_column),
        }
        for pixels, has_neighbour in spare:
            assert pixels >= half if has_neighbour else pixels >= 0
            if has_neighbour and not evenly:
                assert pixels == half


@settings(max_examples=150, deadline=None)
@given(grids())
def test_tiles_end_where_the_raster_does(grid):
    """But for a raster smaller than a tile: by whole cells of SAM, or by the example's height."""
    apart = dataclasses.replace(grid, evenly=False)
    assert len(list(grid.tiles())) == len(list(apart.tiles()))
    right = max(tile.x_work for tile in grid.tiles()) + grid.tile_width
    bottom = max(tile.y_work for tile in grid.tiles()) + grid.tile_height
    assert right == max(grid.width_work, grid.tile_width)
    assert bottom == max(grid.height_work, grid.tile_height)


@given(grids(), st.tuples(*[st.floats(-500, 6500)] * 4))
def test_tiles_near_a_box_are_those_whose_cells_touch_it(grid, ends):
    (x0, x1), (y0, y1) = sorted(ends[:2]), sorted(ends[2:])
    expected = [
        (tile.row, tile.column)
        for tile in grid.tiles()
        if tile.cell_work[0] <= x1 and tile.cell_work[2] >= x0
        and tile.cell_work[1] <= y1 and tile.cell_work[3] >= y0
    ]  # fmt: skip
    assert list(grid.near((x0, y0, x1, y1))) == expected
    assert all(grid.tile(*place) in grid.tiles() for place in expected)


def test_a_countrys_raster_is_not_listed_to_find_one_tile():
    grid = Tiling(10_000_000, 10_000_000, 160, 100)
    assert len(list(grid.near((5e6, 5e6, 5e6 + 10, 5e6 + 10)))) <= 4


def test_the_overlap_holds_an_object_of_the_examples_size():
    for length in (8, 48, 100, 192):
        grid = Tiling(5000, 5000, crop_side(length), length)
        assert grid.overlap >= length and grid.overlap % CELL == 0
        assert LEAST_OVERLAP <= grid.overlap <= MOST_OVERLAP


def test_a_raster_smaller_than_a_tile_is_one_tile_of_its_own_size():
    grid = Tiling(300, 200, 96, 48)
    (tile,) = grid.tiles()
    assert tile.cell_work == (0, 0, 300, 200)
    assert (grid.tile_width, grid.tile_height) == (304, 208)  # whole cells of SAM
    flat = Tiling(300, 20, 96, 48)
    assert flat.tile_height == 96  # the example has to fit beside it
