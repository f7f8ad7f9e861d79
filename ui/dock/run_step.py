"""The dock's third step as a widget: run, progress, cancel, save, and help where there is no engine."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QGroupBox,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..plain_text import as_plain
from .commands_box import CommandsBox
from .note import Note


class RunStep(QGroupBox):
    """Step 3: run, see the progress, cancel, save."""

    run_wanted = pyqtSignal()
    cancel_wanted = pyqtSignal()
    save_wanted = pyqtSignal()
    python_wanted = pyqtSignal()
    default_wanted = pyqtSignal()
    retry_wanted = pyqtSignal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setTitle(self.tr("3  Run"))
        self.regularize_box = QCheckBox(self.tr("Right angles"))
        self.regularize_box.setToolTip(
            self.tr("Draws outlines with right angles where that changes them little. For buildings.")
        )
        self.rectangles_box = QCheckBox(self.tr("Rectangles"))
        self.rectangles_box.setToolTip(
            self.tr("Draws every object as a rectangle with length, width and direction. For vehicles.")
        )
        # A rectangle has right angles anyway.
        self.rectangles_box.toggled.connect(self.regularize_box.setDisabled)
        self.run_button = QPushButton(self.tr("Run on visible extent"))
        font = self.run_button.font()
        font.setBold(True)
        self.run_button.setFont(font)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(14)
        self.cancel_button = QPushButton(self.tr("Cancel"))
        self._note = Note()
        self.commands_box = CommandsBox()
        self.python_button = QPushButton(self.tr("Choose the engine's Python…"))
        self.default_button = QPushButton(self.tr("Use the default Python"))
        self.default_button.setToolTip(self.tr("Forget the Python that was chosen."))
        self.retry_button = QPushButton(self.tr("Try again"))
        self.save_button = QPushButton(self.tr("Save as…"))
        outlines = QHBoxLayout()
        outlines.addWidget(self.regularize_box)
        outlines.addWidget(self.rectangles_box)
        outlines.addStretch(1)
        progress = QHBoxLayout()
        progress.addWidget(self.bar, 1)
        progress.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.addLayout(outlines)
        layout.addWidget(self.run_button)
        layout.addLayout(progress)
        layout.addWidget(self._note)
        layout.addWidget(self.commands_box)
        layout.addWidget(self.python_button)
        layout.addWidget(self.default_button)
        layout.addWidget(self.retry_button)
        layout.addWidget(self.save_button)
        self.run_button.clicked.connect(lambda: self.run_wanted.emit())
        self.cancel_button.clicked.connect(lambda: self.cancel_wanted.emit())
        self.save_button.clicked.connect(lambda: self.save_wanted.emit())
        self.python_button.clicked.connect(lambda: self.python_wanted.emit())
        self.default_button.clicked.connect(lambda: self.default_wanted.emit())
        self.retry_button.clicked.connect(lambda: self.retry_wanted.emit())

    def show_state(
        self,
        *,
        missing: str,
        running: bool,
        problem: str,
        note: str,
        engine_down: bool,
        commands: str,
        chosen: bool,
        savable: str,
        stale: bool,
    ) -> None:
        """Show whether to run, and if not, what is missing first.

        Parameters
        ----------
        missing : str
            What has to be done before running; empty when nothing is.
        running : bool
            A detection is under way.
        problem : str
            What went wrong; empty if nothing did.
        note : str
            The last message of the run, or its result.
        engine_down : bool
            The engine can't be started.
        commands : str
            What would mend that, for a terminal; empty where no commands would.
        chosen : bool
            The engine's Python is one that the user chose.
        savable : str
            The title of the detections that can be saved; empty where there are none.
        stale : bool
            They are not of the last run.
        """
        self.run_button.setEnabled(not missing and not running)
        self.run_button.setToolTip(
            missing or self.tr("Find every object like the example in the part that the map shows.")
        )
        self.bar.setVisible(running)
        self.cancel_button.setVisible(running)
        stuck = engine_down and not running
        self.commands_box.show_commands(commands if stuck else "")
        self.python_button.setVisible(stuck)
        self.default_button.setVisible(stuck and chosen)
        self.retry_button.setVisible(stuck)
        # Why the button is disabled goes before what went wrong in the run before.
        reason = problem if engine_down else missing
        if running:
            self._note.say(note)
        else:
            self._note.say(reason or problem or note, warning=bool(problem) and reason in ("", problem))
        self.save_button.setEnabled(bool(savable) and not running)
        self.save_button.setText(self.tr("Save earlier result as…") if stale else self.tr("Save as…"))
        self.save_button.setToolTip(
            as_plain(self.tr("Save “{title}” as shapefile or GeoPackage.").format(title=savable))
            if savable
            else self.tr("There is nothing to save before a run.")
        )

    def options(self) -> dict[str, Any]:
        """Return how outlines are drawn, as fields of a request."""
        return {
            "regularize": self.regularize_box.isChecked() and not self.rectangles_box.isChecked(),
            "rectangles": self.rectangles_box.isChecked(),
        }

    def show_progress(self, percent: float) -> None:
        """Show the progress; at 0, during the first tile, the bar moves without a value."""
        self.bar.setRange(0, 100 if percent > 0 else 0)
        self.bar.setValue(round(percent))

    @property
    def note(self) -> str:
        return self._note.text()
