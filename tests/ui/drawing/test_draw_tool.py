"""Drawing the example with the mouse and the keyboard."""

from __future__ import annotations

import pytest


@pytest.fixture
def mouse(iface, raster):
    """Clicks and keys on the canvas, at shares of its width and height."""
    from qgis.PyQt.QtCore import QPoint, Qt
    from qgis.PyQt.QtTest import QTest

    canvas = iface.canvas

    class Mouse:
        def at(self, x, y):
            return QPoint(round(canvas.width() * x), round(canvas.height() * y))

        def click(self, x, y, button=Qt.MouseButton.LeftButton):
            QTest.mouseClick(canvas.viewport(), button, Qt.KeyboardModifier.NoModifier, self.at(x, y))

        def right(self, x, y):
            self.click(x, y, Qt.MouseButton.RightButton)

        def double(self, x, y):
            self.click(x, y)
            viewport, button, none = (
                canvas.viewport(),
                Qt.MouseButton.LeftButton,
                Qt.KeyboardModifier.NoModifier,
            )
            QTest.mouseDClick(viewport, button, none, self.at(x, y))
            QTest.mouseRelease(viewport, button, none, self.at(x, y))

        def key(self, key):
            QTest.keyClick(canvas, key)

    return Mouse()


@pytest.fixture
def drawing(dock):
    """The dock with its draw button pressed."""
    dock.example_step.draw_button.click()
    assert dock.draw_tool.isActive()
    return dock


TRIANGLE = [(0.4, 0.4), (0.6, 0.4), (0.6, 0.6)]


def corners(geometry):
    return len(geometry.asPolygon()[0]) - 1


def test_right_click_closes_the_polygon(drawing, mouse, iface):
    for x, y in TRIANGLE:
        mouse.click(x, y)
    mouse.right(0.5, 0.5)
    example = drawing.example
    assert corners(example.geometry) == 3
    assert example.crs.authid() == "EPSG:32633"
    assert raster_share(example, iface) == pytest.approx(0.02, abs=0.003)
    assert not drawing.draw_tool.isActive()
    assert not drawing.example_step.draw_button.isChecked()
    assert "m²" in drawing.example_step.note


def raster_share(example, iface):
    extent = iface.canvas.extent()
    return example.geometry.area() / (extent.width() * extent.height())


def test_double_click_closes_and_counts_its_corner_once(drawing, mouse):
    for x, y in TRIANGLE:
        mouse.click(x, y)
    mouse.double(0.4, 0.6)
    assert corners(drawing.example.geometry) == 4
    assert drawing.draw_tool.corners == 0


def test_enter_closes(drawing, mouse):
    from qgis.PyQt.QtCore import Qt

    for x, y in TRIANGLE:
        mouse.click(x, y)
    mouse.key(Qt.Key.Key_Return)
    assert corners(drawing.example.geometry) == 3


def test_backspace_takes_a_corner_back(drawing, mouse):
    from qgis.PyQt.QtCore import Qt

    for x, y in [*TRIANGLE, (0.2, 0.2)]:
        mouse.click(x, y)
    mouse.key(Qt.Key.Key_Backspace)
    assert drawing.draw_tool.corners == 3
    mouse.right(0.5, 0.5)
    assert corners(drawing.example.geometry) == 3


def test_backspace_is_left_unaccepted(drawing):
    """QGIS deletes the selected features when Backspace on the canvas was accepted by the tool."""
    from qgis.PyQt.QtCore import QEvent, Qt
    from qgis.PyQt.QtGui import QKeyEvent

    event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Backspace, Qt.KeyboardModifier.NoModifier)
    drawing.draw_tool.keyPressEvent(event)
    assert not event.isAccepted()


def test_escape_drops_the_drawing_then_leaves(drawing, mouse):
    from qgis.PyQt.QtCore import Qt

    mouse.click(0.4, 0.4)
    mouse.key(Qt.Key.Key_Escape)
    assert drawing.draw_tool.corners == 0
    assert drawing.draw_tool.isActive()
    mouse.key(Qt.Key.Key_Escape)
    assert not drawing.draw_tool.isActive()
    assert drawing.example is None


@pytest.mark.parametrize(
    ("clicks", "sentence"),
    [
        ([(0.4, 0.4), (0.6, 0.4)], "at least three corners"),
        ([(0.4, 0.4), (0.6, 0.6), (0.6, 0.4), (0.4, 0.6)], "crosses itself"),
    ],
)
def test_refuses_what_is_no_polygon(drawing, mouse, iface, clicks, sentence):
    for x, y in clicks:
        mouse.click(x, y)
    mouse.right(0.5, 0.5)
    assert drawing.example is None
    assert drawing.draw_tool.isActive()
    assert any(sentence in text for _level, text in iface.messages())


