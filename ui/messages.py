"""Shows messages to the user: sentences in the message bar, details in the log panel."""

from __future__ import annotations

from pathlib import Path

from qgis.core import Qgis, QgsMessageLog
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtWidgets import QPushButton

from .errors import EngineError
from .plain_text import as_html
from .translation import tr

TITLE = "Exemplar"


class Messages:
    """Writes to QGIS's message bar and log.

    Parameters
    ----------
    iface : QgisInterface
        QGIS's window.
    """

    def __init__(self, iface: QgisInterface) -> None:
        self._iface = iface

    def warn(self, sentence: str) -> None:
        """Show something that the user can mend, as a warning."""
        self._iface.messageBar().pushMessage(TITLE, as_html(sentence), Qgis.MessageLevel.Warning)

    def saved(self, path: str) -> None:
        """Show where a file was saved, with a link to its folder."""
        folder = QUrl.fromLocalFile(str(Path(path).parent)).toString()
        text = tr("Saved to {link}").format(link=f'<a href="{as_html(folder)}">{as_html(path)}</a>')
        self._iface.messageBar().pushMessage(TITLE, text, Qgis.MessageLevel.Success)

    def failed(self, error: EngineError) -> None:
        """Show a failure: what the user can mend as a warning, the rest with its details in the log."""
        if error.user_fault:
            self.warn(str(error))
            return
        self.log(error)
        bar = self._iface.messageBar()
        item = bar.createMessage(TITLE, as_html(str(error)))
        button = QPushButton(tr("Details"), item)
        button.clicked.connect(lambda: self._iface.openMessageLog())
        item.layout().addWidget(button)
        bar.pushWidget(item, Qgis.MessageLevel.Critical)

    def log(self, error: EngineError) -> None:
        """Write a failure with its details to the log panel."""
        text = f"{error}\n{error.details}" if error.details else str(error)  # the panel reads HTML
        QgsMessageLog.logMessage(as_html(text), TITLE, Qgis.MessageLevel.Critical, False)
