"""Small texts in the dock, in a readable red where they warn."""

from __future__ import annotations

from qgis.PyQt.QtCore import QEvent, Qt, QTimer
from qgis.PyQt.QtGui import QColor, QShowEvent
from qgis.PyQt.QtWidgets import QLabel, QSizePolicy, QWidget

from ..plain_text import as_plain

READABLE = 4.5  # the contrast that WCAG 2 asks for

# For a light and for a dark ground; on a middle grey neither is readable, and what comes near black or
# white stands out by its weight.
_REDS = (
    ("#b3261e", ""),
    ("#ffb4ab", ""),
    ("#fff0ee", " font-weight: bold;"),
    ("#300000", " font-weight: bold;"),
)


class Note(QLabel):
    """Shows a sentence that wraps, so that it never widens the dock."""

    def __init__(self) -> None:
        super().__init__()
        self._warning = False
        self._colouring = False
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self._colour)
        self.setTextFormat(Qt.TextFormat.PlainText)  # a layer's name is in it
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setMinimumWidth(1)
        # Not `Minimum`: that is the height at the width that the sentence would like, hundreds of pixels.
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def say(self, text: str, warning: bool = False) -> None:
        """Show a sentence, in red if it warns; hide the note where there is none."""
        self._warning = warning
        self.setText(text)
        self.setToolTip(as_plain(text))  # a path has nothing to wrap at
        self._colour()
        self.setVisible(bool(text))

    def showEvent(self, event: QShowEvent) -> None:
        self._colour()  # not before now does a theme's ground have its colour
        super().showEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange) and not self._colouring:
            self._later.start()  # another theme: while it comes, the ground has colours of either

    def _colour(self) -> None:
        style = warning_style(background_of(self)) if self._warning else ""
        if style != self.styleSheet():
            self._colouring = True
            self.setStyleSheet(style)
            self._colouring = False


def background_of(label: QWidget) -> QColor:
    """Return the colour behind a label: that of the first widget below it that is not transparent.

    Most are in QGIS's dark themes. The label's own palette says what it would fill itself with, if it did.
    """
    widget, colour = label, label.palette().color(label.backgroundRole())
    while widget.parentWidget() is not None:
        widget = widget.parentWidget()
        colour = widget.palette().color(widget.backgroundRole())
        if colour.alpha() == 255:
            break
    return colour


def warning_style(ground: QColor) -> str:
    """Return the style of a warning: the first red that is readable on this ground, else the best one."""

    def shade(red: tuple[str, str]) -> float:
        return min(contrast(QColor(red[0]), ground), READABLE)

    colour, weight = max(_REDS, key=shade)  # of equals the first
    return f"color: {colour};{weight}"


def contrast(one: QColor, other: QColor) -> float:
    """Compute the contrast of two colours as WCAG 2 defines it, 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: QColor) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (colour.redF(), colour.greenF(), colour.blueF())
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
