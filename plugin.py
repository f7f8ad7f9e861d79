"""Adds the dock, its action and the algorithms to QGIS and removes them again."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsApplication
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from .ui.dock.dock import ExemplarDock
from .ui.processing.provider import ExemplarProvider

FOLDER = Path(__file__).resolve().parent
ENGINE_ROOT = FOLDER  # `core` is in it
MENU = "Exemplar"


class ExemplarPlugin:
    """The plugin as QGIS sees it.

    Parameters
    ----------
    iface : QgisInterface
        QGIS's window.
    """

    def __init__(self, iface: QgisInterface) -> None:
        self._iface = iface
        self.action: QAction | None = None
        self.dock: ExemplarDock | None = None
        self.provider: ExemplarProvider | None = None

    def initProcessing(self) -> None:
        """Add the algorithms; ``qgis_process``, which has no window, calls only this."""
        self.provider = ExemplarProvider(ENGINE_ROOT)
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add the action and the dock, which stays hidden until it is asked for."""
        self.initProcessing()
        self.action = QAction(
            QIcon(str(FOLDER / "resources" / "icons" / "exemplar.svg")),
            QCoreApplication.translate("Exemplar", "Draw one, find all"),
            self._iface.mainWindow(),
        )
        self.action.setObjectName("ExemplarAction")
        self.action.setCheckable(True)
        self.dock = ExemplarDock(self._iface, ENGINE_ROOT)
        self.dock.hide()
        self._iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.hide()
        self.dock.setToggleVisibilityAction(self.action)
        self._iface.addToolBarIcon(self.action)
        self._iface.addPluginToRasterMenu(MENU, self.action)

    def unload(self) -> None:
        """Stop the engine and remove everything from the window."""
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        if self.dock is not None:
            self.dock.close_down()
            self._iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
            self.dock = None
        if self.action is not None:
            self._iface.removePluginRasterMenu(MENU, self.action)
            self._iface.removeToolBarIcon(self.action)
            self.action.deleteLater()
            self.action = None
