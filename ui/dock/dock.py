"""The dock: leads the user from the example through the raster to the detections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsVectorLayer, QgsWkbTypes
from qgis.gui import QgisInterface, QgsDockWidget, QgsScrollArea
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import QVBoxLayout, QWidget

from ...core.protocol import DetectRequest
from ..drawing.draw_tool import DrawTool
from ..drawing.drawing import Drawing
from ..drawing.example import Example, ExampleSet
from ..engine.client import EngineClient
from ..engine.start import EngineStart
from ..errors import UserError
from ..layers.examples import topmost_raster, write_examples
from ..layers.job_files import new_job_folder
from ..layers.rasters import extent_in_raster, raster_problem, raster_source, shown_bands
from ..layers.saving import save_layer
from ..messages import Messages
from .detection_run import DetectionRun
from .engine_problem import EngineProblem
from .example_step import ExampleStep
from .models_panel import ModelsPanel
from .run_step import RunStep
from .save_dialog import ask_where
from .where_step import WhereStep


class ExemplarDock(QgsDockWidget):
    """The plugin's panel in QGIS's window.

    Parameters
    ----------
    iface : QgisInterface
    root : Path
        The plugin's folder.
    """

    def __init__(self, iface: QgisInterface, root: Path) -> None:
        super().__init__(iface.mainWindow())
        self.setObjectName("ExemplarDock")  # by which QGIS remembers its place
        self.setWindowTitle(self.tr("Exemplar"))
        self._iface = iface
        self._canvas = iface.mapCanvas()
        self._messages = Messages(iface)
        self.engine_start = EngineStart(root, self._messages)
        self.detection_run = DetectionRun(self.engine, self._messages)
        self._closed = False

        self.engine_problem = EngineProblem(self)
        self.example_step = ExampleStep(self)
        self.where_step = WhereStep(self)
        self.models_panel = ModelsPanel(self, self.engine, self._messages)
        self.run_step = RunStep(self)
        self._lay_out()
        self.drawing = Drawing(self._canvas)
        self._connect()
        self._refresh()

    # -- set-up and end ---------------------------------------------------------------------------

    def _lay_out(self) -> None:
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(6, 6, 6, 6)
        steps = (self.example_step, self.where_step, self.models_panel, self.run_step)
        for part in (self.engine_problem, *steps):
            layout.addWidget(part)
        layout.addStretch(1)
        area = QgsScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QgsScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(body)
        area.setMinimumWidth(260)
        self.setWidget(area)

    def _connect(self) -> None:
        self.example_step.draw_wanted.connect(self.drawing.begin)
        self.example_step.selection_wanted.connect(self._use_selection)
        self.example_step.undo_wanted.connect(self.drawing.undo)
        self.example_step.clear_wanted.connect(lambda: self.set_example(None))
        self.where_step.changed.connect(self._refresh)
        self.models_panel.changed.connect(self._refresh)
        self.run_step.run_wanted.connect(self.run)
        self.run_step.cancel_wanted.connect(self.cancel)
        self.run_step.save_wanted.connect(self._ask_and_save)
        self.engine_problem.python_wanted.connect(self._choose_python)
        self.where_step.python_wanted.connect(self._choose_python)
        self.engine_problem.default_wanted.connect(self.engine_start.use_default)
        self.engine_problem.retry_wanted.connect(self.engine_start.begin)
        self.engine_start.greeted.connect(self._greeted)
        self.engine_start.changed.connect(self._refresh)
        self.detection_run.changed.connect(self._refresh)
        self.detection_run.progressed.connect(self.run_step.show_progress)
        self.drawing.changed.connect(self._examples_changed)
        self.drawing.switched.connect(self._refresh)
        self.drawing.refused.connect(self._messages.warn)
        self._canvas.selectionChanged.connect(self._selection_changed)
        self._iface.currentLayerChanged.connect(self._current_layer_changed)
        QgsProject.instance().layersWillBeRemoved.connect(self._layers_removed)
        QgsProject.instance().cleared.connect(self._project_cleared)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        # Not at once: QGIS's window shows each new dock for a moment, also one that stays hidden.
        QTimer.singleShot(0, self._start_if_shown)

    def _start_if_shown(self) -> None:
        """Start the engine, which takes seconds, while the user draws the example."""
        start = self.engine_start
        if not self._closed and self.isVisible() and not (start.hello or start.under_way or start.problem):
            start.begin()

    def close_down(self) -> None:
        """End the process and the task, remove the tool, disconnect the signals."""
        self._closed = True
        QgsProject.instance().cleared.disconnect(self._project_cleared)
        QgsProject.instance().layersWillBeRemoved.disconnect(self._layers_removed)
        self._iface.currentLayerChanged.disconnect(self._current_layer_changed)
        self._canvas.selectionChanged.disconnect(self._selection_changed)
        self.detection_run.abandon()
        self.where_step.close_down()
        self.models_panel.close_down()
        self.engine_start.close_down()
        self.drawing.remove()

    # -- step 1: the example ----------------------------------------------------------------------

    @property
    def example(self) -> Example | None:
        """The first example of what to find."""
        return next(iter(self.examples.positive), None)

    @property
    def examples(self) -> ExampleSet:
        return self.drawing.examples

    @property
    def draw_tool(self) -> DrawTool:
        return self.drawing.tool

    def set_example(self, example: Example | None) -> None:
        """Replace all examples by one, or remove them all."""
        self.drawing.replace(ExampleSet((example,)) if example else ExampleSet())

    def _examples_changed(self) -> None:
        self.detection_run.problem = ""
        if self.example and (raster := topmost_raster(self._canvas.layers(), self.example)):
            self.where_step.suggest(raster)
        self._refresh()

    def _use_selection(self) -> None:
        try:
            self.set_example(Example.from_selection(self._iface.activeLayer()))
        except UserError as error:
            self._messages.warn(str(error))

    def _has_selection(self) -> bool:
        layer = self._iface.activeLayer()
        return (
            isinstance(layer, QgsVectorLayer)
            and layer.geometryType() == QgsWkbTypes.GeometryType.PolygonGeometry
            and layer.selectedFeatureCount() > 0
        )

    def _selection_changed(self, _layer: QgsMapLayer | None = None) -> None:
        self._refresh()

    def _current_layer_changed(self, layer: QgsMapLayer | None) -> None:
        if not self.examples and isinstance(layer, QgsRasterLayer) and not raster_problem(layer):
            self.where_step.suggest(layer)
        self._refresh()

    def _project_cleared(self) -> None:
        """Drop the examples: another project shows another place."""
        self.drawing.forget()
        self.detection_run.clear_texts()
        self._refresh()

    # -- the engine -------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineClient:
        return self.engine_start.engine

    def _greeted(self, hello: dict[str, Any]) -> None:
        self.where_step.fill(hello)
        self.models_panel.fill(hello)

    def _choose_python(self) -> None:
        if self.running or self.engine_start.under_way:
            self._messages.warn(self.tr("The engine is busy: wait until it has finished, or cancel the run."))
        else:
            self.engine_start.ask_for_python(self)

    # -- step 3: run ------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self.detection_run.running

    @property
    def result_layer(self) -> QgsVectorLayer | None:
        """The last run's layer, while it is in the project."""
        return self.detection_run.layer

    @property
    def last_result(self) -> dict[str, Any] | None:
        """The engine's message about the last run."""
        return self.detection_run.last_result

    def run(self) -> None:
        """Find what is like the example in the visible extent."""
        raster = self.where_step.raster()
        if self.running or self._missing() or raster is None:
            return
        try:
            request = self._request(raster)
        except UserError as error:
            self._messages.warn(str(error))
            return
        self.detection_run.start(request, self._result_title(), raster)

    def cancel(self) -> None:
        """Cancel the run. The dock is free at once; the engine stops in the background."""
        self.detection_run.cancel()

    def _request(self, raster: QgsRasterLayer) -> DetectRequest:
        """Write the examples into a file and say what to find, where and how."""
        folder = new_job_folder()
        extent = extent_in_raster(self._canvas.extent(), self._canvas.mapSettings().destinationCrs(), raster)
        write_examples(self.examples, raster, str(folder / "example.gpkg"))
        return DetectRequest(
            raster=raster_source(raster),
            example=str(folder / "example.gpkg"),
            output=str(folder / "detections.gpkg"),
            extent=extent,
            bands=shown_bands(raster),
            target=self.where_step.target(),
            strategy=self.where_step.strategy(),
            model=self.models_panel.model() or DetectRequest.model,
            **self.where_step.options(),
            **self.run_step.options(),
        )

    def _result_title(self) -> str:
        plural = {
            "building": self.tr("Buildings"),
            "vehicle": self.tr("Vehicles"),
            "other": self.tr("Objects"),
        }
        target = self.where_step.target()
        return f"{plural.get(target, target)} ({self.where_step.strategy()})"

    # -- saving -----------------------------------------------------------------------------------

    def _ask_and_save(self) -> None:
        if self.result_layer is not None and (path := ask_where(self, self.result_layer.name())):
            self.save_as(path)

    def save_as(self, path: str) -> bool:
        """Save the detections as shapefile or GeoPackage, by the path's ending; False if it failed."""
        if self.result_layer is None:
            return False
        try:
            written = save_layer(self.result_layer, path)
        except UserError as error:
            self._messages.warn(str(error))
            return False
        self._messages.saved(written)
        return True

    def _layers_removed(self, layer_ids: list[str]) -> None:
        if self.result_layer is not None and self.result_layer.id() in layer_ids:
            self.detection_run.forget_layer()
            self._refresh()

    # -- showing ----------------------------------------------------------------------------------

    def _missing(self) -> str:
        """Say in a sentence what has to be done before running; empty when nothing has."""
        raster = self.where_step.raster()
        if self.engine_start.problem:
            return self.tr("The engine is missing: see above.")
        if not self.examples:
            return self.tr("First draw an example.")
        if raster is None:
            return self.tr("First add an aerial image to the project.")
        if raster_problem(raster):
            return self.tr("First choose an image that can be read: see step 2.")
        if self.engine_start.hello is None:
            return self.tr("The engine is starting…")
        return self.models_panel.missing()

    def _refresh(self) -> None:
        raster, result, run = self.where_step.raster(), self.result_layer, self.detection_run
        self.example_step.show_state(
            self.examples.describe(),
            drawing=self.drawing.purpose,
            selectable=self._has_selection(),
            undoable=self.drawing.undoable,
        )
        self.where_step.show_state(
            raster_problem(raster) if raster else "", filled=self.engine_start.hello is not None
        )
        start = self.engine_start
        self.engine_problem.show_state(start.problem, commands=start.commands, chosen=start.chosen)
        self.run_step.show_state(
            missing=self._missing(),
            running=self.running,
            problem=run.problem,
            note=run.note,
            savable=result.name() if result is not None else "",
            stale=result is not None and run.layer_is_stale and not self.running,
        )
