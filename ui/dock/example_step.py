"""The dock's first step as a widget: draw the example, more of them, and what not to find."""

from __future__ import annotations

from functools import partial

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from .note import Note


class ExampleStep(QGroupBox):
    """Step 1: draw the example or take a selected polygon, then add more, and what not to find."""

    draw_wanted = pyqtSignal(str)  # for what: "first", "more" or "not"; empty to stop drawing
    selection_wanted = pyqtSignal()
    undo_wanted = pyqtSignal()
    clear_wanted = pyqtSignal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setTitle(self.tr("1  Example"))
        self.draw_button = QPushButton(self.tr("Draw example"))
        self.draw_button.setToolTip(
            self.tr(
                "Click the corners of one object; right click, double click or Enter closes it. "
                "Backspace removes the last corner, Esc starts again."
            )
        )
        self.more_button = QPushButton(self.tr("+ One more"))
        self.more_button.setToolTip(
            self.tr("Draw another object of the same kind, such as one that looks different.")
        )
        self.not_button = QPushButton(self.tr("− Not this"))
        self.not_button.setToolTip(
            self.tr("Draw around something that is not meant, such as a wrong detection.")
        )
        self._draw_buttons = {"first": self.draw_button, "more": self.more_button, "not": self.not_button}
        self.selection_button = QPushButton(self.tr("Use selected"))
        self.undo_button = QPushButton(self.tr("Undo"))
        self.undo_button.setToolTip(self.tr("Take back what was drawn last."))
        self.clear_button = QPushButton(self.tr("Clear"))
        self._note = Note()
        layout = QVBoxLayout(self)
        for row in (  # how to begin, how to refine, how to go back; in pairs, or the dock gets wider
            (self.draw_button, self.selection_button),
            (self.more_button, self.not_button),
            (self.undo_button, self.clear_button),
        ):
            buttons = QHBoxLayout()
            for button in row:
                buttons.addWidget(button)
            layout.addLayout(buttons)
        layout.addWidget(self._note)
        for purpose, button in self._draw_buttons.items():
            button.setCheckable(True)
            button.clicked.connect(partial(self._draw_clicked, purpose))
        self.selection_button.clicked.connect(lambda: self.selection_wanted.emit())
        self.undo_button.clicked.connect(lambda: self.undo_wanted.emit())
        self.clear_button.clicked.connect(lambda: self.clear_wanted.emit())

    def _draw_clicked(self, purpose: str, on: bool) -> None:
        self.draw_wanted.emit(purpose if on else "")

    def show_state(self, examples: str, drawing: str, selectable: bool, undoable: bool) -> None:
        """Show the examples and the drawing under way.

        Parameters
        ----------
        examples : str
            Size and number of what is drawn; empty when nothing is.
        drawing : str
            For what a drawing is under way: ``first``, ``more`` or ``not``; else empty.
        selectable, undoable : bool
            There is a usable selection; there is something to take back.
        """
        for purpose, button in self._draw_buttons.items():
            button.setChecked(drawing == purpose)
        self.draw_button.setText(self.tr("Draw again") if examples else self.tr("Draw example"))
        self.more_button.setEnabled(bool(examples))
        self.not_button.setEnabled(bool(examples))
        self.undo_button.setEnabled(undoable)
        self.clear_button.setEnabled(bool(examples))
        self.selection_button.setEnabled(selectable)
        self.selection_button.setToolTip(
            self.tr("Take the selected polygon of the active layer as the example.")
            if selectable
            else self.tr("Select one polygon of a vector layer to use it as the example.")
        )
        if drawing == "not":
            self._note.say(
                self.tr("Click the corners of something that is not meant, right click to close it.")
            )
        elif drawing:
            self._note.say(self.tr("Click the corners of one object, right click to close it."))
        else:
            self._note.say(examples or self.tr("Draw around one object of the kind to find."))

    @property
    def note(self) -> str:
        return self._note.text()