def test_the_tool_before_comes_back(dock, mouse, iface):
    from qgis.gui import QgsMapToolPan

    pan = QgsMapToolPan(iface.canvas)
    iface.canvas.setMapTool(pan)
    dock.example_step.draw_button.click()
    for x, y in TRIANGLE:
        mouse.click(x, y)
    centre = iface.canvas.center()
    mouse.double(0.4, 0.6)
    assert iface.canvas.mapTool() is pan
    assert iface.canvas.center() == centre
    iface.canvas.unsetMapTool(pan)


@pytest.mark.parametrize("how", ["another tool", "Esc", "right click", "second press"])
@pytest.mark.parametrize("with_pan", [True, False])
def test_the_dock_shows_that_drawing_has_ended(dock, mouse, iface, how, with_pan):
    """Whichever way the tool is left, and whatever was in hand before."""
    from qgis.gui import QgsMapToolPan
    from qgis.PyQt.QtCore import Qt

    pan, other, step = QgsMapToolPan(iface.canvas), QgsMapToolPan(iface.canvas), dock.example_step
    if with_pan:
        iface.canvas.setMapTool(pan)
    step.draw_button.click()
    assert step.draw_button.isChecked() and "Click the corners" in step.note
    if how == "another tool":
        iface.canvas.setMapTool(other)
    elif how == "Esc":
        mouse.key(Qt.Key.Key_Escape)
    elif how == "right click":
        mouse.right(0.5, 0.5)
    else:
        step.draw_button.click()
    assert not dock.draw_tool.isActive()
    assert not step.draw_button.isChecked()
    assert step.note == "Draw around one object of the kind to find."
    step.draw_button.click()  # one press draws again
    assert dock.draw_tool.isActive() and step.draw_button.isChecked()
    for tool in (pan, other):
        iface.canvas.unsetMapTool(tool)


def test_the_shown_example_follows_the_canvas_crs(dock, square, iface):
    from qgis.core import QgsCoordinateReferenceSystem
    from qgis.gui import QgsRubberBand

    dock.set_example(square)
    iface.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    shown = [
        item.asGeometry().boundingBox()
        for item in iface.canvas.scene().items()
        if isinstance(item, QgsRubberBand) and item.size()
    ]
    wanted = square.in_crs(QgsCoordinateReferenceSystem("EPSG:3857")).boundingBox()
    assert any(abs(box.xMinimum() - wanted.xMinimum()) < 0.01 for box in shown)


def test_a_selected_polygon_serves_as_example(dock, square, iface):
    from qgis.core import QgsFeature, QgsProject, QgsVectorLayer

    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "Roofs", "memory")
    feature = QgsFeature()
    feature.setGeometry(square.geometry)
    layer.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayer(layer)
    iface.active = layer
    iface.currentLayerChanged.emit(layer)
    assert not dock.example_step.selection_button.isEnabled()
    layer.selectAll()
    iface.canvas.selectionChanged.emit(layer)
    assert dock.example_step.selection_button.isEnabled()
    dock.example_step.selection_button.click()
    assert dock.example.geometry.equals(square.geometry)
    assert "16.0 m²" in dock.example_step.note
    iface.active = None


def test_a_tool_that_is_gone_is_not_given_back(dock, iface, until):
    """Another plugin's tool goes with its dialog."""
    from qgis.gui import QgsMapToolPan
    from qgis.PyQt import sip

    other = QgsMapToolPan(iface.mapCanvas())
    iface.mapCanvas().setMapTool(other)
    dock.drawing.begin("first")
    sip.delete(other)
    dock.drawing.stop()
    assert iface.mapCanvas().mapTool() is not dock.drawing.tool
    dock.drawing.begin("first")
    assert iface.mapCanvas().mapTool() is dock.drawing.tool


def test_undo_takes_back_corners_before_examples(dock, square, mouse):
    dock.set_example(square)
    dock.example_step.more_button.click()
    for x, y in TRIANGLE[:2]:
        mouse.click(x, y)
    for left in (1, 0):
        dock.example_step.undo_button.click()
        assert dock.draw_tool.corners == left
        assert dock.example is square and dock.draw_tool.isActive()
    dock.example_step.undo_button.click()
    assert dock.example is None


def test_a_drawing_that_has_begun_can_be_taken_back(drawing, mouse):
    assert not drawing.example_step.undo_button.isEnabled()
    mouse.click(*TRIANGLE[0])
    assert drawing.example_step.undo_button.isEnabled()
    drawing.example_step.undo_button.click()
    assert not drawing.example_step.undo_button.isEnabled()


def test_corners_do_not_outlive_the_crs_that_they_are_in(drawing, mouse, iface):
    from qgis.core import QgsCoordinateReferenceSystem

    mouse.click(*TRIANGLE[0])
    iface.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    assert drawing.draw_tool.corners == 0


def test_another_project_begins_without_an_example(dock, square):
    from qgis.core import QgsProject

    dock.set_example(square)
    QgsProject.instance().clear()
    assert dock.example is None
    assert not dock.example_step.undo_button.isEnabled()
