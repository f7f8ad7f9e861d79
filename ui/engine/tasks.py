"""Background tasks: start the engine, run a detection, fetch a model."""

from __future__ import annotations

import threading
import traceback
from typing import Any, Callable

from qgis.core import QgsApplication, QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from ...core.protocol import DetectRequest, DownloadRequest
from ..errors import EngineError
from ..translation import tr
from .client import EngineClient

# QGIS's task manager does not keep the Python half of a task alive.
_under_way: set[EngineTask] = set()


class EngineTask(QgsTask):
    """Runs work of the engine off the main thread.

    ``run`` touches no layer, no project and no widget: all it needs was read before. What it found out is
    told in ``finished``, which QGIS calls on the main thread.

    Parameters
    ----------
    description : str
        Shown by QGIS's task manager.
    engine : EngineClient
    done : callable
        Called on the main thread with the outcome (a message of the engine), or None when cancelled, and
        the error, or None.
    """

    messaged = pyqtSignal(str)
    _behaviour = QgsTask.Flag.CanCancel

    def __init__(
        self,
        description: str,
        engine: EngineClient,
        done: Callable[[dict[str, Any] | None, EngineError | None], None],
    ) -> None:
        super().__init__(description, self._behaviour)
        self._engine = engine
        self._done: Callable | None = done
        self._cancelled = threading.Event()
        self._outcome: dict[str, Any] | None = None
        self._error: EngineError | None = None

    def start(self) -> None:
        """Hand the task to QGIS."""
        _under_way.add(self)
        QgsApplication.taskManager().addTask(self)

    def abandon(self) -> None:
        """Cancel without calling back: who asked is gone."""
        self._done = None
        self.cancel()

    def work(self) -> dict[str, Any] | None:
        """Do the work off the main thread; return the outcome, or None when cancelled."""
        raise NotImplementedError

    def run(self) -> bool:
        try:
            self._outcome = self.work()
        except EngineError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  (an exception that leaves run() is lost without a word)
            self._error = EngineError(
                tr("Something went wrong inside the plugin: {error}").format(error=error),
                traceback.format_exc(),
            )
        return self._outcome is not None

    def report(self, fraction: float, message: str) -> None:
        """Report the engine's progress to QGIS's task manager and to listeners."""
        self.setProgress(100.0 * min(max(fraction, 0.0), 1.0))
        if message:
            self.messaged.emit(message)

    def cancel(self) -> None:
        """Raise a flag; the thread that follows the engine looks at it twenty times a second."""
        self._cancelled.set()
        super().cancel()

    def finished(self, result: bool) -> None:
        _under_way.discard(self)
        done, self._done = self._done, None
        if done is None:
            return
        if self._cancelled.is_set():
            done(None, None)
        else:
            done(self._outcome if result else None, self._error)


class StartTask(EngineTask):
    """Starts the engine ahead of the first job; the outcome is its ``hello``."""

    _behaviour = QgsTask.Flag.CanCancel | QgsTask.Flag.CancelWithoutPrompt  # never in the way of closing QGIS

    def work(self) -> dict[str, Any] | None:
        return self._engine.hello(self._cancelled.is_set)


class DetectTask(EngineTask):
    """Runs one detection; the outcome is the engine's ``result``."""

    def __init__(
        self,
        description: str,
        engine: EngineClient,
        request: DetectRequest,
        done: Callable[[dict[str, Any] | None, EngineError | None], None],
    ) -> None:
        super().__init__(description, engine, done)
        self._request = request

    def work(self) -> dict[str, Any] | None:
        if self._engine.pid is None:
            self.messaged.emit(tr("Starting the engine…"))
        return self._engine.detect(self._request, self.report, self._cancelled.is_set)


class DownloadTask(EngineTask):
    """Fetches a model's weights from the web or a file; the outcome is the engine's ``result``."""

    # What has arrived is kept, so closing QGIS needs no question.
    _behaviour = QgsTask.Flag.CanCancel | QgsTask.Flag.CancelWithoutPrompt

    def __init__(
        self,
        description: str,
        engine: EngineClient,
        request: DownloadRequest,
        done: Callable[[dict[str, Any] | None, EngineError | None], None],
    ) -> None:
        super().__init__(description, engine, done)
        self.request = request

    def work(self) -> dict[str, Any] | None:
        return self._engine.download(self.request, self.report, self._cancelled.is_set)
