"""What happens inside QGIS in the demonstration, with the mouse and the plugin's own buttons.

The script is a generator: each ``yield`` hands control back to QGIS until a condition holds, so nothing
blocks the window while the engine works.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from qgis.core import (
    QgsCoordinateTransform,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QPoint, Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDockWidget
from qgis.utils import iface, plugins

FOLDER = Path(os.environ.get("EXEMPLAR_DEMO_FOLDER", "."))
SAMPLE = Path(os.environ.get("EXEMPLAR_DEMO_SAMPLE", "."))
POLL_MS = 50
RUN_SECONDS = 1200

# target, the example's file, the shapefile to write, the picture, the share of the town to look at
RUNS = (
    ("building", "example_building.geojson", "detections.shp", "window.png", 1.0),
    ("vehicle", "example_vehicle.geojson", "detections_vehicles.shp", "window_vehicles.png", 0.35),
)


_kept: list[Driver] = []  # nothing else refers to the driver once `start` has ended


class FailureError(Exception):
    """A step of the demonstration failed."""


class Wait:
    """A condition to wait for, and how long."""

    def __init__(self, what: str, holds: Callable[[], bool], seconds: float = 30.0) -> None:
        self.what, self.holds, self.seconds = what, holds, seconds
        self.since = time.monotonic()


def pause(seconds: float) -> Wait:
    """Let the window settle, as a person does between two clicks."""
    end = time.monotonic() + seconds
    return Wait("a pause", lambda: time.monotonic() >= end)


class Driver:
    """Advances the script whenever what it waits for has come."""

    def __init__(self, script: Iterator[Wait], outcome: dict) -> None:
        self._script, self._outcome = script, outcome
        self._waiting = pause(0)
        self._timer = QTimer()
        self._timer.timeout.connect(self._advance)
        self._timer.start(POLL_MS)

    def _advance(self) -> None:
        try:
            if not self._waiting.holds():
                if time.monotonic() - self._waiting.since > self._waiting.seconds:
                    raise FailureError(
                        f"Waited {self._waiting.seconds:.0f} s in vain for {self._waiting.what}."
                    )
                return
            self._waiting = next(self._script)
        except StopIteration:
            self._end("")
        except FailureError as failure:
            self._end(str(failure))
        except Exception as error:  # noqa: BLE001  (whatever it is: QGIS has to end and say so)
            traceback.print_exc()
            self._end(f"{type(error).__name__}: {error}.")

    def _end(self, failure: str) -> None:
        self._timer.stop()
        if failure:
            screenshot("failure.png")
        (FOLDER / "desktop.json").write_text(
            json.dumps({**self._outcome, "failure": failure}), encoding="utf-8"
        )
        QgsProject.instance().clear()  # or QGIS asks whether to save
        iface.actionExit().trigger()


def tell(text: str) -> None:
    """Say how far it is; the demonstration's command passes these lines on."""
    print(f"demo: {text}", flush=True)


def start() -> None:
    """Begin once QGIS has opened its window; called by QGIS's ``--code``."""
    outcome: dict = {"runs": {}}
    _kept.append(Driver(script(outcome), outcome))


