"""Starts the dock's engine in the background, with the Python that the user chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QWidget

from .. import settings
from ..errors import EngineError
from ..messages import Messages
from . import environment
from .client import EngineClient
from .tasks import StartTask


class EngineStart(QObject):
    """Starts the engine and keeps the reason where it can't.

    Parameters
    ----------
    root : Path
        The plugin's folder.
    messages : Messages

    Attributes
    ----------
    engine : EngineClient
    hello : dict or None
        What the running engine offers.
    problem, commands : str
        Why it could not be started, and what would mend that, for a terminal; else empty.
    """

    changed = pyqtSignal()
    greeted = pyqtSignal(dict)  # its hello

    def __init__(self, root: Path, messages: Messages) -> None:
        super().__init__()
        self._messages = messages
        self._tried = ""  # a Python that was chosen and has not greeted yet: it may be any file
        self._task: StartTask | None = None
        self.engine = EngineClient(
            root, lambda: environment.find_python(root, self._tried or settings.engine_python())
        )
        self.hello: dict[str, Any] | None = None
        self.problem = self.commands = ""

    @property
    def under_way(self) -> bool:
        return self._task is not None

    @property
    def chosen(self) -> bool:
        """True where the user chose the engine's Python."""
        return bool(self._tried or settings.engine_python())

    def begin(self) -> None:
        """Start the engine in the background; it then tells what it offers."""
        if self._task is None:
            self.problem = self.commands = ""
            self._task = StartTask(self.tr("Exemplar: starting the engine"), self.engine, self._ended)
            self._task.start()
        self.changed.emit()

    def use_python(self, path: str) -> None:
        """Start the engine with another Python; it is remembered once the engine runs."""
        self._tried = path
        self._begin_anew()

    def use_default(self) -> None:
        """Forget the Python that was chosen and start the engine with the default one."""
        self._tried = ""
        settings.set_engine_python("")
        self._begin_anew()

    def ask_for_python(self, parent: QWidget) -> None:
        """Let the user choose the Python of the engine's environment."""
        path, _filter = QFileDialog.getOpenFileName(
            parent,
            self.tr("The Python of the engine's environment"),
            # On macOS the link that is an environment's Python would lead to another one.
            options=QFileDialog.Option.DontResolveSymlinks,
        )
        if path:
            self.use_python(path)

    def close_down(self) -> None:
        """End the process and the task."""
        self.blockSignals(True)
        if self._task is not None:
            self._task.abandon()
        self.engine.close()

    def _begin_anew(self) -> None:
        self.engine.stop()  # else the old one would greet
        self.hello = None
        self.begin()

    def _ended(self, hello: dict[str, Any] | None, error: EngineError | None) -> None:
        self._task = None
        if hello:
            self.hello = hello
            if self._tried:
                settings.set_engine_python(self._tried)
                self._tried = ""
            self.greeted.emit(hello)
        elif error:
            self.problem, self.commands = str(error), error.commands
            self._messages.log(error)
        else:  # cancelled from QGIS's task manager
            self.problem = self.tr("The engine was not started.")
        self.changed.emit()
