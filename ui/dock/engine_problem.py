"""What the dock shows above its steps while there is no engine: why, and what mends it."""

from __future__ import annotations

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QPushButton, QVBoxLayout, QWidget

from .commands_box import CommandsBox
from .note import Note


class EngineProblem(QWidget):
    """Says why the engine can't be started and offers what would mend that; hidden while it can."""

    python_wanted = pyqtSignal()
    default_wanted = pyqtSignal()
    retry_wanted = pyqtSignal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._note = Note()
        self.commands_box = CommandsBox()
        self.python_button = QPushButton(self.tr("Choose the engine's Python…"))
        self.default_button = QPushButton(self.tr("Use the default Python"))
        self.default_button.setToolTip(self.tr("Forget the Python that was chosen."))
        self.retry_button = QPushButton(self.tr("Try again"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        buttons = (self.python_button, self.default_button, self.retry_button)
        for widget in (self._note, self.commands_box, *buttons):
            layout.addWidget(widget)
        self.python_button.clicked.connect(lambda: self.python_wanted.emit())
        self.default_button.clicked.connect(lambda: self.default_wanted.emit())
        self.retry_button.clicked.connect(lambda: self.retry_wanted.emit())
        self.show_state("", commands="", chosen=False)

    def show_state(self, problem: str, *, commands: str, chosen: bool) -> None:
        """Show a problem.

        Parameters
        ----------
        problem : str
            Why the engine can't be started; empty while it can.
        commands : str
            What would mend that, for a terminal; empty where no commands would.
        chosen : bool
            The engine's Python is one that the user chose.
        """
        self._note.say(problem, warning=True)
        self.commands_box.show_commands(commands if problem else "")
        self.default_button.setVisible(chosen)
        self.setVisible(bool(problem))

    @property
    def note(self) -> str:
        return self._note.text()
