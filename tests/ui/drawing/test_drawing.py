"""More than one example, and polygons of what is not meant, from the dock's buttons to the engine's file."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def draw(dock, raster, iface):
    """Press a draw button and click a triangle, at shares of the canvas."""
    from qgis.PyQt.QtCore import QPoint, Qt
    from qgis.PyQt.QtTest import QTest

    def press(button, x, y):
        button.click()
        assert dock.draw_tool.isActive()
        canvas = iface.canvas
        for dx, dy in ((0, 0), (0.1, 0), (0.1, 0.1)):
            at = QPoint(round(canvas.width() * (x + dx)), round(canvas.height() * (y + dy)))
            QTest.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)
        QTest.mouseClick(canvas.viewport(), Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier, at)
        assert not dock.draw_tool.isActive()

    return press


@pytest.fixture
def drawn(dock, draw):
    """One example, one more, and one of what is not meant."""
    step = dock.example_step
    draw(step.draw_button, 0.1, 0.1)
    draw(step.more_button, 0.3, 0.3)
    draw(step.not_button, 0.6, 0.6)
    return dock


def numbers(dock):
    return len(dock.examples.positive), len(dock.examples.negative)


def bands(iface):
    """Colour and number of polygons of what is shown on the canvas."""
    from qgis.gui import QgsRubberBand

    found = [item for item in iface.canvas.scene().items() if isinstance(item, QgsRubberBand) and item.size()]
    return {band.strokeColor().name(): band.size() for band in found}


def test_before_the_first_example_there_is_one_thing_to_press(dock):
    step = dock.example_step
    assert step.draw_button.isEnabled()
    for button in (step.more_button, step.not_button, step.undo_button, step.clear_button):
        assert not button.isEnabled()


def test_examples_and_what_is_not_meant_add_up_and_are_counted(drawn):
    assert numbers(drawn) == (2, 1)
    assert drawn.example_step.note.endswith("; 2 examples; 1 of “not this”")
    assert drawn.run_step.run_button.isEnabled()


def test_the_two_have_their_own_colours(drawn, iface):
    shown = bands(iface)
    assert len(shown) == 2 and sorted(shown.values()) == [1, 2]
    assert shown["#ffb000"] == 2  # what to find, in the colour that it always had


def test_what_is_being_drawn_has_its_colour_already(drawn, iface):
    from qgis.PyQt.QtCore import QPoint, Qt
    from qgis.PyQt.QtTest import QTest

    drawn.set_example(None)
    drawn.drawing.begin("not")
    QTest.mouseClick(
        iface.canvas.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(50, 50)
    )
    (colour,) = bands(iface)
    drawn.drawing.begin("more")
    assert {*bands(iface)} == {"#ffb000"} != {colour}


def test_the_pressed_button_says_what_is_drawn(dock, square):
    dock.set_example(square)
    step = dock.example_step
    buttons = (step.draw_button, step.more_button, step.not_button)
    for pressed in buttons:
        pressed.click()
        assert [button.isChecked() for button in buttons] == [button is pressed for button in buttons]
    assert "not meant" in step.note
    step.not_button.click()  # again: no more drawing
    assert not dock.draw_tool.isActive() and not step.not_button.isChecked()


def test_undo_takes_back_the_last_step_whatever_it_was(drawn, draw):
    undo = drawn.example_step.undo_button
    drawn.example_step.clear_button.click()
    assert numbers(drawn) == (0, 0) and not drawn.example_step.clear_button.isEnabled()
    undo.click()  # what was cleared by mistake is back
    assert numbers(drawn) == (2, 1)
    for left in ((2, 0), (1, 0), (0, 0)):
        undo.click()
        assert numbers(drawn) == left
    assert not undo.isEnabled()


def test_drawing_again_begins_anew(drawn, draw):
    draw(drawn.example_step.draw_button, 0.4, 0.4)
    assert numbers(drawn) == (1, 0)
    drawn.example_step.undo_button.click()
    assert numbers(drawn) == (2, 1)


def test_the_engines_file_carries_the_roles(drawn, habits, until, tmp_path):
    from qgis.core import QgsVectorLayer

    habits(report=str(tmp_path / "report.json"))
    drawn.engine.stop()
    drawn.run()
    assert until(lambda: not drawn.running)
    request = json.loads((tmp_path / "report.json").read_text())["requests"][0]
    layer = QgsVectorLayer(request["example"], "example", "ogr")
    roles = [
        (feature["role"], feature.geometry().boundingBox().xMinimum()) for feature in layer.getFeatures()
    ]
    assert [role for role, _ in roles] == ["positive", "positive", "negative"]
    assert [x for _, x in roles] == sorted(x for _, x in roles)  # as they were drawn, left to right


def test_what_is_not_meant_has_to_lie_on_the_image(dock, raster, square, iface):
    from exemplar.ui.drawing.example import Example, ExampleSet
    from qgis.core import QgsGeometry, QgsRectangle

    beside = Example(QgsGeometry.fromRect(QgsRectangle(600000, 5399970, 600030, 5399990)), raster.crs())
    dock.drawing.replace(ExampleSet((square,), (beside,)))
    dock.run()
    assert not dock.running
    assert any("“not this” does not lie on “Image”" in text for _level, text in iface.messages())
