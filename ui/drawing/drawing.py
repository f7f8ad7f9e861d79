"""Collects the examples that the user draws, with undo."""

from __future__ import annotations

from qgis.gui import QgsMapCanvas, QgsMapTool
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...core.protocol import ROLES
from .draw_tool import DrawTool
from .example import Example, ExampleSet
from .rubber_bands import ExamplesOnCanvas


class Drawing(QObject):
    """Collects what the user draws for one of three purposes.

    ``first``: the example, instead of all there are; ``more``: another one of the
    same kind; ``not``: what is not meant. One press draws one polygon.
    """

    changed = pyqtSignal()  # the examples are others
    switched = pyqtSignal()  # drawing began or ended
    refused = pyqtSignal(str)  # the sentence

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__()
        self._canvas = canvas
        self._history = [ExampleSet()]  # the last one counts
        self._purpose = "first"
        self._previous_tool = None
        self._shown = ExamplesOnCanvas(canvas)
        self.tool = DrawTool(canvas)
        self.tool.drawn.connect(self._drawn)
        self.tool.refused.connect(self.refused)
        self.tool.left.connect(self.stop)
        self.tool.corners_changed.connect(self.switched)
        # Not the tool's own `deactivated`: the canvas still holds the tool while it says so.
        canvas.mapToolSet.connect(self._tool_changed)

    @property
    def examples(self) -> ExampleSet:
        return self._history[-1]

    @property
    def purpose(self) -> str:
        """The purpose of the drawing under way; empty where there is none."""
        return self._purpose if self._canvas.mapTool() is self.tool else ""

    @property
    def undoable(self) -> bool:
        return self.tool.corners > 0 or len(self._history) > 1

    def begin(self, purpose: str) -> None:
        """Start the draw tool for a purpose; stop it for an empty one."""
        if not purpose:
            self.stop()
            return
        self._purpose = purpose
        self.tool.set_role(ROLES[1] if purpose == "not" else ROLES[0])
        if self._canvas.mapTool() is not self.tool:
            self._previous_tool = self._canvas.mapTool()
            self._canvas.setMapTool(self.tool)
            self._canvas.setFocus()  # for Enter, Backspace and Esc
        self.switched.emit()

    def stop(self) -> None:
        """Stop the draw tool and give the canvas the tool back that it had."""
        previous, self._previous_tool = self._previous_tool, None
        if self._canvas.mapTool() is self.tool:
            if previous is not None and not sip.isdeleted(previous):  # another plugin's goes with its dialog
                self._canvas.setMapTool(previous)
            else:
                self._canvas.unsetMapTool(self.tool)

    def replace(self, examples: ExampleSet) -> None:
        """Replace the examples; undo brings the previous ones back."""
        if examples != self.examples:
            self._history.append(examples)
        self._show()

    def undo(self) -> None:
        """Remove the last corner of a drawing under way, or else undo the last change."""
        if self.tool.corners:
            self.tool.take_back()
            return
        if self.undoable:
            self._history.pop()
        self._show()

    def forget(self) -> None:
        """Remove all examples for good."""
        self._history = [ExampleSet()]
        self._show()

    def remove(self) -> None:
        """Remove everything from the canvas."""
        self._canvas.mapToolSet.disconnect(self._tool_changed)
        self.blockSignals(True)
        self.tool.blockSignals(True)
        self.tool.remove()
        self._shown.remove()

    def _tool_changed(self, _new: QgsMapTool | None, _old: QgsMapTool | None) -> None:
        self.switched.emit()

    def _drawn(self, example: Example) -> None:
        if self._purpose == "first":
            self.replace(ExampleSet((example,)))
        else:
            self.replace(self.examples.with_example(example, negative=self._purpose == "not"))

    def _show(self) -> None:
        self._shown.show(self.examples)
        self.stop()
        self.changed.emit()
