"""What the user is told, and where: the message bar for sentences, the log panel for details."""

from __future__ import annotations

from pathlib import Path

from qgis.core import Qgis, QgsMessageLog
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtWidgets import QPushButton

from .errors import EngineError
from .translation import tr

TITLE = "Exemplar"


class Messages:
    """Speaks through QGIS's message bar.

    Parameters
    ----------
    iface : QgisInterface
        QGIS's window.
    """

    def __init__(self, iface: QgisInterface) -> None:
        self._iface = iface

    def warn(self, sentence: str) -> None:
        """Tell something that the user can mend."""
        self._iface.messageBar().pushMessage(TITLE, sentence, Qgis.MessageLevel.Warning)

    def saved(self, path: str) -> None:
        """Tell where a file went, with a link to its folder."""
        folder = QUrl.fromLocalFile(str(Path(path).parent)).toString()
        text = tr("Saved to {link}").format(link=f'<a href="{folder}">{path}</a>')
        self._iface.messageBar().pushMessage(TITLE, text, Qgis.MessageLevel.Success)

    def failed(self, error: EngineError) -> None:
        """Tell a failure: what the user can mend as a warning, the rest with its details in the log."""
        if error.user_fault:
            self.warn(str(error))
            return
        self.log(error)
        bar = self._iface.messageBar()
        item = bar.createMessage(TITLE, str(error))
        button = QPushButton(tr("Details"), item)
        button.clicked.connect(lambda: self._iface.openMessageLog())
        item.layout().addWidget(button)
        bar.pushWidget(item, Qgis.MessageLevel.Critical)

    def log(self, error: EngineError) -> None:
        """Write a failure with its details to the log panel."""
        text = f"{error}\n{error.details}" if error.details else str(error)
        QgsMessageLog.logMessage(text, TITLE, Qgis.MessageLevel.Critical, False)
