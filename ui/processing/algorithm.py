"""Base classes of the algorithms: help, inputs, engine, outputs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any, Callable, ClassVar

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeatureSink,
    QgsFields,
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QIcon

from ...core.parameters import ADVANCED, Parameter
from ..errors import EngineError, UserError
from ..layers.job_files import new_job_folder
from ..layers.styles import apply_style
from ..plain_text import as_plain
from ..translation import tr
from .run_engine import RunEngine, run_engine

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
ICON = RESOURCES / "icons" / "exemplar.svg"

_NUMBERS = {
    "int": QgsProcessingParameterNumber.Type.Integer,
    "float": QgsProcessingParameterNumber.Type.Double,
}

# The command line's stable words for what an example shows: scripts and saved models hold them. All other
# lists (strategies, models) are the engine's and may grow with it, so they are not repeated here.
TARGETS = ["building", "vehicle", "other"]


class EngineAlgorithm(QgsProcessingAlgorithm):
    """An algorithm whose work is done by the engine.

    It may run in a background thread, so layers are read in ``prepareAlgorithm``, and what follows works
    with files, feature sources and its own engine only.

    Parameters
    ----------
    root : Path
        The folder in which the engine's code is.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def createInstance(self) -> EngineAlgorithm:
        return type(self)(self._root)

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def svgIconPath(self) -> str:
        return str(ICON)

    def group(self) -> str:
        return tr("One-example segmentation")

    def groupId(self) -> str:
        return "segmentation"

    def shortHelpString(self) -> str:
        """Return the help page with the help of each parameter, which is written down once."""
        page = (RESOURCES / "help" / f"{self.name()}.html").read_text(encoding="utf-8")
        entries = (
            f"<p><b>{escape(parameter.description())}</b><br>{escape(parameter.help())}</p>"
            for parameter in self.parameterDefinitions()
        )
        return page + f"<h3>{tr('Parameters')}</h3>" + "".join(entries)

    def add(self, parameter: QgsProcessingParameterDefinition, text: str, advanced: bool = False) -> None:
        """Add a parameter with its help."""
        parameter.setHelp(text)
        if advanced:
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
        self.addParameter(parameter)

    def add_declared(self, declared: Parameter) -> None:
        """Add a parameter as the engine's request declares it; its name in capitals is Processing's.

        Lists that the engine offers are texts here, but for the targets: the engine is not started to show a
        dialog, and an enumeration would refuse what a newer engine or an imported model adds. Empty is the
        engine's own default; a name that it doesn't know it answers with those it does.
        """
        name, title, text = declared.name.upper(), tr(declared.title), tr(declared.help)
        choices = TARGETS if declared.listed_by == "targets" else list(declared.choices)
        if declared.kind in _NUMBERS:
            definition = QgsProcessingParameterNumber(
                name,
                title,
                _NUMBERS[declared.kind],
                declared.default,
                optional=declared.default is None,
                minValue=declared.minimum,
                maxValue=declared.maximum,
            )
        elif declared.kind == "bool":
            definition = QgsProcessingParameterBoolean(name, title, declared.default)
        elif choices:
            # Names, not positions: a list that grows must not change what a saved model means.
            definition = QgsProcessingParameterEnum(
                name,
                title,
                choices,
                defaultValue=declared.default,
                optional=declared.is_optional,
                usesStaticStrings=True,
            )
        elif declared.is_path:
            definition = QgsProcessingParameterFile(name, title, optional=declared.is_optional)
        else:
            definition = QgsProcessingParameterString(name, title, optional=True)
            text += " " + tr(
                "Leave empty for the engine's default; for an unknown name the engine lists the known ones."
            )
        self.add(definition, text, advanced=declared.group == ADVANCED)

    @contextmanager
    def engine(self, feedback: QgsProcessingFeedback) -> Iterator[RunEngine]:
        """Give the run's engine; turn its failures into Processing's, with their details in the log."""
        with run_engine(self._root) as engine:
            feedback.pushInfo(tr("Starting the engine…"))
            try:
                yield engine
            except EngineError as error:
                if error.details:
                    feedback.pushDebugInfo(error.details)
                raise QgsProcessingException("\n".join(filter(None, (str(error), error.commands)))) from error

    def copy_layer(
        self,
        path: str,
        name: str,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        crs: QgsCoordinateReferenceSystem,
    ) -> str:
        """Copy a layer of the engine into the output of that name."""
        found = QgsVectorLayer(path, name.lower(), "ogr")
        if not found.isValid():
            raise QgsProcessingException(tr("The engine's result can't be opened: {path}").format(path=path))
        # `fid` is the GeoPackage's row number, which the new file numbers itself.
        kept = [i for i, field in enumerate(found.fields()) if field.name() != "fid"]
        fields = QgsFields()
        for i in kept:
            fields.append(found.fields().at(i))
        sink, output = self.parameterAsSink(parameters, name, context, fields, found.wkbType(), crs)
        if sink is None:
            raise QgsProcessingException(self.invalidSinkError(parameters, name))
        for feature in found.getFeatures():
            values = feature.attributes()
            feature.setFields(fields)
            feature.setAttributes([values[i] for i in kept])
            if not sink.addFeature(feature, QgsFeatureSink.Flag.FastInsert):
                raise QgsProcessingException(self.writeFeatureError(sink, parameters, name))
        del found  # closes the file, so that its folder can be removed
        return output

    @contextmanager
    def job_folder(self) -> Iterator[Path]:
        """Give a folder for the job's files and remove it afterwards; a long batch must not pile them up."""
        folder = new_job_folder()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class ImageAlgorithm(EngineAlgorithm):
    """An algorithm on an image; its ``_read(parameters, context)`` raises ``UserError`` for wrong inputs."""

    def checkParameterValues(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Say what is wrong with the inputs before anything is started."""
        fine, problem = super().checkParameterValues(parameters, context)
        if fine:
            try:
                self._read(parameters, context)
            except UserError as error:
                return False, as_plain(str(error))  # QGIS shows it in a message box
        return fine, problem


class LayerStyle(QgsProcessingLayerPostProcessorInterface):
    """Gives a new layer one of our styles, by its name; QGIS calls it on the main thread."""

    # QGIS keeps the C++ half alone, and without the Python half nothing is styled, without a word.
    _kept: ClassVar[list[LayerStyle]] = []

    def __init__(self, style: str) -> None:
        super().__init__()
        self._style = style
        self._kept.append(self)

    def postProcessLayer(self, layer: QgsMapLayer, _context, _feedback) -> None:
        apply_style(layer, self._style)


def progress_callback(feedback: QgsProcessingFeedback) -> Callable[[float, str], None]:
    """Return a function that reports progress: the fraction to the bar, each message once to the log."""
    last = ""

    def progressed(fraction: float, message: str) -> None:
        nonlocal last
        feedback.setProgress(100.0 * min(max(fraction, 0.0), 1.0))
        if message and message != last:
            feedback.pushInfo(message)
        last = message

    return progressed


def default_of(entries: list[dict[str, Any]]) -> str:
    """Return the name of the entry that the engine calls its default."""
    return next((entry["name"] for entry in entries if entry.get("default")), entries[0]["name"])


def ended_early(feedback: QgsProcessingFeedback) -> dict:
    """Return an empty outcome where the user cancelled a run without a result; raise otherwise."""
    if feedback.isCanceled():
        feedback.pushInfo(tr("Cancelled."))
        return {}
    raise QgsProcessingException(tr("The engine was ended before the work was done: run again."))
