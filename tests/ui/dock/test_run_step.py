"""The third step: why the run button is disabled, how outlines are drawn, what can be saved."""

from __future__ import annotations

from pathlib import Path


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


def test_rectangles_go_before_right_angles(dock):
    step = dock.run_step
    assert step.options() == {"regularize": False, "rectangles": False}
    step.regularize_box.click()
    assert step.options() == {"regularize": True, "rectangles": False}
    step.rectangles_box.click()
    assert step.options() == {"regularize": False, "rectangles": True}
    assert not step.regularize_box.isEnabled()
    step.rectangles_box.click()
    assert step.options() == {"regularize": True, "rectangles": False}


def test_a_removed_layer_can_no_longer_be_saved(run, ready):
    from qgis.core import QgsProject

    QgsProject.instance().removeMapLayer(run())
    assert ready.result_layer is None
    assert not ready.run_step.save_button.isEnabled()


def test_an_earlier_result_is_named_as_one(run, ready, habits, tmp_path):
    layer = run()
    assert ready.run_step.save_button.text() == "Save as…"
    habits(count=0)
    ready.engine.stop()
    run()
    assert "Lower “Minimum score”" in ready.run_step.note
    assert ready.run_step.save_button.text() == "Save earlier result as…"
    assert layer.name() in ready.run_step.save_button.toolTip()
    assert ready.save_as(str(tmp_path / "found.gpkg"))  # it is not lost
    habits()
    ready.engine.stop()
    run()
    assert ready.run_step.save_button.text() == "Save as…"
