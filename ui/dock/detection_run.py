"""Runs detections, one at a time, from the request to the layer in the project."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...core.protocol import DetectRequest
from ..engine.client import EngineClient
from ..engine.tasks import DetectTask
from ..errors import EngineError, UserError
from ..layers.detections import add_on_top, load_detections
from ..messages import Messages


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


class DetectionRun(QObject):
    """Runs one detection at a time and keeps its outcome.

    Parameters
    ----------
    engine : EngineClient
    messages : Messages

    Attributes
    ----------
    note : str
        The run's last message or its result.
    problem : str
        Why the run failed; else empty.
    layer : QgsVectorLayer or None
        The detections, while they are in the project.
    layer_is_stale : bool
        A later run ended without a layer.
    last_result : dict or None
        The engine's message about the last run.
    """

    changed = pyqtSignal()
    progressed = pyqtSignal(float)  # percent

    def __init__(self, engine: EngineClient, messages: Messages) -> None:
        super().__init__()
        self._engine = engine
        self._messages = messages
        self._task: DetectTask | None = None
        self.note = self.problem = ""
        self.layer: QgsVectorLayer | None = None
        self.layer_is_stale = False
        self.last_result: dict[str, Any] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None

    def start(self, request: DetectRequest, title: str, raster: QgsRasterLayer) -> None:
        """Start a detection in the background; its layer gets the title and the raster's CRS."""
        raster_id = raster.id()
        task = DetectTask(
            self.tr("Exemplar: finding {what}").format(what=title),
            self._engine,
            request,
            lambda result, error: self._ended(task, result, error, title, raster_id),
        )
        task.progressChanged.connect(lambda percent: self._progress(task, percent))
        task.messaged.connect(lambda text: self._message(task, text))
        task.setDependentLayers([raster])  # the task ends with its image: another project is no place for it
        self._task = task
        self.layer_is_stale = True
        self.note, self.problem = self.tr("Waiting for the engine…"), ""
        self.progressed.emit(0)
        self.changed.emit()
        task.start()

    def cancel(self) -> None:
        """Cancel the run. The dock is free at once; the engine stops in the background."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            self.note = self.tr("Cancelled.")
            self.changed.emit()

    def abandon(self) -> None:
        """Cancel the run and tell nobody: the dock is gone."""
        task, self._task = self._task, None
        if task:
            task.abandon()

    def clear_texts(self) -> None:
        """Forget what was said about the last run."""
        self.note = self.problem = ""

    def forget_layer(self) -> None:
        """Forget the detections, which leave the project, and what was said about them."""
        self.layer = None
        if not self.running:
            self.note = ""

    def _progress(self, task: DetectTask, percent: float) -> None:
        if task is self._task:
            self.progressed.emit(percent)

    def _message(self, task: DetectTask, text: str) -> None:
        if task is self._task and text:
            self.note = text
            self.changed.emit()

    def _ended(
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
        self.note = ""
        self.last_result = result
        if error:
            self.problem = str(error)
            self._messages.failed(error)
        elif result is None:  # cancelled from QGIS's task manager
            self.note = self.tr("Cancelled.")
        elif not result.get("count"):
            self.note = self.tr(
                "Nothing found that scores {score:.2f} or more ({time}). Lower “Minimum score” under "
                "Advanced, or draw another example."
            ).format(score=result.get("min_score") or 0.0, time=_duration(result.get("seconds", 0.0)))
        else:
            self._add_layer(result, title, QgsProject.instance().mapLayer(raster_id))
        self.changed.emit()

    def _add_layer(self, result: dict[str, Any], title: str, raster: QgsRasterLayer | None) -> None:
        try:
            layer = load_detections(result["output"], title, raster)
        except UserError as problem:
            self._messages.warn(str(problem))
            return
        add_on_top(layer)
        self.layer, self.layer_is_stale = layer, False
        self.note = self.tr(
            "{count} found in {time}, at {resolution:.2f} m per pixel, with scores from {score:.2f}."
        ).format(
            count=result["count"],
            time=_duration(result.get("seconds", 0.0)),
            resolution=result.get("resolution") or 0.0,
            score=result.get("min_score") or 0.0,  # what a negative polygon raised is seen here
        )
