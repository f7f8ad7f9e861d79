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
    assert dock.run_step.note == "First choose an image that can be read: see step 2."
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
    assert ready.run_step.note == "First choose an image that can be read: see step 2."
    Path(raster.source()).unlink()
    ready.where_step.raster_box.setLayer(raster)
    assert ready.where_step.note.startswith("“Image” can't be opened: its file is missing or damaged")


def test_an_engine_that_is_not_there_is_the_first_reason(plugin, until, monkeypatch, tmp_path):
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", str(tmp_path / "gone"))
    plugin.dock.setUserVisible(True)
    assert until(lambda: "is not there" in plugin.dock.run_step.note)  # though there is no example either


@pytest.fixture
def heights(raster, tmp_path):
    """A second raster of the same place, whose name comes first."""
    import shutil

    from qgis.core import QgsProject, QgsRasterLayer

    shutil.copy(raster.source(), tmp_path / "heights.tif")
    layer = QgsRasterLayer(str(tmp_path / "heights.tif"), "Heights")
    QgsProject.instance().addMapLayer(layer)
    return layer


def test_the_image_is_the_one_that_was_drawn_on(dock, square, raster, heights, iface):
    box = dock.where_step.raster_box
    box.setLayer(heights)  # as the box does by itself
    iface.canvas.setLayers([raster])
    dock.set_example(square)
    assert dock.where_step.raster() is raster
    iface.canvas.setLayers([heights, raster])
    dock.set_example(square)
    dock.example_step.undo_button.click()
    assert dock.where_step.raster() is heights


def test_a_choice_of_the_users_stays(dock, square, raster, heights, iface):
    from qgis.core import QgsProject

    box = dock.where_step.raster_box
    box.setLayer(heights)
    box.activated.emit(box.currentIndex())
    iface.canvas.setLayers([raster])
    dock.set_example(square)
    assert dock.where_step.raster() is heights
    QgsProject.instance().removeMapLayer(heights)
    assert dock.where_step.raster() is raster


def test_before_a_drawing_the_image_is_the_active_layer(dock, raster, heights, iface):
    dock.where_step.raster_box.setLayer(heights)
    iface.currentLayerChanged.emit(raster)
    assert dock.where_step.raster() is raster


def test_what_can_not_be_searched_is_not_taken_for_what_was_drawn_on(dock, square, raster, placeless, iface):
    dock.where_step.raster_box.setLayer(placeless)
    iface.canvas.setLayers([placeless, raster])
    dock.set_example(square)
    assert dock.where_step.raster() is raster


def test_a_damaged_file_is_told_as_that(dock, square, raster):
    path = Path(raster.source())
    whole = path.read_bytes()
    path.write_bytes(whole[:7])
    raster.setDataSource(str(path), "Image", "gdal")
    dock.set_example(square)
    assert dock.where_step.note.startswith("“Image” can't be opened: its file is missing or damaged")
    path.write_bytes(whole)
    raster.setDataSource(str(path), "Image", "gdal")
    assert dock.where_step.note == ""


def test_without_an_environment_the_commands_can_be_copied(plugin, until, monkeypatch, tmp_path):
    from qgis.PyQt.QtWidgets import QApplication

    monkeypatch.delenv("EXEMPLAR_ENGINE_PYTHON")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    dock = plugin.dock
    dock.setUserVisible(True)
    assert until(lambda: "two commands" in dock.run_step.note)
    dock.run_step.commands_box.copy_button.click()
    assert f"{tmp_path}/exemplar/venv/bin/python -m pip install" in QApplication.clipboard().text()
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", "/usr/bin/python3")
    dock.run_step.retry_button.click()
    assert until(lambda: dock.where_step.target() is not None)
    assert not dock.run_step.commands_box.isVisible()


def test_a_python_that_is_none_is_not_remembered(ready, until, fake_python, tmp_path):
    from exemplar.ui import settings

    wrong = tmp_path / "no-python"
    wrong.write_text("#!/bin/sh\nexit 3\n")
    wrong.chmod(0o755)
    ready.engine_start.use_python(str(wrong))
    assert until(lambda: ready.run_step.default_button.isVisible())
    assert settings.engine_python() == ""
    ready.run_step.default_button.click()
    assert until(lambda: ready.run_step.run_button.isEnabled())
    assert not ready.run_step.default_button.isVisible()


def test_a_chosen_python_that_is_gone_can_be_forgotten(plugin, until, tmp_path):
    from exemplar.ui import settings

    settings.set_engine_python(str(tmp_path / "gone"))
    plugin.dock.setUserVisible(True)
    assert until(lambda: plugin.dock.run_step.default_button.isVisible())
    plugin.dock.run_step.default_button.click()
    assert until(lambda: plugin.dock.where_step.target() is not None)
    assert settings.engine_python() == ""
