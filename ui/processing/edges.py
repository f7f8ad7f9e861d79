"""``exemplar:edges``: the outlines of everything on an image, without an example."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
)

from ...core.parameters import parameters_of
from ...core.protocol import EdgesRequest
from ..errors import UserError
from ..layers.rasters import shown_bands
from ..translation import tr
from . import inputs
from .algorithm import ImageAlgorithm, LayerStyle, default_of, ended_early, progress_callback
from .destination import check_destination
from .output_raster import assign_crs

LINES = QgsProcessing.SourceType.TypeVectorLine


class EdgesAlgorithm(ImageAlgorithm):
    """Finds the edges of everything on an image."""

    def name(self) -> str:
        return "edges"

    def displayName(self) -> str:
        return tr("Find all edges")

    def shortDescription(self) -> str:
        return tr(
            "The outlines of everything on an aerial image, as a raster and as lines; no example needed."
        )

    def tags(self) -> list[str]:
        return tr(
            "edges,outlines,boundaries,contours,edge detection,zero-shot,segment anything,sam,canny,sobel,"
            "aerial,orthophoto"
        ).split(",")

    def initAlgorithm(self, _config: dict[str, Any] | None = None) -> None:
        self.add(
            QgsProcessingParameterRasterLayer("RASTER", tr("Image")),
            tr(
                "An aerial image that is a file on this computer's disk. The bands that the layer shows as "
                "red, green and blue are used."
            ),
        )
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Extent"), optional=True),
            tr("The part of the image to look at, in any CRS; by default all of it."),
        )
        self._add_advanced()
        self.add(
            QgsProcessingParameterRasterDestination("OUTPUT", tr("Edges")),
            tr(
                "A GeoTIFF with the strength of each edge, 0 to 1, one pixel wide; 0 between the edges, "
                "−1 (no data) where the image has no data."
            ),
        )
        self.add(
            QgsProcessingParameterFeatureSink(
                "LINES", tr("Edges as lines"), LINES, None, optional=True, createByDefault=False
            ),
            tr("The edges as lines, each with its mean strength and its length in true metres."),
        )
        self.addOutput(QgsProcessingOutputNumber("COUNT", tr("Number of lines")))

    def _add_advanced(self) -> None:
        declared = parameters_of(EdgesRequest)
        for name in ("resolution", "min_strength", "model", "checkpoint"):
            self.add_declared(declared[name])

    # -- before the run ---------------------------------------------------------------------------

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, _feedback: QgsProcessingFeedback
    ) -> bool:
        try:
            self._request = self._read(parameters, context)
        except UserError as error:  # in a model nobody has checked the values before
            raise QgsProcessingException(str(error)) from error
        raster = self.parameterAsRasterLayer(parameters, "RASTER", context)
        self._crs, self._file_crs = raster.crs(), raster.dataProvider().crs()
        return True

    def _read(self, parameters: dict[str, Any], context: QgsProcessingContext) -> EdgesRequest:
        """Read the request, without its files."""
        raster = self.parameterAsRasterLayer(parameters, "RASTER", context)
        path = inputs.raster_path(raster)
        check_destination(parameters.get("LINES"), [raster])
        resolution = parameters.get("RESOLUTION")
        return EdgesRequest(
            raster=path,
            output="",
            extent=inputs.extent_on_raster(
                self.parameterAsExtent(parameters, "EXTENT", context),
                self.parameterAsExtentCrs(parameters, "EXTENT", context),
                raster,
                context.transformContext(),
            ),
            bands=shown_bands(raster),
            model=self.parameterAsString(parameters, "MODEL", context).strip(),
            checkpoint=inputs.absolute(self.parameterAsFile(parameters, "CHECKPOINT", context)) or None,
            resolution=None
            if resolution in (None, "")
            else self.parameterAsDouble(parameters, "RESOLUTION", context),
            min_strength=self.parameterAsDouble(parameters, "MIN_STRENGTH", context),
        )

    # -- the run ----------------------------------------------------------------------------------

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        request = self._request
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        request.output = inputs.absolute_output(output)
        with_lines = parameters.get("LINES") not in (None, "")
        with self.job_folder() as folder:
            request.lines = str(folder / "lines.gpkg") if with_lines else None
            result = self._find(request, feedback)
            if result is None:
                return ended_early(feedback)
            lines = (
                self.copy_layer(request.lines, "LINES", parameters, context, self._crs)
                if with_lines
                else None
            )
        assign_crs(request.output, self._crs, self._file_crs)
        feedback.pushInfo(tr("Done in {seconds:.1f} s, at {resolution:.2f} m per pixel.").format(**result))
        if context.willLoadLayerOnCompletion(output):
            context.layerToLoadOnCompletionDetails(output).setPostProcessor(LayerStyle("edges"))
        results = {"OUTPUT": output, "COUNT": result["count"]}
        return {**results, "LINES": lines} if with_lines else results

    def _find(self, request: EdgesRequest, feedback: QgsProcessingFeedback) -> dict[str, Any] | None:
        with self.engine(feedback) as engine:
            hello = engine.hello(feedback.isCanceled)
            if hello is None:
                return None
            request.model = request.model or default_of(hello["models"])
            feedback.pushInfo(
                tr("Model {model}, on {device}.").format(model=request.model, device=hello.get("device", "?"))
            )
            return engine.edges(request, progress_callback(feedback), feedback.isCanceled)
