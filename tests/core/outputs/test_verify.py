"""What is lost when a file is closed on a full disk is found out, and the older result stays."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window
from shapely.geometry import box

from core.errors import InputError
from core.outputs.place import DRIVERS
from core.outputs.verify import check_raster, check_table
from core.outputs.write import Drafts, write_table

CRS = "EPSG:32633"


def houses(count=60):
    shapes = [box(500000 + 20 * i, 5400000, 500010 + 20 * i, 5400010 + i) for i in range(count)]
    return gpd.GeoDataFrame(
        {"id": range(count), "score": 0.5, "target": "building"}, geometry=shapes, crs=CRS
    )


@pytest.fixture
def full_disk(monkeypatch):
    """The end of what is written is lost, and nobody is told."""

    def cut(module, name, share, ending=None):
        whole = getattr(module, name)

        def short(*given, **options):
            answer = whole(*given, **options)
            path = next(one for one in given if isinstance(one, os.PathLike))
            path = path.with_suffix(ending) if ending else path
            os.truncate(path, int(path.stat().st_size * share))
            return answer

        monkeypatch.setattr(module, name, short)

    return cut


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("ending", sorted(DRIVERS))
def test_a_layer_without_its_end_is_no_result(tmp_path, full_disk, ending, share):
    path = tmp_path / f"found{ending}"
    write_table(houses(3), path)
    before = path.read_bytes()
    full_disk(gpd.GeoDataFrame, "to_parquet" if ending == ".parquet" else "to_file", share)
    with pytest.raises(InputError, match=r"found\.\w+ could not be written whole\. Is the disk full\?"):
        write_table(houses(), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


@pytest.mark.parametrize("part", [".shx", ".dbf"])
def test_a_shapefile_without_the_end_of_a_part_is_no_result(tmp_path, full_disk, part):
    full_disk(gpd.GeoDataFrame, "to_file", 0.4, part)
    with pytest.raises(InputError, match="could not be written whole"):
        write_table(houses(), tmp_path / "found.shp")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_raster_without_its_end_is_no_result(tmp_path, share):
    path = tmp_path / "edges.tif"
    path.write_bytes(b"older")
    values = np.random.default_rng(1).random((700, 700), np.float32)
    transform = Affine(1, 0, 500_000, 0, -1, 5_400_000)
    profile = {"dtype": "float32", "width": 700, "height": 700, "crs": CRS, "transform": transform}

    def write():
        with Drafts() as drafts, drafts.raster(path, profile) as written:
            written.write(values, 1)
            written.close()
            os.truncate(written.name, int(Path(written.name).stat().st_size * share))

    with pytest.raises(InputError, match="could not be written"):
        write()
    assert path.read_bytes() == b"older"


def test_what_is_whole_is_a_result(tmp_path):
    table = houses()
    table.loc[3, "target"] = None
    for ending in sorted(DRIVERS):
        write_table(table, tmp_path / f"found{ending}")
        write_table(table.iloc[:0], tmp_path / f"nothing{ending}")
        assert len(gpd.read_parquet(tmp_path / f"found{ending}") if ending == ".parquet"
                   else gpd.read_file(tmp_path / f"found{ending}")) == len(table)  # fmt: skip
    with rasterio.Env(), Drafts() as drafts:
        profile = {"dtype": "uint8", "width": 9, "height": 9, "crs": None, "transform": Affine.scale(2)}
        with drafts.raster(tmp_path / "mask.tif", profile) as written:
            written.write(np.ones((9, 9), np.uint8), 1)
    assert (tmp_path / "mask.tif").exists()


def test_shapes_without_a_crs_and_lines_are_read_back_too(tmp_path):
    lines = houses().set_crs(None, allow_override=True)
    lines.geometry = lines.boundary
    for ending in (".gpkg", ".shp", ".parquet"):
        with Drafts() as drafts:
            drafts.table(lines, tmp_path / f"lines{ending}", "LineString")


def test_a_raster_without_some_of_its_blocks_is_not_whole(tmp_path):
    """They would be read as zeros, without a word."""
    path = tmp_path / "edges.tif"
    kind = {"driver": "GTiff", "tiled": True, "dtype": "uint8", "count": 1, "sparse_ok": True}
    with rasterio.open(path, "w", **kind, width=512, height=512) as written:
        written.write(np.ones((256, 256), np.uint8), 1, window=Window(0, 0, 256, 256))
    with pytest.raises(InputError, match="could not be written whole"):
        check_raster(path, path)


def test_a_geopackage_whose_index_is_broken_is_not_whole(tmp_path):
    """Nobody touches the index who reads all rows."""
    path = tmp_path / "found.gpkg"
    write_table(houses(2000), path)
    with closing(sqlite3.connect(path)) as database:
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'rtree_found_geom_rowid'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\0" * size)
    with pytest.raises(InputError, match="could not be written whole"):
        check_table(houses(2000), path, path)
