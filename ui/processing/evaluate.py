"""``exemplar:evaluate``: measures how well detections match the truth."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
)

from ...core.parameters import parameters_of
from ...core.protocol import EvaluateRequest
from ..errors import UserError
from ..translation import tr
from . import inputs
from .algorithm import EngineAlgorithm, ended_early


class EvaluateAlgorithm(EngineAlgorithm):
    """Compares detections with the truth."""

    def name(self) -> str:
        return "evaluate"

    def displayName(self) -> str:
        return tr("Compare detections with the truth")

    def shortDescription(self) -> str:
        return tr("IoU, precision, recall and F1 of detected polygons against true ones.")

    def tags(self) -> list[str]:
        return tr("accuracy,evaluation,iou,intersection over union,precision,recall,f1,validation").split(",")

    def initAlgorithm(self, _config: dict[str, Any] | None = None) -> None:
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource("DETECTIONS", tr("Detections"), polygons),
            tr("The polygons to judge."),
        )
        self.add(
            QgsProcessingParameterFeatureSource("TRUTH", tr("Truth"), polygons),
            tr("The polygons that are right."),
        )
        declared = parameters_of(EvaluateRequest)
        self.add_declared(declared["target"])
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Extent"), optional=True),
            tr("The part to compare on, in any CRS; by default the truth's bounds."),
        )
        for name in ("iou", "boxes"):
            self.add_declared(declared[name])
        for name, title in (
            ("IOU", tr("IoU of the areas")),
            ("PRECISION", tr("Precision")),
            ("RECALL", tr("Recall")),
            ("F1", tr("F1")),
            ("N_TRUTH", tr("Objects in the truth")),
            ("N_DETECTED", tr("Objects detected")),
            ("N_MATCHED", tr("Objects matched")),
            ("COVERAGE", tr("Share of the extent that the truth covers")),
        ):
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, _feedback: QgsProcessingFeedback
    ) -> bool:
        self._sources = {}
        for name in ("DETECTIONS", "TRUTH"):
            self._sources[name] = self.parameterAsSource(parameters, name, context)
            if self._sources[name] is None:
                raise QgsProcessingException(self.invalidSourceError(parameters, name))
        self._crs = self._sources["TRUTH"].sourceCrs()
        try:
            extent = inputs.extent_in_crs(
                self.parameterAsExtent(parameters, "EXTENT", context),
                self.parameterAsExtentCrs(parameters, "EXTENT", context),
                self._crs,
                context.transformContext(),
            )
        except UserError as error:
            raise QgsProcessingException(str(error)) from error
        self._request = EvaluateRequest(
            detections="",
            truth="",
            target=self.parameterAsEnumString(parameters, "TARGET", context) or None,
            extent=extent,
            iou=self.parameterAsDouble(parameters, "IOU", context),
            boxes=self.parameterAsBoolean(parameters, "BOXES", context),
        )
        return True

    def processAlgorithm(
        self, _parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        request = self._request
        with self.job_folder() as folder:
            request.detections, request.truth = (str(folder / f"{name}.gpkg") for name in self._sources)
            try:
                for name, source in self._sources.items():
                    inputs.write_polygons(source, self._crs, str(folder / f"{name}.gpkg"), context)
            except UserError as error:
                raise QgsProcessingException(str(error)) from error
            with self.engine(feedback) as engine:
                figures = engine.evaluate(request, feedback.isCanceled)
        if figures is None:
            return ended_early(feedback)
        results = {output.name(): figures[output.name().lower()] for output in self.outputDefinitions()}
        for output in self.outputDefinitions():
            value = results[output.name()]
            feedback.pushInfo(
                f"{output.description()}: {value if isinstance(value, int) else f'{value:.4f}'}"
            )
        return results
