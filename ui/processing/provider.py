"""Lists Exemplar's algorithms in Processing."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from . import run_engine
from .algorithm import ICON
from .detect import DetectAlgorithm
from .edges import EdgesAlgorithm
from .evaluate import EvaluateAlgorithm


class ExemplarProvider(QgsProcessingProvider):
    """Offers the algorithms to Processing; starts nothing by itself.

    Parameters
    ----------
    root : Path
        The folder in which the engine's code is.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def id(self) -> str:
        return "exemplar"

    def name(self) -> str:
        return "Exemplar"

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def svgIconPath(self) -> str:
        return str(ICON)

    def loadAlgorithms(self) -> None:
        for algorithm in (DetectAlgorithm, EdgesAlgorithm, EvaluateAlgorithm):
            self.addAlgorithm(algorithm(self._root))

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Offer GeoTIFF only: the engine writes no other raster."""
        return ["tif", "tiff"]

    def unload(self) -> None:
        """End all engines; a run that is under way ends as failed."""
        run_engine.end_all()
