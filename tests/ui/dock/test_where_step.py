"""The second step: which image is searched."""

from __future__ import annotations

import pytest


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
