"""Shows commands for a terminal, which can be read and copied however narrow the dock is."""

from __future__ import annotations

from qgis.PyQt.QtGui import QFontDatabase, QTextOption
from qgis.PyQt.QtWidgets import QApplication, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget


class CommandsBox(QWidget):
    """Shows commands, one a line, wrapped anywhere: paths have no spaces to wrap at."""

    LINES = 9  # of the dock's width; longer ones are scrolled to

    def __init__(self) -> None:
        super().__init__()
        self._text = QPlainTextEdit()
        self._text.setReadOnly(True)
        self._text.setWordWrapMode(QTextOption.WrapMode.WrapAnywhere)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._text.setFixedHeight(self.LINES * self._text.fontMetrics().lineSpacing() + 12)
        self.copy_button = QPushButton(self.tr("Copy the commands"))
        self.copy_button.clicked.connect(self._copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._text)
        layout.addWidget(self.copy_button)

    def show_commands(self, commands: str) -> None:
        """Show commands; hide the box where there are none."""
        if commands != self._text.toPlainText():
            self._text.setPlainText(commands)
        self.setVisible(bool(commands))

    @property
    def commands(self) -> str:
        return self._text.toPlainText()

    def _copy(self) -> None:
        QApplication.clipboard().setText(self.commands)
