"""The dock's second step as a widget: the raster, the kind of object and the advanced options."""

from __future__ import annotations

from functools import partial
from typing import Any

from qgis.core import QgsMapLayer, QgsMapLayerProxyModel, QgsRasterLayer
from qgis.gui import QgsCollapsibleGroupBoxBasic, QgsMapLayerComboBox
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QEvent, QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QGroupBox,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from ...core.parameters import parameters_of
from ...core.protocol import DetectRequest
from ..plain_text import as_plain
from ..translation import tr
from .note import Note


class WhereStep(QGroupBox):
    """Step 2: choose the raster, the kind of object and the options."""

    changed = pyqtSignal()
    python_wanted = pyqtSignal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setTitle(self.tr("2  Where and what"))
        self.raster_box = QgsMapLayerComboBox()
        self.raster_box.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.target_box = QComboBox()
        self.strategy_box = QComboBox()
        for box in (self.raster_box, self.target_box, self.strategy_box):
            # A long name must not dictate the dock's width.
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            box.currentTextChanged.connect(partial(_show_whole, box))
        # QGIS's own model puts the layer's name into a tooltip's HTML as it is.
        self._tooltips = _PlainTooltips(self.raster_box.view())
        self._note = Note()
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(self.tr("Image"), self.raster_box)
        form.addRow(self.tr("Find"), self.target_box)
        form.addRow(self.tr("Strategy"), self.strategy_box)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self._note)
        layout.addWidget(self._advanced())
        self._watched: QgsRasterLayer | None = None
        self._picked = ""  # the layer that the user chose in the box
        self.raster_box.layerChanged.connect(self._raster_chosen)
        self.raster_box.activated.connect(self._raster_picked)
        self.target_box.currentIndexChanged.connect(lambda _index: self.changed.emit())
        self._watch(self.raster())

    def _raster_chosen(self, _layer: QgsMapLayer | None = None) -> None:
        self._watch(self.raster())
        self.changed.emit()

    def _raster_picked(self, _index: int) -> None:
        raster = self.raster()
        self._picked = raster.id() if raster else ""

    def suggest(self, raster: QgsRasterLayer) -> None:
        """Choose a raster, unless the user has chosen one that is still there."""
        chosen = self.raster()
        if chosen is None or chosen.id() != self._picked:
            self.raster_box.setLayer(raster)

    def _watch(self, raster: QgsRasterLayer | None) -> None:
        """Listen for another file or CRS of the chosen raster, and no longer of the one before."""
        if self._watched is not None and not sip.isdeleted(self._watched):
            self._watched.crsChanged.disconnect(self._raster_altered)
            self._watched.dataSourceChanged.disconnect(self._raster_altered)
        self._watched = raster
        if raster is not None:
            raster.crsChanged.connect(self._raster_altered)
            raster.dataSourceChanged.connect(self._raster_altered)

    def _raster_altered(self) -> None:
        self.changed.emit()

    def close_down(self) -> None:
        """Disconnect the signals of the project's layers."""
        self.raster_box.layerChanged.disconnect(self._raster_chosen)
        self._watch(None)

    def _advanced(self) -> QWidget:
        group = QgsCollapsibleGroupBoxBasic(self.tr("Advanced"))
        group.setFlat(True)
        declared = parameters_of(DetectRequest)
        self.resolution_box = QDoubleSpinBox()
        self.resolution_box.setRange(0.0, declared["resolution"].maximum)  # 0: from the example
        self.resolution_box.setDecimals(3)
        self.resolution_box.setSingleStep(0.05)
        self.resolution_box.setSuffix(self.tr(" m/pixel"))
        self.resolution_box.setSpecialValueText(self.tr("from the example"))
        self.runs_box = QSpinBox()
        self.runs_box.setRange(declared["runs"].minimum, declared["runs"].maximum)
        self.runs_box.setValue(declared["runs"].default)
        self.seed_box = QSpinBox()
        self.seed_box.setRange(declared["seed"].minimum, declared["seed"].maximum)
        self.seed_box.setValue(declared["seed"].default)
        self.score_box = QDoubleSpinBox()
        self.score_box.setRange(declared["min_score"].minimum, declared["min_score"].maximum)
        self.score_box.setDecimals(2)
        self.score_box.setSingleStep(0.05)
        self.score_box.setSpecialValueText(self.tr("from the example"))
        form = QFormLayout(group)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for title, box, name in (
            (self.tr("Resolution"), self.resolution_box, "resolution"),  # its unit stands in the box
            (tr(declared["runs"].title), self.runs_box, "runs"),
            (tr(declared["seed"].title), self.seed_box, "seed"),
            (tr(declared["min_score"].title), self.score_box, "min_score"),
        ):
            box.setToolTip(tr(declared[name].help))
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            form.addRow(title, box)
        self.python_button = QPushButton(self.tr("Choose its Python…"))
        self.python_button.setToolTip(
            self.tr("The Python environment that the engine runs in, such as one for your graphics card.")
        )
        self.python_button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.python_button.clicked.connect(lambda: self.python_wanted.emit())
        form.addRow(self.tr("Engine"), self.python_button)
        group.setCollapsed(True)
        return group

    def fill(self, hello: dict[str, Any]) -> None:
        """List what the engine offers and keep a choice that is still there."""
        for box, key in ((self.target_box, "targets"), (self.strategy_box, "strategies")):
            chosen = box.currentData()
            box.blockSignals(True)
            box.clear()
            for entry in hello.get(key, []):
                box.addItem(entry.get("title") or entry["name"], entry["name"])
                if entry.get("description"):
                    box.setItemData(
                        box.count() - 1, as_plain(entry["description"]), Qt.ItemDataRole.ToolTipRole
                    )
                if entry.get("default") and chosen is None:
                    chosen = entry["name"]
            box.setCurrentIndex(max(box.findData(chosen), 0) if box.count() else -1)
            box.blockSignals(False)
            _show_whole(box, box.currentText())
            box.view().setMinimumWidth(
                box.view().sizeHintForColumn(0) + 12
            )  # the list may be wider than the dock
        self.changed.emit()

    def show_state(self, problem: str, filled: bool) -> None:
        """Show what is wrong with the raster; enable the engine's lists once they are filled."""
        self._note.say(problem, warning=True)
        self.target_box.setEnabled(filled)
        self.strategy_box.setEnabled(filled)

    @property
    def note(self) -> str:
        return self._note.text()

    def raster(self) -> QgsRasterLayer | None:
        return self.raster_box.currentLayer()

    def target(self) -> str | None:
        return self.target_box.currentData()

    def strategy(self) -> str | None:
        return self.strategy_box.currentData()

    def options(self) -> dict[str, Any]:
        """Return the advanced fields of a request; None where the engine is to choose."""
        return {
            "resolution": self.resolution_box.value() or None,
            "runs": self.runs_box.value(),
            "seed": self.seed_box.value(),
            "min_score": self.score_box.value() or None,
        }


def _show_whole(box: QComboBox, text: str) -> None:
    """Show in a tooltip what the box may be too narrow for."""
    box.setToolTip(as_plain(text))


class _PlainTooltips(QObject):
    """Shows the whole text of an entry of a list as its tooltip, whatever tooltip the list's model gives."""

    def __init__(self, view: QAbstractItemView) -> None:
        super().__init__(view)
        self._view = view
        view.viewport().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.ToolTip:
            return super().eventFilter(watched, event)
        text = self._view.indexAt(event.pos()).data(Qt.ItemDataRole.DisplayRole)
        QToolTip.showText(event.globalPos(), as_plain(text or ""), self._view)
        return True
