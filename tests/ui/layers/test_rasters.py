"""Which rasters the engine can read, as the dock says it and as the engine is told."""

from __future__ import annotations

from pathlib import Path


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


def test_a_raster_opened_with_options_runs(ready, habits, until, tmp_path, iface, raster):
    """The data source manager's *Options*: QGIS keeps them in the source, which is no path then."""
    import json

    from qgis.core import QgsProject, QgsRasterLayer

    layer = QgsRasterLayer(f"{raster.source()}|option:NUM_THREADS=ALL_CPUS", "Optioned")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    habits(report=str(tmp_path / "report.json"))
    ready.engine.stop()  # its habits are read when it starts
    ready.where_step.raster_box.setLayer(layer)
    ready.run()
    assert until(lambda: not ready.running)
    assert json.loads((tmp_path / "report.json").read_text())["requests"][0]["raster"] == raster.source()
