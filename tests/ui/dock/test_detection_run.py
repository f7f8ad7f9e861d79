"""From the dock's button to the layer, on the fake engine."""

from __future__ import annotations

import time

import pytest


def restart(dock):
    """The engine's habits are read when it starts."""
    dock.engine.stop()


def tasks_under_way():
    from qgis.core import QgsApplication

    return QgsApplication.taskManager().activeTasks()


def test_the_steps_enable_one_another(dock, iface, square, raster):
    from qgis.core import QgsProject

    assert not dock.run_step.run_button.isEnabled()
    assert dock.run_step.note == "First draw an example."
    assert not dock.example_step.clear_button.isEnabled()
    assert not dock.run_step.save_button.isEnabled()
    dock.set_example(square)
    assert dock.run_step.run_button.isEnabled()
    assert dock.example_step.clear_button.isEnabled()
    assert "4.0 × 4.0 m" in dock.example_step.note
    dock.example_step.clear_button.click()
    assert not dock.run_step.run_button.isEnabled()
    dock.set_example(square)
    QgsProject.instance().removeMapLayer(raster)
    assert not dock.run_step.run_button.isEnabled()
    assert dock.run_step.note == "First add an aerial image to the project."


def test_the_choices_come_from_the_engine(dock):
    assert [dock.where_step.target_box.itemText(i) for i in range(2)] == ["Building", "Vehicle"]
    assert dock.where_step.strategy() == "random-point"  # its default, though not its first


def test_a_run_adds_a_styled_layer_on_top(run, iface, raster, ready):
    from qgis.core import QgsProject

    layer = run()
    root = QgsProject.instance().layerTreeRoot()
    assert root.children()[0].layer() is layer
    assert layer.name() == "Buildings (random-point)"
    assert layer.crs() == raster.crs()
    assert layer.featureCount() == 1
    assert layer.renderer().symbol().symbolLayerCount() == 2  # casing and line of the style
    assert ready.run_step.note == "1 found in 1.5 s, at 0.20 m per pixel, with scores from 0.50."
    assert ready.run_step.save_button.isEnabled()
    assert iface.messages() == []


def test_a_result_that_is_removed_is_spoken_of_no_more(run, ready):
    from qgis.core import QgsProject

    layer = run()
    assert ready.run_step.note.startswith("1 found")
    QgsProject.instance().removeMapLayer(layer)
    assert "found" not in ready.run_step.note


def test_progress_shows(ready, habits, until):
    habits(steps=10, pause=0.05)
    restart(ready)
    ready.run_step.run_button.click()
    assert until(lambda: 40 <= ready.run_step.bar.value() < 100)
    assert ready.run_step.note.startswith("tile")
    assert not ready.run_step.run_button.isEnabled()
    assert until(lambda: not ready.running)


def test_the_request_holds_what_the_dock_shows(ready, habits, until, tmp_path, iface, raster):
    import json

    from qgis.core import QgsRectangle, QgsVectorLayer

    habits(report=str(tmp_path / "report.json"))
    restart(ready)
    box = ready.where_step.target_box
    box.setCurrentIndex(box.findData("vehicle"))
    ready.where_step.runs_box.setValue(7)
    ready.where_step.seed_box.setValue(3)
    ready.run_step.regularize_box.setChecked(True)
    raster.renderer().setRedBand(3)
    raster.renderer().setBlueBand(1)
    iface.canvas.setExtent(QgsRectangle(500010, 5399970, 500030, 5399990))
    ready.run()
    assert until(lambda: not ready.running)
    request = json.loads((tmp_path / "report.json").read_text())["requests"][0]
    assert (request["target"], request["runs"], request["seed"]) == ("vehicle", 7, 3)
    assert request["bands"] == [3, 2, 1]  # what the user sees
    assert (request["regularize"], request["rectangles"]) == (True, False)
    assert request["resolution"] is None
    assert request["min_score"] is None
    assert request["raster"] == raster.source()
    seen = iface.canvas.extent().intersect(raster.extent())
    assert request["extent"] == pytest.approx(
        [seen.xMinimum(), seen.yMinimum(), seen.xMaximum(), seen.yMaximum()]
    )
    example = QgsVectorLayer(request["example"], "example", "ogr")
    assert example.crs().authid() == "EPSG:32633"
    assert next(example.getFeatures()).geometry().area() == pytest.approx(16)


