"""Vector files that users give: read right, or one sentence."""

import os

import geopandas as gpd
import pytest
import shapely

from core.errors import InputError
from core.geo.vector import read_vector

HOUSE = shapely.box(500_020, 5_399_958, 500_032, 5_399_970)
UTM = "EPSG:25832"


def table(**columns):
    return gpd.GeoDataFrame(columns, geometry=[HOUSE], crs=UTM)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.parquet", "a.shp"])
def test_only_the_columns_that_are_asked_for_are_read(tmp_path, name):
    given = table(Role=["positive"], note=["x"])
    given.to_parquet(tmp_path / name) if name.endswith("parquet") else given.to_file(tmp_path / name)
    read = read_vector(tmp_path / name, columns=("role",))
    assert sorted(read.columns) == ["Role", "geometry"] and read.geometry[0].equals(HOUSE)
    assert {"Role", "note", "geometry"} <= set(read_vector(tmp_path / name).columns)


def test_a_column_in_a_wrong_encoding_that_nobody_needs_does_no_harm(tmp_path):
    table(note=["Straße"]).to_file(tmp_path / "a.shp", encoding="ISO-8859-1")
    (tmp_path / "a.cpg").write_text("UTF-8")  # what is not so
    assert read_vector(tmp_path / "a.shp", columns=("role",)).geometry[0].equals(HOUSE)


def test_two_columns_of_one_meaning_are_refused(tmp_path):
    table(Role=["positive"], role=["negative"]).to_file(tmp_path / "a.geojson")
    with pytest.raises(InputError, match=r"has the columns Role and role\. Keep the one that counts"):
        read_vector(tmp_path / "a.geojson", columns=("role",))


def test_a_shapefile_without_its_index_is_read_and_left_as_it_is(tmp_path):
    table(role=["positive"]).to_file(tmp_path / "a.shp")
    (tmp_path / "a.shx").unlink()
    before = sorted(path.name for path in tmp_path.iterdir())
    read = read_vector(tmp_path / "a.shp", columns=("role",))
    assert read.geometry[0].equals(HOUSE) and list(read["role"]) == ["positive"] and read.crs == UTM
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("cut", [8, 40, 400])
def test_a_broken_geoparquet_is_one_sentence(tmp_path, cut):
    path = tmp_path / "a.parquet"
    table(role=["positive"]).to_parquet(path)
    whole = path.read_bytes()
    for broken in (whole[:-cut], whole[: -cut - 8] + b"\xff" * cut + whole[-8:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"No polygons can be read from .*a\.parquet"):
            read_vector(path, columns=("role",))


def test_a_plain_parquet_is_one_sentence(tmp_path):
    gpd.pd.DataFrame({"role": ["positive"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="No polygons can be read"):
        read_vector(tmp_path / "a.parquet")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "a.geojson")
    with pytest.raises(InputError, match="is a device or a pipe"):
        read_vector(tmp_path / "a.geojson")


def test_a_surface_of_triangles_is_read_or_refused_in_a_sentence(tmp_path):
    """GDAL's TIN, which shapely does not know."""
    text = '{"type": "FeatureCollection", "features": []}'
    (tmp_path / "a.geojson").write_text(text)
    assert len(read_vector(tmp_path / "a.geojson")) == 0
    (tmp_path / "a.csv").write_text('WKT\n"TIN (((0 0 0,0 1 0,1 0 0,0 0 0)))"\n')
    with pytest.raises(InputError, match=r"a surface such as a TIN\. Mend it"):
        read_vector(tmp_path / "a.csv")
