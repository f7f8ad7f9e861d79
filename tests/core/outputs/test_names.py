"""What is written, read back, moved and counted is the file that was named, whatever its name is.

pyogrio 0.13.0 (``pyogrio/util.py``, ``vsi_path``) reads a path as if it were an address of the web:
it cuts off a ``;`` and what follows in the last part of a path, takes what stands before a ``!`` for
an archive, drops tabs, line ends and a last ``?``, and drops the first folder after two slashes. geopandas
1.2.0 (``geopandas/io/file.py``, ``_expand_user``) takes a first ``~`` for a home. GDAL 3.12.4
(``port/cpl_path.cpp``) takes a backslash for the end of a folder's name on Linux, too: of ``\\.shp``
it finds no other part.
"""

import os
import shutil
import tempfile
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
from affine import Affine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyogrio.errors import DataSourceError
from shapely.geometry import box

from core.errors import InputError
from core.geo import paths
from core.geo.paths import plain_path
from core.geo.vector import read_vector
from core.outputs.check import check_writable
from core.outputs.place import DRIVERS
from core.outputs.write import Drafts, write_table

# what a library, a shell or an address could take for something else
STEMS = [
    "draft",
    "decoy\\x",
    "x\\decoy",
    *("a;b", "a!b", "x!decoy", "decoy;x", "decoy;", "a?b", "decoy?", "a#b", "a%20b", "a%3Fb", "a|b"),
    *("a|layername=x", "GPKG:x", "file:x", "zip:x", " lead", "trail ", "a\tb", "a\nb", "a\x7fb", "a&b"),
    *("a'b", 'a"b', "a,b", "a=b", "a\\b", "ü", "e\u0301", "😀", "x.gpkg", "x.shp!y", "a.zip", "a.zip;"),
]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows forbids most of these names")


def squares(count):
    return gpd.GeoDataFrame(
        {"n": range(count)}, geometry=[box(i, 0, i + 1, 1) for i in range(count)], crs="EPSG:32633"
    )


