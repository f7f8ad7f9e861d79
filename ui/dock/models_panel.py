"""The dock's panel for models: choose one, see its size and licence, download or import it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from qgis.gui import QgsCollapsibleGroupBoxBasic
from qgis.PyQt.QtCore import QLocale, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ...core.protocol import DownloadRequest
from .. import settings
from ..engine.client import EngineClient
from ..engine.tasks import DownloadTask
from ..errors import EngineError
from ..messages import Messages
from ..plain_text import as_plain


def format_size(size: int) -> str:
    """Format a number of bytes in the user's language."""
    if size < 1_000_000_000:
        return f"{QLocale().toString(size / 1e6, 'f', 0)} MB"
    return f"{QLocale().toString(size / 1e9, 'g', 3)} GB"


class ModelsPanel(QgsCollapsibleGroupBoxBasic):
    """Lets the user choose a model, and download or import the ones that are not here.

    Nothing is fetched without a press of the button that tells the size.

    Parameters
    ----------
    parent : QWidget
    engine : EngineClient
        Fetches and verifies, beside a detection if one is under way.
    messages : Messages
    """

    changed = pyqtSignal()  # another model was chosen, or the chosen one is here now

    def __init__(self, parent: QWidget, engine: EngineClient, messages: Messages) -> None:
        super().__init__(parent)
        self._engine = engine
        self._messages = messages
        self._models: dict[str, dict[str, Any]] = {}  # as the engine's hello tells them
        self._task: DownloadTask | None = None
        self._fetched = ""  # the model that the task fetches
        self.model_box = QComboBox()
        self.model_box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._note = QLabel()
        self._note.setTextFormat(Qt.TextFormat.PlainText)
        self._note.setWordWrap(True)
        self._note.setMinimumWidth(1)
        self.download_button = QPushButton()
        self.import_button = QPushButton(self.tr("I have the file…"))
        self.bar = QProgressBar()
        self.cancel_button = QPushButton(self.tr("Cancel"))
        self._lay_out()
        self.model_box.currentIndexChanged.connect(self._chosen)
        self.download_button.clicked.connect(lambda: self.download())
        self.import_button.clicked.connect(lambda: self._ask_and_import())
        self.cancel_button.clicked.connect(lambda: self.cancel())
        self._refresh()
        self.setCollapsed(True)

    def _lay_out(self) -> None:
        progress = QHBoxLayout()
        progress.addWidget(self.bar, 1)
        progress.addWidget(self.cancel_button)
        # Opening the group shows all that is directly in it, so what comes and goes is one level below.
        body = QWidget()
        QVBoxLayout(self).addWidget(body)
        layout = QVBoxLayout(body)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.model_box)
        layout.addWidget(self._note)
        layout.addWidget(self.download_button)  # below one another: side by side they would widen the dock
        layout.addWidget(self.import_button)
        layout.addLayout(progress)

    # -- the choice -------------------------------------------------------------------------------

    def fill(self, hello: dict[str, Any]) -> None:
        """Offer what the engine offers; the user's last choice stays chosen."""
        self._models = {entry["name"]: dict(entry) for entry in hello.get("models", [])}
        default = next((name for name, entry in self._models.items() if entry.get("default")), None)
        chosen = self.model_box.currentData() or settings.model()
        self.model_box.blockSignals(True)
        self.model_box.clear()
        for name, entry in self._models.items():
            self.model_box.addItem(entry.get("title") or name, name)
        wanted = chosen if chosen in self._models else default
        self.model_box.setCurrentIndex(max(self.model_box.findData(wanted), 0) if self._models else -1)
        self.model_box.blockSignals(False)
        self._refresh()
        self.changed.emit()

    def model(self) -> str | None:
        """Return the chosen model's name; None before the engine has listed its models."""
        return self.model_box.currentData()

    def missing(self) -> str:
        """Say in a sentence what has to be done before this model can run; empty when nothing has."""
        entry = self._entry()
        if not entry or entry.get("here", True):
            return ""
        if not entry.get("confirmed", True):
            return self.tr("This model can't be fetched here; choose another one.")
        if self._fetched == entry["name"]:
            return self.tr("The model is being fetched: wait until it is here, or choose another one.")
        return self.tr("First download the model, or choose another one.")

    def _entry(self) -> dict[str, Any]:
        return self._models.get(self.model() or "", {})

    def _chosen(self) -> None:
        settings.set_model(self.model() or "")
        self._refresh()
        self.changed.emit()

    # -- getting it -------------------------------------------------------------------------------

    @property
    def fetching(self) -> bool:
        """True while a model is being fetched."""
        return self._task is not None

    def download(self) -> None:
        """Fetch the chosen model in the background."""
        title = self._entry().get("title", "")
        self._start(DownloadRequest(self.model()), self.tr("Exemplar: downloading {what}").format(what=title))

    def import_file(self, path: str) -> None:
        """Take the published file of the chosen model from the user's disk."""
        title = self._entry().get("title", "")
        request = DownloadRequest(self.model(), file=path)
        self._start(request, self.tr("Exemplar: importing {what}").format(what=title))

    def cancel(self) -> None:
        """Cancel the download; what has arrived is kept for the next one."""
        if self._task:
            self._task.cancel()

    def close_down(self) -> None:
        task, self._task = self._task, None
        if task:
            task.abandon()

    def _ask_and_import(self) -> None:
        title = self.tr("The published file of {what}").format(what=self._entry().get("title", ""))
        filters = self.tr("Weights (*.pth *.pt *.safetensors)") + ";;" + self.tr("All files (*)")
        path, _filter = QFileDialog.getOpenFileName(self, title, "", filters)
        if path:
            self.import_file(path)

    def _start(self, request: DownloadRequest, description: str) -> None:
        if self._task is not None or not request.model:
            return
        task = DownloadTask(
            description, self._engine, request, lambda result, error: self._ended(task, result, error)
        )
        task.progressChanged.connect(lambda percent: self._show_progress(task, percent))
        task.messaged.connect(lambda text: self._show_progress(task, None, text))
        self._task, self._fetched = task, request.model
        self.bar.setRange(0, 0)  # it moves until there is something to show
        self.bar.setFormat("")
        self._refresh()
        self.changed.emit()
        task.start()

    def _show_progress(self, task: DownloadTask, percent: float | None, text: str = "") -> None:
        if task is not self._task:
            return
        if percent is not None:
            self.bar.setRange(0, 100)
            self.bar.setValue(round(percent))
        if text:
            self.bar.setFormat(text)

    def _ended(self, task: DownloadTask, result: dict[str, Any] | None, error: EngineError | None) -> None:
        if task is not self._task:
            return
        self._task, name, self._fetched = None, self._fetched, ""
        if result and name in self._models:
            self._models[name]["here"] = True
        self._refresh()
        if error:
            self._messages.failed(error)
            self._say(str(error))
        elif result is None and task.request.file is None:
            self._say(self.tr("Cancelled. What has arrived is kept; the next download continues from there."))
        elif result is None:
            self._say(self.tr("Cancelled."))
        self.changed.emit()

    # -- showing ----------------------------------------------------------------------------------

    @property
    def note(self) -> str:
        return self._note.text()

    def _say(self, text: str) -> None:
        self._note.setText(text)
        self._note.setVisible(bool(text))

    def _describe(self, entry: dict[str, Any]) -> str:
        """Describe a model in one line: size, licence, memory, device, whether it is here."""
        if "size" not in entry:
            return ""
        parts = [
            format_size(entry["size"]),
            entry.get("licence", ""),
            self.tr("about {size} of memory").format(size=format_size(entry.get("memory", 0))),
            self.tr("for {device}").format(device=entry.get("suits", "")),
        ]
        if entry.get("here", True):
            parts.append(self.tr("on this computer"))
        elif not entry.get("confirmed", True):
            parts.append(self.tr("not offered here, since independent sources do not confirm its SHA-256"))
        else:
            host = urlsplit(entry.get("address", "")).hostname or ""
            parts.append(self.tr("not on this computer yet; published at {host}").format(host=host))
        return " · ".join(filter(None, parts))

    def _refresh(self) -> None:
        entry, idle = self._entry(), self._task is None
        here = entry.get("here", True)
        self.setTitle(self.tr("Model: {what}").format(what=entry["title"]) if entry else self.tr("Model"))
        self.model_box.setEnabled(bool(self._models))
        self.model_box.setToolTip(as_plain(self.model_box.currentText()))
        self._say(self._describe(entry))
        self.download_button.setText(
            self.tr("Download ({size})").format(size=format_size(entry.get("size", 0)))
        )
        told = {"address": entry.get("address", ""), "file": entry.get("file", "")}
        download = self.tr("Downloads {address} to {file} and checks its SHA-256. It can be cancelled.")
        import_ = self.tr("Copies your file to {file}, if it has the SHA-256 of the published one.")
        self.download_button.setToolTip(as_plain(download.format(**told)))
        self.import_button.setToolTip(as_plain(import_.format(**told)))
        for button in (self.download_button, self.import_button):
            button.setVisible(not here and entry.get("confirmed", True))
            button.setEnabled(idle)
        self.bar.setVisible(not idle)
        self.cancel_button.setVisible(not idle)
