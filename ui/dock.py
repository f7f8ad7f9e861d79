"""The dock: leads from the example through the raster to the detections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.gui import QgisInterface, QgsDockWidget, QgsScrollArea
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import QVBoxLayout, QWidget

from ..core.protocol import DetectRequest
from . import layers
from .draw_tool import DrawTool
from .drawing import Drawing
from .engine_client import EngineClient
from .engine_process import EngineError
from .engine_start import EngineStart
from .example import Example, ExampleSet, UnusableExampleError
from .messages import Messages
from .models_panel import ModelsPanel
from .run_step import RunStep
from .save_dialog import ask_where
from .steps import ExampleStep, WhereStep
from .task import DetectTask


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


class ExemplarDock(QgsDockWidget):
    """The plugin's one panel.

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
        self._result: QgsVectorLayer | None = None
        self._result_is_stale = False  # a later run ended without one
        self.last_result: dict[str, Any] | None = None  # the engine's message about the last run
        self._note = ""  # the run's last message or its result
        self._problem = ""  # why the run failed
        self._closed = False
        self._task: DetectTask | None = None

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
        for step in (self.example_step, self.where_step, self.models_panel, self.run_step):
            layout.addWidget(step)
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
        self.run_step.python_wanted.connect(self._choose_python)
        self.where_step.python_wanted.connect(self._choose_python)
        self.run_step.default_wanted.connect(self.engine_start.use_default)
        self.run_step.retry_wanted.connect(self.engine_start.begin)
        self.engine_start.greeted.connect(self._greeted)
        self.engine_start.changed.connect(self._refresh)
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
        """The engine takes seconds to start: it does so while the example is drawn."""
        start = self.engine_start
        if not self._closed and self.isVisible() and not (start.hello or start.under_way or start.problem):
            start.begin()

    def close_down(self) -> None:
        """Leave nothing behind: no process, no task, no tool, no signal."""
        self._closed = True
        QgsProject.instance().cleared.disconnect(self._project_cleared)
        QgsProject.instance().layersWillBeRemoved.disconnect(self._layers_removed)
        self._iface.currentLayerChanged.disconnect(self._current_layer_changed)
        self._canvas.selectionChanged.disconnect(self._selection_changed)
        if self._task is not None:
            self._task.abandon()
        self.where_step.close_down()
        self.models_panel.close_down()
        self.engine_start.close_down()
        self.drawing.remove()

    # -- step 1: the example ----------------------------------------------------------------------

    @property
    def example(self) -> Example | None:
        """The first polygon of what to find."""
        return next(iter(self.examples.positive), None)

    @property
    def examples(self) -> ExampleSet:
        return self.drawing.examples

    @property
    def draw_tool(self) -> DrawTool:
        return self.drawing.tool

    def set_example(self, example: Example | None) -> None:
        """Take over one example instead of all there are, or drop them."""
        self.drawing.replace(ExampleSet((example,)) if example else ExampleSet())

    def _examples_changed(self) -> None:
        self._problem = ""
        if self.example and (raster := layers.topmost_raster(self._canvas.layers(), self.example)):
            self.where_step.suggest(raster)
        self._refresh()

    def _use_selection(self) -> None:
        try:
            self.set_example(Example.from_selection(self._iface.activeLayer()))
        except UnusableExampleError as error:
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
        if not self.examples and isinstance(layer, QgsRasterLayer) and not layers.raster_problem(layer):
            self.where_step.suggest(layer)
        self._refresh()

    def _project_cleared(self) -> None:
        """Another project is another place."""
        self.drawing.forget()
        self._note = self._problem = ""
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
            self._messages.warn(self.tr("The engine is at work: wait for its end, or cancel the run first."))
        else:
            self.engine_start.ask_for_python(self)

    # -- step 3: run ------------------------------------------------------------------------------

    def run(self) -> None:
        """Find what is like the example in the visible extent."""
        raster = self.where_step.raster()
        if self._task is not None or self._missing() or raster is None:
            return
        folder = layers.new_job_folder()
        try:
            extent = layers.extent_in_raster(
                self._canvas.extent(), self._canvas.mapSettings().destinationCrs(), raster
            )
            layers.write_examples(self.examples, raster, str(folder / "example.gpkg"))
        except (layers.LayerError, UnusableExampleError) as error:
            self._messages.warn(str(error))
            return
        request = DetectRequest(
            raster=layers.raster_source(raster),
            example=str(folder / "example.gpkg"),
            output=str(folder / "detections.gpkg"),
            extent=extent,
            bands=layers.shown_bands(raster),
            target=self.where_step.target(),
            strategy=self.where_step.strategy(),
            model=self.models_panel.model() or DetectRequest.model,
            **self.where_step.options(),
            **self.run_step.options(),
        )
        raster_id, title = raster.id(), self._result_title()
        task = DetectTask(
            self.tr("Exemplar: finding {what}").format(what=title),
            self.engine,
            request,
            lambda result, error: self._detected(task, result, error, title, raster_id),
        )
        task.progressChanged.connect(lambda percent: self._progressed(task, percent))
        task.messaged.connect(lambda text: self._progressed(task, None, text))
        task.setDependentLayers([raster])  # the task ends with its image: another project is no place for it
        self._task = task
        self._result_is_stale = True
        self._note, self._problem = self.tr("Waiting for the engine…"), ""
        self.run_step.show_progress(0)
        self._refresh()
        task.start()

    def cancel(self) -> None:
        """Give the run up. The dock is free at once; the engine winds down in the background."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            self._note = self.tr("Cancelled.")
            self._refresh()

    def _result_title(self) -> str:
        plural = {
            "building": self.tr("Buildings"),
            "vehicle": self.tr("Vehicles"),
            "other": self.tr("Objects"),
        }
        target = self.where_step.target()
        return f"{plural.get(target, target)} ({self.where_step.strategy()})"

    def _progressed(self, task: DetectTask, percent: float | None, text: str = "") -> None:
        if task is self._task:
            if percent is not None:
                self.run_step.show_progress(percent)
            if text:
                self._note = text
                self._refresh()

    def _detected(
        self,
        task: DetectTask,
        result: dict[str, Any] | None,
        error: EngineError | None,
        title: str,
        raster_id: str,
    ) -> None:
        if task is not self._task:
            return  # given up by `cancel`
        self._task = None
        self._note = ""
        self.last_result = result
        if error:
            self._problem = str(error)
            self._messages.failed(error)
        elif result is None:  # cancelled from QGIS's task manager
            self._note = self.tr("Cancelled.")
        elif not result.get("count"):
            self._note = self.tr(
                "Nothing found that scores {score:.2f} or more ({time}). Lower “Least score” under Advanced, "
                "or draw another example."
            ).format(score=result.get("min_score") or 0.0, time=_duration(result.get("seconds", 0.0)))
        else:
            try:
                layer = layers.load_detections(
                    result["output"], title, QgsProject.instance().mapLayer(raster_id)
                )
            except layers.LayerError as problem:
                self._messages.warn(str(problem))
            else:
                layers.add_on_top(layer)
                self._result, self._result_is_stale = layer, False
                self._note = self.tr(
                    "{count} found in {time}, at {resolution:.2f} m per pixel, with scores from {score:.2f}."
                ).format(
                    count=result["count"],
                    time=_duration(result.get("seconds", 0.0)),
                    resolution=result.get("resolution") or 0.0,
                    score=result.get("min_score") or 0.0,  # what a negative polygon raised is seen here
                )
        self._refresh()

    # -- saving -----------------------------------------------------------------------------------

    def _ask_and_save(self) -> None:
        if self._result is not None and (path := ask_where(self, self._result.name())):
            self.save_as(path)

    def save_as(self, path: str) -> bool:
        """Save the detections as shapefile or GeoPackage, by the path's ending; False if it failed."""
        if self._result is None:
            return False
        try:
            written = layers.save(self._result, path)
        except layers.LayerError as error:
            self._messages.warn(str(error))
            return False
        self._messages.saved(written)
        return True

    def _layers_removed(self, layer_ids: list[str]) -> None:
        if self._result is not None and self._result.id() in layer_ids:
            self._result = None
            if not self.running:
                self._note = ""  # it told of that layer
            self._refresh()

    # -- showing ----------------------------------------------------------------------------------

    @property
    def result_layer(self) -> QgsVectorLayer | None:
        """The last run's layer, while it is in the project."""
        return self._result

    @property
    def running(self) -> bool:
        return self._task is not None

    def _missing(self) -> str:
        """What has to be done before running, as a sentence; empty when nothing is."""
        raster = self.where_step.raster()
        if not self.examples:
            return self.tr("First draw an example.")
        if raster is None:
            return self.tr("First add an aerial image to the project.")
        if layers.raster_problem(raster):
            return self.tr("First choose an image that can be read: see step 2.")
        if self.engine_start.hello is None:
            return self.tr("The engine is starting…")
        return self.models_panel.missing()

    def _refresh(self) -> None:
        raster = self.where_step.raster()
        self.example_step.show_state(
            self.examples.describe(),
            drawing=self.drawing.purpose,
            selectable=self._has_selection(),
            undoable=self.drawing.undoable,
        )
        self.where_step.show_state(
            layers.raster_problem(raster) if raster else "", filled=self.engine_start.hello is not None
        )
        self.run_step.show_state(
            missing=self._missing(),
            running=self.running,
            problem=self.engine_start.problem or self._problem,
            note=self._note,
            engine_down=bool(self.engine_start.problem),
            commands=self.engine_start.commands,
            chosen=self.engine_start.chosen,
            savable=self._result.name() if self._result is not None else "",
            stale=self._result is not None and self._result_is_stale and not self.running,
        )