def files_of(stem, ending):
    parts = (".shp", ".shx", ".dbf", ".prj", ".cpg") if ending == ".shp" else (ending,)
    return {f"{stem}{part}" for part in parts}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with files whose names begin or end like those of the results."""
    monkeypatch.chdir(tmp_path)
    for name in ("decoy", "a", "b", "x", "ab", *(f"decoy{ending}" for ending in DRIVERS)):
        (tmp_path / name).write_text("the user's own")
    return tmp_path


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("ending", sorted(DRIVERS))
@pytest.mark.parametrize("stem", STEMS)
def test_a_result_is_written_to_the_name_that_was_given(folder, stem, ending, relative):
    path = Path(f"{stem}{ending}") if relative else folder / f"{stem}{ending}"
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    check_writable(path)
    write_table(squares(2), path)
    write_table(squares(3), path)
    assert list(read_vector(path)["n"]) == [0, 1, 2]
    after = {one.name: one.read_bytes() for one in folder.iterdir()}
    assert set(after) == set(before) | files_of(stem, ending)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("ending", sorted(DRIVERS))
@pytest.mark.parametrize("stem", [*STEMS, "~b", "..x", "-x", "*", "[1]", "{x}"])
def test_a_result_is_written_into_the_folder_that_was_given(folder, stem, ending):
    path = folder / "in" / stem / f"found{ending}"
    path.parent.mkdir(parents=True)
    check_writable(path)
    write_table(squares(3), path)
    assert len(read_vector(path)) == 3
    assert {one.name for one in path.parent.iterdir()} == files_of("found", ending)


@pytest.mark.parametrize("stem", ["decoy;v2", "decoy!v2", "x!decoy"])
def test_a_mask_is_written_to_the_name_that_was_given(folder, stem):
    path = folder / f"{stem}.tif"
    check_writable(path, (".tif",))
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    profile = {"dtype": "uint8", "width": 9, "height": 9, "crs": None, "transform": Affine.scale(2)}
    with Drafts() as drafts, drafts.raster(path, profile):
        pass
    assert {one.name for one in folder.iterdir()} == {*before, path.name}


def test_a_file_that_is_not_there_is_not_read_from_another(folder):
    squares(3).to_file("plots.gpkg")
    squares(3).to_file("plots.geojson")
    for absent in ("plots.gpkg;v2", "plots.geojson?", "x!plots.gpkg", "plo\tts.gpkg"):
        with pytest.raises(InputError, match="There is no file"):
            read_vector(absent)


@pytest.mark.parametrize("name", ["plots;v2.shp", "plots!v2.shp", "plots.shp", "plo\nts.shp"])
def test_all_parts_of_a_shapefile_are_read(folder, name):
    (folder / "in").mkdir()
    squares(3).to_crs(25832).to_file("in/roofs.shp")
    for part in (folder / "in").iterdir():
        part.rename(folder / name.replace(".shp", part.suffix))
    table = read_vector(name)
    assert list(table["n"]) == [0, 1, 2] and table.crs.to_epsg() == 25832


def test_a_virtual_layer_finds_its_source_in_a_folder_of_any_name(folder):
    (folder / "pl;ots!").mkdir()
    squares(3).to_file("roofs.geojson")
    shutil.move("roofs.geojson", "pl;ots!/roofs.geojson")
    (folder / "pl;ots!" / "roofs.vrt").write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="roofs"><SrcDataSource relativeToVRT="1">roofs.geojson'
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    assert len(read_vector("pl;ots!/roofs.vrt")) == 3


def test_a_path_that_begins_with_two_slashes_is_read(folder):
    squares(3).to_file("plots.gpkg")
    doubled = f"/{folder}/plots.gpkg"
    with pytest.raises(DataSourceError):  # the surprise: the first folder's name is left out
        pyogrio.list_layers(doubled)
    assert len(read_vector(doubled)) == 3


def test_a_path_that_no_link_makes_plain_is_refused(folder, monkeypatch):
    def forbidden(*_, **__):
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(paths.Path, "symlink_to", forbidden)
    (folder / "plots;v2.gpkg").touch()
    with pytest.raises(InputError, match=r"plots;v2\.gpkg' has a sign in its path.*Rename it"):
        read_vector("plots;v2.gpkg")
    with plain_path("plots.gpkg") as plain:
        assert plain == folder / "plots.gpkg"


FORMATS = {
    ".gpkg": "GPKG",
    ".gpkg.zip": "GPKG",
    ".shz": "ESRI Shapefile",
    ".shp.zip": "ESRI Shapefile",
    ".fgb": "FlatGeobuf",
    ".gml": "GML",
    ".kml": "KML",
    ".tab": "MapInfo File",
    ".sqlite": "SQLite",
    ".geojsonl": "GeoJSONSeq",
    ".gdb": "OpenFileGDB",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("stem", ["a;b", "a!b", "decoy;x", "x!decoy", "a?"])
def test_each_format_is_read_under_any_name(folder, stem, ending):
    squares(3).to_file(f"plain{ending}", driver=FORMATS[ending])
    for part in folder.glob("plain*"):
        part.rename(f"{stem}{part.name.removeprefix('plain')}")
    assert len(read_vector(f"{stem}{ending}")) == 3


@example(stem="\\", ending=".shp")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    stem=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40),
    ending=st.sampled_from([".geojson", ".shp", ".gpkg"]),
)
def test_any_text_is_a_name_or_is_refused_before_the_work(tmp_path, stem, ending):
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    path = folder / f"{stem}{ending}"
    try:
        check_writable(path)
    except InputError as error:  # a GeoPackage's layers have rules
        assert (
            "Choose another name" in str(error) or "known format" in str(error) or "a shorter" in str(error)
        )
        assert list(folder.iterdir()) == []
        return
    write_table(squares(3), path)
    assert len(read_vector(path)) == 3
    assert {one.name for one in folder.iterdir()} == files_of(path.stem, ending)
