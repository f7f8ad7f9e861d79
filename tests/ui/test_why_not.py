"""Why the run button is disabled: the present reason, in the words that help."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def placeless(tmp_path, iface):
    """A file of the same pixels that names no CRS, in the project."""
    from osgeo import gdal
    from qgis.core import QgsCoordinateReferenceSystem, QgsProject, QgsRasterLayer

    path = tmp_path / "placeless.tif"
    data = gdal.GetDriverByName("GTiff").Create(str(path), 200, 200, 3, gdal.GDT_Byte)
    data.SetGeoTransform((500000.0, 0.2, 0.0, 5400000.0, 0.0, -0.2))
    del data
    layer = QgsRasterLayer(str(path), "Placeless")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))  # by hand: the engine sees the file only
    QgsProject.instance().addMapLayer(layer)
    return layer


def test_a_raster_that_is_no_file_gets_a_sentence(dock, square, qgis_app):
    from qgis.core import QgsProject, QgsRasterLayer

    url = "type=xyz&url=https://tile.invalid/{z}/{x}/{y}.png&zmax=18&zmin=0"
    QgsProject.instance().addMapLayer(QgsRasterLayer(url, "Tiles", "wms"))
    dock.set_example(square)
    assert dock.where_step.note.startswith("“Tiles” is not a file, but comes from the web or from a database")
    assert not dock.run_step.run_button.isEnabled()


def test_a_file_without_crs_gets_the_reason_that_holds(dock, square, placeless):
    dock.set_example(square)
    sentence = "The file of “Placeless” names no coordinate system"
    assert dock.where_step.note.startswith(sentence)
    assert dock.run_step.note.startswith(sentence)
    assert not dock.run_step.run_button.isEnabled()


def test_a_layer_that_gets_another_file_is_looked_at_again(dock, square, raster, placeless):
    """*Change Data Source…* in the layer's menu, and back."""
    dock.set_example(square)
    dock.where_step.raster_box.setLayer(placeless)
    assert not dock.run_step.run_button.isEnabled()
    there = placeless.source()
    placeless.setDataSource(raster.source(), "Placeless", "gdal")
    assert dock.run_step.run_button.isEnabled()
    assert dock.where_step.note == dock.run_step.note == ""
    placeless.setDataSource(there, "Placeless", "gdal")
    assert not dock.run_step.run_button.isEnabled()


def test_a_layer_that_gets_another_crs_is_looked_at_again(dock, square, raster, until):
    from qgis.core import QgsCoordinateReferenceSystem

    dock.set_example(square)
    told = []
    dock.where_step.changed.connect(lambda: told.append(raster.crs().authid()))
    raster.setCrs(QgsCoordinateReferenceSystem("EPSG:25833"))
    assert told == ["EPSG:25833"]


def test_only_the_chosen_raster_is_listened_to(dock, plugin, raster, placeless):
    from qgis.core import QgsCoordinateReferenceSystem, QgsProject

    told, box = [], dock.where_step.raster_box
    dock.where_step.changed.connect(lambda: told.append(None))
    box.setLayer(raster)
    box.setLayer(placeless)
    del told[:]
    raster.setCrs(QgsCoordinateReferenceSystem("EPSG:25833"))
    assert told == []
    QgsProject.instance().removeMapLayer(placeless)  # gone for good
    assert dock.where_step.raster() is raster and told
    del told[:]
    plugin.unload()
    raster.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    assert told == []


def test_the_last_runs_error_does_not_hide_the_reason(run, ready, habits, placeless, raster):
    habits(error={"message": "The raster has no band 7.", "user_fault": True, "details": ""})
    ready.engine.stop()
    ready.where_step.raster_box.setLayer(raster)
    run()
    assert ready.run_step.note == "The raster has no band 7."
    ready.where_step.raster_box.setLayer(placeless)
    assert ready.run_step.note.startswith("The file of “Placeless” names no coordinate system")
    Path(raster.source()).unlink()
    ready.where_step.raster_box.setLayer(raster)
    assert ready.run_step.note.startswith("“Image” is not a file on this computer's disk")


def test_an_engine_that_is_not_there_is_the_first_reason(plugin, until, monkeypatch, tmp_path):
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", str(tmp_path / "gone"))
    plugin.dock.setUserVisible(True)
    assert until(lambda: "is not there" in plugin.dock.run_step.note)  # though there is no example either
