"""``exemplar:detect``: finds every object like the example, as the dock does."""

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
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
)

from ...core.parameters import parameters_of
from ...core.protocol import DetectRequest
from ..errors import UserError
from ..layers.examples import example_on_raster, write_roles
from ..layers.rasters import shown_bands
from ..translation import tr
from . import inputs
from .algorithm import ImageAlgorithm, LayerStyle, default_of, ended_early, progress_callback
from .destination import check_destination
from .output_raster import assign_crs

POLYGONS = QgsProcessing.SourceType.TypeVectorPolygon


class DetectAlgorithm(ImageAlgorithm):
    """Finds every object like the example."""

    def name(self) -> str:
        return "detect"

    def displayName(self) -> str:
        return tr("Find all like the example")

    def shortDescription(self) -> str:
        return tr("From one example polygon on an aerial image to every similar object as a vector layer.")

    def tags(self) -> list[str]:
        return tr(
            "similar,example,one-shot,segmentation,segment anything,sam,object detection,buildings,vehicles,"
            "aerial,orthophoto,digitize,draw one find all"
        ).split(",")

    def initAlgorithm(self, _config: dict[str, Any] | None = None) -> None:
        self._add_inputs()
        self._add_advanced()
        self.addParameter(QgsProcessingParameterFeatureSink("OUTPUT", tr("Detections"), POLYGONS))
        self.parameterDefinition("OUTPUT").setHelp(
            tr("One polygon per object, with its score, size and direction, in the CRS of the image.")
        )
        mask = QgsProcessingParameterRasterDestination(
            "MASK", tr("Mask"), None, optional=True, createByDefault=False
        )
        mask.setHelp(tr("The detections as a GeoTIFF on the image's own pixels: 1 inside, 0 outside."))
        self.addParameter(mask)
        self.addOutput(QgsProcessingOutputNumber("COUNT", tr("Number of detections")))

    def _add_inputs(self) -> None:
        self.add(
            QgsProcessingParameterRasterLayer("RASTER", tr("Image")),
            tr(
                "Where to look: an aerial image that is a file on this computer's disk. The bands that the "
                "layer shows as red, green and blue are used."
            ),
        )
        self.add(
            QgsProcessingParameterFeatureSource("EXAMPLE", tr("Example"), [POLYGONS]),
            tr(
                "A layer with a polygon around one object of the kind to find, or with a few such polygons. "
                "If the layer holds many, select one and tick “Selected features only”."
            ),
        )
        self.add(
            QgsProcessingParameterField(
                "ROLE", tr("Role"), defaultValue="role", parentLayerParameterName="EXAMPLE", optional=True
            ),
            tr(
                "The column of the example layer that says “positive” for what to find and “negative” for "
                "what not to find; empty means positive. Without this column all polygons are positive."
            ),
        )
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Extent"), optional=True),
            tr("The part of the image to look at, in any CRS; by default all of it."),
        )
        self.add(
            QgsProcessingParameterRasterLayer(
                "EXAMPLE_RASTER", tr("Image that the example lies on"), optional=True
            ),
            tr("Only where the example was drawn on another image."),
        )
        self.add_declared(parameters_of(DetectRequest)["target"])

    def _add_advanced(self) -> None:
        declared = parameters_of(DetectRequest)
        for name in (
            "strategy", "model", "checkpoint", "resolution", "runs", "seed", "min_score", "encode",
            "precision", "regularize", "rectangles",
        ):  # fmt: skip
            self.add_declared(declared[name])

    # -- before the run ---------------------------------------------------------------------------

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, _feedback: QgsProcessingFeedback
    ) -> bool:
        try:
            self._request, self._polygons, raster, drawn_on = self._read(parameters, context)
        except UserError as error:  # in a model nobody has checked the values before
            raise QgsProcessingException(str(error)) from error
        self._crs, self._file_crs = raster.crs(), raster.dataProvider().crs()
        self._example_crs = drawn_on.dataProvider().crs()
        return True

    def _read(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple:
        """Read the request without its files, the examples by role, the image and the example's image."""
        raster = self.parameterAsRasterLayer(parameters, "RASTER", context)
        path = inputs.raster_path(raster)
        other = self.parameterAsRasterLayer(parameters, "EXAMPLE_RASTER", context)
        other_path = inputs.raster_path(other) if other is not None else None
        source = self.parameterAsSource(parameters, "EXAMPLE", context)
        if source is None:
            raise UserError(self.invalidSourceError(parameters, "EXAMPLE"))
        example = self.parameterAsVectorLayer(parameters, "EXAMPLE", context)
        check_destination(parameters.get("OUTPUT"), [raster, other, example])
        drawn_on = other if other is not None else raster
        named = self.parameterAsString(parameters, "ROLE", context)
        polygons = [
            (role, example_on_raster(example, drawn_on, context.transformContext(), role))
            for role, example in inputs.examples(source, named).by_role()
        ]
        request = DetectRequest(
            raster=path,
            example="",
            output="",
            example_raster=other_path,
            extent=inputs.extent_on_raster(
                self.parameterAsExtent(parameters, "EXTENT", context),
                self.parameterAsExtentCrs(parameters, "EXTENT", context),
                raster,
                context.transformContext(),
            ),
            bands=shown_bands(raster),
            example_bands=shown_bands(other) if other is not None else None,
            target=self.parameterAsEnumString(parameters, "TARGET", context),
            strategy=self.parameterAsString(parameters, "STRATEGY", context).strip(),
            model=self.parameterAsString(parameters, "MODEL", context).strip(),
            checkpoint=inputs.absolute(self.parameterAsFile(parameters, "CHECKPOINT", context)) or None,
            encode=self.parameterAsEnumString(parameters, "ENCODE", context),
            precision=self.parameterAsEnumString(parameters, "PRECISION", context),
            runs=self.parameterAsInt(parameters, "RUNS", context),
            seed=self.parameterAsInt(parameters, "SEED", context),
            regularize=self.parameterAsBoolean(parameters, "REGULARIZE", context),
            rectangles=self.parameterAsBoolean(parameters, "RECTANGLES", context),
            **{
                field: self.parameterAsDouble(parameters, field.upper(), context)
                for field in ("resolution", "min_score")
                if parameters.get(field.upper()) not in (None, "")
            },
        )
        return request, polygons, raster, drawn_on

    # -- the run ----------------------------------------------------------------------------------

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        request = self._request
        mask = self.parameterAsOutputLayer(parameters, "MASK", context)
        with self.job_folder() as folder:
            request.example = str(folder / "example.gpkg")
            request.output = str(folder / "detections.gpkg")
            request.mask = inputs.absolute_output(mask) or None
            try:
                write_roles(request.example, self._polygons, self._example_crs, context.transformContext())
            except UserError as error:
                raise QgsProcessingException(str(error)) from error
            result = self._detect(request, feedback)
            if result is None:
                return ended_early(feedback)
            output = self._copy(request.output, parameters, context)
        if mask:
            assign_crs(request.mask, self._crs, self._file_crs)
        feedback.pushInfo(
            tr(
                "{count} found in {seconds:.1f} s, at {resolution:.2f} m per pixel, "
                "with scores from {min_score:.2f}."
            ).format(**result)
        )
        results = {"OUTPUT": output, "COUNT": result["count"]}
        return {**results, "MASK": mask} if mask else results

    def _detect(self, request: DetectRequest, feedback: QgsProcessingFeedback) -> dict[str, Any] | None:
        with self.engine(feedback) as engine:
            hello = engine.hello(feedback.isCanceled)
            if hello is None:
                return None
            request.strategy = request.strategy or default_of(hello["strategies"])
            request.model = request.model or default_of(hello["models"])
            feedback.pushInfo(
                tr("Strategy {strategy}, model {model}, on {device}.").format(
                    strategy=request.strategy, model=request.model, device=hello.get("device", "?")
                )
            )
            return engine.detect(request, progress_callback(feedback), feedback.isCanceled)

    def _copy(self, path: str, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        """Copy the engine's result into the output and style it."""
        output = self.copy_layer(path, "OUTPUT", parameters, context, self._crs)
        if context.willLoadLayerOnCompletion(output):
            context.layerToLoadOnCompletionDetails(output).setPostProcessor(LayerStyle("detections"))
        return output
