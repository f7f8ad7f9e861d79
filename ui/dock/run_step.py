"""The dock's third step as a widget: run, progress, cancel, save."""

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
from .note import Note


class RunStep(QGroupBox):
    """Step 3: run, see the progress, cancel, save."""

    run_wanted = pyqtSignal()
    cancel_wanted = pyqtSignal()
    save_wanted = pyqtSignal()

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
        layout.addWidget(self.save_button)
        self.run_button.clicked.connect(lambda: self.run_wanted.emit())
        self.cancel_button.clicked.connect(lambda: self.cancel_wanted.emit())
        self.save_button.clicked.connect(lambda: self.save_wanted.emit())

    def show_state(
        self,
        *,
        missing: str,
        running: bool,
        problem: str,
        note: str,
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
        # Why the button is disabled goes before what went wrong in the run before.
        if running:
            self._note.say(note)
        else:
            self._note.say(missing or problem or note, warning=bool(problem) and not missing)
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
