"""Working grids without a file behind them."""

from types import SimpleNamespace

from core.geo.work_grid import WorkGrid


def plain_grid(map_from_work, crs):
    """A working grid of which only the way to the map and the CRS are known."""
    grid = WorkGrid.__new__(WorkGrid)
    grid.map_from_work, grid.raster = map_from_work, SimpleNamespace(crs=crs)
    return grid
