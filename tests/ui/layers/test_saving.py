"""*Save as…*: into which file and which of its tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["häuser.shp", "found.gpkg", "bare"])
def test_save_as(run, ready, tmp_path, name, raster):
    from qgis.core import QgsVectorLayer

    layer = run()
    path = tmp_path / name
    assert ready.save_as(str(path))
    written = path if path.suffix else path.with_suffix(".gpkg")
    saved = QgsVectorLayer(str(written), "saved", "ogr")
    assert saved.featureCount() == 1
    assert saved.crs() == raster.crs()
    assert layer.source().split("|")[0] == str(written)  # the layer lives on when QGIS closes
    if written.suffix == ".shp":
        assert path.with_suffix(".prj").exists()
        assert path.with_suffix(".cpg").read_text().strip() == "UTF-8"
        assert "fid" not in saved.fields().names()
    assert ready.save_as(str(path))  # again, onto itself
    assert layer.featureCount() == 1


def test_a_file_that_cannot_be_written_gets_a_sentence(run, ready, tmp_path, iface):
    run()
    assert not ready.save_as(str(tmp_path / "no" / "such" / "folder" / "x.shp"))
    assert any("could not be written" in text for _level, text in iface.messages())


def test_a_run_in_a_geopackage_that_is_there_leaves_its_other_layers(run, ready, tmp_path, raster):
    from qgis.core import QgsVectorLayer

    path = tmp_path / "results.gpkg"
    first = run()
    first.setName("Buildings")
    assert ready.save_as(str(path))
    second = run()
    second.setName("Vehicles")
    for _ in range(2):  # again: its own layer is replaced
        assert ready.save_as(str(path))
    everything = QgsVectorLayer(str(path), "all", "ogr")
    names = {part.split("!!::!!")[1] for part in everything.dataProvider().subLayers()}
    assert names == {"results", "Vehicles"}
    assert second.source() == f"{path}|layername=Vehicles"
    assert first.featureCount() == second.featureCount() == 1


def test_saving_while_editing_saves_the_edits_and_moves_the_layer(run, ready, tmp_path):
    from qgis.core import QgsVectorLayer

    layer, path = run(), tmp_path / "edited.gpkg"
    assert layer.startEditing() and layer.deleteFeature(next(layer.getFeatures()).id())
    assert ready.save_as(str(path))
    assert QgsVectorLayer(str(path), "saved", "ogr").featureCount() == 0
    assert layer.source().split("|")[0] == str(path)


def test_three_runs_of_one_title_in_one_file_are_all_kept(run, ready, tmp_path):
    """Only the layer's own table may be written over."""
    from osgeo import ogr

    path, found = tmp_path / "town.gpkg", []
    for _ in range(3):
        found.append(run())
        assert ready.save_as(str(path))
    title = "Buildings (random-point)"
    names = ["town", title, f"{title} 2"]
    assert [layer.source().split("|layername=")[1] for layer in found] == names
    assert sorted(layer.GetName() for layer in ogr.Open(str(path))) == sorted(names)
    assert [layer.featureCount() for layer in found] == [1, 1, 1]
    fourth = run()
    fourth.setName(title.upper())  # to SQLite the same name
    assert ready.save_as(str(path))
    assert fourth.source().endswith(f"{title.upper()} 3")


def test_a_shapefile_that_another_layer_shows_is_not_replaced(run, ready, tmp_path, iface):
    """That layer would show other features, and write its own edits into them."""
    from qgis.core import QgsProject

    path = tmp_path / "found.shp"
    first = run()
    assert ready.save_as(str(path))
    assert first.startEditing() and first.deleteFeature(next(first.getFeatures()).id())
    second = run()
    assert not ready.save_as(str(path))
    assert any("shows" in text and "another name" in text for _level, text in iface.messages())
    assert first.rollBack() and first.featureCount() == 1
    QgsProject.instance().removeMapLayer(first)
    assert ready.save_as(str(path)) and second.source() == str(path)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", [".gpkg", ".shp"])
@pytest.mark.parametrize(
    "stem", ["a;b", "a!b", "a b", "a#b", "a?b", "a'b", "a|b", "a|layername=x", "x|subset=1", "a%20b"]
)
def test_the_file_that_was_named_is_saved_or_none_is(run, ready, tmp_path, iface, stem, ending):
    """QGIS 3.22 takes what follows a bar for options, and its GDAL 3.6 reads no GeoPackage a%20b.gpkg."""
    from qgis.core import QgsVectorLayer

    for name in ("a", "x", "b"):
        (tmp_path / f"{name}{ending}").write_text("the user's own")
    before = names_in(tmp_path)
    layer = run()
    path = tmp_path / f"{stem}{ending}"
    shown = layer.source()
    if ready.save_as(str(path)):
        assert path.exists() and layer.source().startswith(str(path))
        assert QgsVectorLayer(layer.source(), "saved", "ogr").featureCount() == 1
    else:
        assert any("Choose another name" in text for _level, text in iface.messages())
        assert names_in(tmp_path) == before and layer.source() == shown
    assert all((tmp_path / f"{name}{ending}").read_text() == "the user's own" for name in ("a", "x", "b"))
    assert layer.isValid() and layer.featureCount() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
@pytest.mark.parametrize("name", ["found.shp", "found.gpkg"])
def test_on_a_full_disk_the_older_file_stays(run, ready, tmp_path, iface, name):
    from qgis.core import QgsProject

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        first = run()
        assert ready.save_as(str(disk / name))
        before = {path.name: path.read_bytes() for path in disk.iterdir() if path.suffix != ".gpkg"}
        (disk / "fill").write_bytes(b"\0" * shutil.disk_usage(disk).free)
        QgsProject.instance().removeMapLayer(first)
        run()
        assert not ready.save_as(str(disk / name))
        assert any("the disk is full. Make room" in text for _level, text in iface.messages())
        (disk / "fill").unlink()
        assert {n: (disk / n).read_bytes() for n in before} == before
        assert not [path for path in disk.iterdir() if path.name.startswith(".")]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_if_one_part_of_a_shapefile_cannot_take_its_place_none_does(run, ready, tmp_path, iface, monkeypatch):
    from qgis.core import QgsProject

    path = tmp_path / "found.shp"
    first = run()
    assert ready.save_as(str(path))
    QgsProject.instance().removeMapLayer(first)
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir() if one.is_file()}
    replace = Path.replace

    def held(source, goal):
        if source.name == "found.dbf" and goal == tmp_path / "found.dbf" and source.parent.name != "older":
            raise PermissionError(13, "Permission denied")
        return replace(source, goal)

    run()
    monkeypatch.setattr(Path, "replace", held)
    assert not ready.save_as(str(path))
    assert any("there is no permission to write there" in text for _level, text in iface.messages())
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir() if one.is_file()} == before