def test_example_and_extent_are_brought_into_the_rasters_crs(ready, habits, until, tmp_path, iface, raster):
    import json

    from exemplar.ui.drawing.example import Example
    from qgis.core import QgsCoordinateReferenceSystem, QgsVectorLayer

    mercator = QgsCoordinateReferenceSystem("EPSG:3857")
    ready.set_example(Example(ready.example.in_crs(mercator), mercator))
    iface.canvas.setDestinationCrs(mercator)
    habits(report=str(tmp_path / "report.json"))
    restart(ready)
    ready.run()
    assert until(lambda: not ready.running)
    request = json.loads((tmp_path / "report.json").read_text())["requests"][0]
    extent = raster.extent()
    assert request["extent"][0] >= extent.xMinimum() - 1e-6
    assert request["extent"][2] <= extent.xMaximum() + 1e-6
    example = next(QgsVectorLayer(request["example"], "example", "ogr").getFeatures()).geometry()
    assert example.boundingBox().xMinimum() == pytest.approx(500020, abs=0.01)
    assert ready.result_layer.crs().authid() == "EPSG:32633"


def test_nothing_found_is_told(run, habits, ready):
    habits(count=0)
    restart(ready)
    assert run() is None
    assert "Nothing found that scores 0.50 or more" in ready.run_step.note


@pytest.mark.parametrize("user_fault", [True, False])
def test_an_error_is_one_sentence(run, habits, ready, iface, user_fault):
    from qgis.core import Qgis

    habits(error={"message": "The raster has no band 7.", "user_fault": user_fault, "details": "Traceback"})
    restart(ready)
    assert run() is None
    level = Qgis.MessageLevel.Warning if user_fault else Qgis.MessageLevel.Critical
    assert iface.messages() == [(level, "The raster has no band 7.")]
    assert ready.run_step.run_button.isEnabled()


def test_a_killed_engine_leaves_qgis_alive_and_the_next_run_works(run, habits, ready, iface):
    habits(die_at=2)
    restart(ready)
    assert run() is None
    [(_, sentence)] = iface.messages()
    assert "was killed" in sentence
    habits()
    assert run().featureCount() == 1


def test_cancel_frees_the_window_at_once_and_the_engine_stops(ready, habits, until, record_property):
    habits(steps=1000, pause=0.05)
    restart(ready)
    ready.run_step.run_button.click()
    assert until(lambda: ready.run_step.note.startswith("tile"))
    pid = ready.engine.pid
    started = time.monotonic()
    ready.run_step.cancel_button.click()
    assert until(lambda: ready.run_step.run_button.isEnabled(), 1.0)
    free = time.monotonic() - started
    record_property("cancel_seconds", free)
    assert free < 0.3
    assert ready.run_step.note == "Cancelled."
    assert until(lambda: not tasks_under_way(), 1)  # or QGIS would ask about it when it is closed
    assert ready.engine.pid == pid  # it answered, so it stays warm
    assert ready.result_layer is None


def test_a_run_pressed_while_the_last_one_winds_down_waits_for_it(ready, habits, until, monkeypatch):
    monkeypatch.setattr("exemplar.ui.engine.client.CANCEL_SECONDS", 0.5)
    habits(deaf=True, steps=1000, pause=0.05)
    restart(ready)
    ready.run()
    assert until(lambda: ready.run_step.note.startswith("tile"))
    ready.cancel()
    habits()
    ready.run()
    assert until(lambda: not ready.running)
    assert ready.result_layer.featureCount() == 1


def test_cancel_from_the_task_manager(ready, habits, until):
    from qgis.core import QgsApplication

    habits(steps=1000, pause=0.05)
    restart(ready)
    ready.run()
    assert until(lambda: ready.run_step.note.startswith("tile"))
    QgsApplication.taskManager().cancelAll()
    assert until(lambda: not ready.running)
    assert ready.run_step.note == "Cancelled."


def test_unloading_in_the_middle_of_a_run_leaves_no_process(ready, plugin, habits, until, alive):
    habits(steps=1000, pause=0.05)
    restart(ready)
    ready.run()
    assert until(lambda: ready.run_step.note.startswith("tile"))
    pid = ready.engine.pid
    plugin.unload()
    assert not alive(pid)
    until(lambda: False, 0.2)  # what the task still has to say finds a dock that is gone


def test_out_of_sight_and_beside_the_raster_get_a_sentence(ready, iface, raster):
    from exemplar.ui.drawing.example import Example
    from qgis.core import QgsGeometry, QgsRectangle

    iface.canvas.setExtent(QgsRectangle(600000, 5399970, 600030, 5399990))
    ready.run()
    assert not ready.running
    iface.canvas.setExtent(raster.extent())
    beside = QgsGeometry.fromRect(QgsRectangle(600000, 5399970, 600030, 5399990))
    ready.set_example(Example(beside, raster.crs()))
    ready.run()
    assert not ready.running
    sentences = " ".join(text for _level, text in iface.messages())
    assert "not in the visible extent" in sentences
    assert "does not lie on “Image”" in sentences


def test_a_run_ends_with_its_image(ready, raster, habits, until):
    from qgis.core import QgsProject

    habits(steps=1000, pause=0.05)
    restart(ready)
    ready.run()
    assert until(lambda: ready.run_step.note.startswith("tile"))
    QgsProject.instance().removeMapLayer(raster)
    assert until(lambda: not ready.running)
    assert ready.result_layer is None