def script(outcome: dict) -> Iterator[Wait]:
    """The demonstration from the first click to the last."""
    window, canvas = iface.mainWindow(), iface.mapCanvas()
    yield Wait("QGIS's window", lambda: window.isVisible() and "exemplar" in plugins, 120)
    arrange(window)
    yield pause(1)

    raster = QgsRasterLayer(str(SAMPLE / "town.tif"), "Sample town")
    if not raster.isValid():
        raise FailureError(f"{SAMPLE / 'town.tif'} can't be opened.")
    QgsProject.instance().setCrs(raster.crs())
    QgsProject.instance().addMapLayer(raster)
    plugin = plugins["exemplar"]
    plugin.action.trigger()
    dock = plugin.dock
    yield Wait("the dock", lambda: dock.isVisible())
    window.resizeDocks([dock], [380], Qt.Orientation.Horizontal)
    tell("waiting for the engine")
    yield Wait("the engine", lambda: dock.where_step.target() is not None, 240)
    outcome["engine_pid"] = dock.engine.pid

    for target, example, shapefile, picture, share in RUNS:
        tell(f"drawing the example {target}")
        yield from draw(dock, canvas, SAMPLE / example)
        zoom(canvas, part_of(raster.extent(), share))
        yield Wait("the map", lambda: not canvas.isDrawing())
        box = dock.where_step.target_box
        box.setCurrentIndex(box.findData(target))
        extent = canvas.extent().intersect(raster.extent())
        press(dock.run_step.run_button)
        if not dock.running:
            raise FailureError(f"The run did not start: {sentences()}")
        tell(f"finding {target}s")
        yield Wait(f"the detections of {target}s", lambda: not dock.running, RUN_SECONDS)
        layer = dock.result_layer
        if layer is None:
            raise FailureError(f"No {target} was found: {dock.run_step.note}")
        tell(dock.run_step.note)
        if not dock.save_as(str(FOLDER / shapefile)):
            raise FailureError(f"{shapefile} could not be saved: {sentences()}")
        iface.messageBar().clearWidgets()
        yield from settle(canvas)
        screenshot(picture)
        outcome["runs"][target] = {
            "count": layer.featureCount(),
            "seconds": dock.last_result["seconds"],
            "extent": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
        }
        QgsProject.instance().layerTreeRoot().findLayer(layer.id()).setItemVisibilityChecked(False)


def draw(dock, canvas, path: Path) -> Iterator[Wait]:
    """Draw a stored polygon on the canvas, corner by corner, with the mouse."""
    layer = QgsVectorLayer(str(path), "example", "ogr")
    if not layer.isValid():
        raise FailureError(f"{path} can't be opened.")
    geometry = next(layer.getFeatures()).geometry()
    geometry.transform(
        QgsCoordinateTransform(layer.crs(), canvas.mapSettings().destinationCrs(), QgsProject.instance())
    )
    around = geometry.boundingBox()
    around.scale(5)
    zoom(canvas, around)  # near enough to hit the corners, as a person would
    yield Wait("the map", lambda: not canvas.isDrawing())
    press(dock.example_step.draw_button)
    outline = geometry.asPolygon() if not geometry.isMultipart() else geometry.asMultiPolygon()[0]
    for corner in outline[0][:-1]:
        click(canvas, corner, Qt.MouseButton.LeftButton)
        yield pause(0.1)
    click(canvas, outline[0][0], Qt.MouseButton.RightButton)
    if dock.example is None:
        raise FailureError(f"The example was not taken: {sentences()}")
    yield pause(0.3)


def click(canvas, point: QgsPointXY, button: Qt.MouseButton) -> None:
    """A real mouse click on the canvas at map coordinates."""
    at = canvas.getCoordinateTransform().transform(point)
    QTest.mouseClick(
        canvas.viewport(), button, Qt.KeyboardModifier.NoModifier, QPoint(round(at.x()), round(at.y()))
    )


def press(button) -> None:
    """A real mouse click in the middle of a button."""
    if not button.isEnabled():
        raise FailureError(f"The button “{button.text()}” can't be pressed: {button.toolTip()}")
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def zoom(canvas, extent: QgsRectangle) -> None:
    canvas.setExtent(extent)
    canvas.refresh()


def part_of(extent: QgsRectangle, share: float) -> QgsRectangle:
    """The middle of an extent."""
    part = QgsRectangle(extent)
    part.scale(share * 1.02 if share == 1 else share)
    return part


def settle(canvas) -> Iterator[Wait]:
    """Wait until what was added is painted."""
    yield pause(0.5)
    yield Wait("the map", lambda: not canvas.isDrawing())
    yield pause(0.5)


def arrange(window) -> None:
    """A window of the screen's size with the layers at the left and nothing that distracts."""
    window.setGeometry(0, 0, 1600, 1000)
    window.activateWindow()
    for name in ("Browser", "Browser2", "UserInputDockWidget", "MessageLog"):
        panel = window.findChild(QDockWidget, name)
        if panel is not None:
            panel.close()


def screenshot(name: str) -> None:
    QApplication.processEvents()
    if not iface.mainWindow().grab().save(str(FOLDER / name)):
        raise FailureError(f"{name} could not be written.")


def sentences() -> str:
    """What the message bar says."""
    return " ".join(item.text() for item in iface.messageBar().items())
