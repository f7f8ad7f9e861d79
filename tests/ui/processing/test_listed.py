"""What Processing and the model designer see of the algorithms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PARAMETERS = {
    "detect": "RASTER EXAMPLE ROLE EXTENT EXAMPLE_RASTER TARGET STRATEGY MODEL CHECKPOINT RESOLUTION RUNS "
    "SEED MIN_SCORE ENCODE PRECISION REGULARIZE RECTANGLES OUTPUT MASK",
    "edges": "RASTER EXTENT RESOLUTION MIN_STRENGTH MODEL CHECKPOINT OUTPUT LINES",
    "evaluate": "DETECTIONS TRUTH TARGET EXTENT IOU BOXES",
}
OUTPUTS = {
    "detect": "OUTPUT MASK COUNT",
    "edges": "OUTPUT LINES COUNT",
    "evaluate": "IOU PRECISION RECALL F1 N_TRUTH N_DETECTED N_MATCHED COVERAGE",
}


class TestDescription:
    @pytest.mark.parametrize("name", ["detect", "edges", "evaluate"])
    def test_names_are_stable_and_everything_is_explained(self, registry, name):
        algorithm = registry.algorithmById(f"exemplar:{name}")
        parameters = algorithm.parameterDefinitions()
        assert [parameter.name() for parameter in parameters] == PARAMETERS[name].split()
        assert {output.name() for output in algorithm.outputDefinitions()} == set(OUTPUTS[name].split())
        page = algorithm.shortHelpString()
        for parameter in parameters:
            assert parameter.description() and len(parameter.help()) > 10
            assert f"<b>{parameter.description()}</b>" in page
        assert all(output.description() for output in algorithm.outputDefinitions())
        assert algorithm.displayName() and algorithm.shortDescription() and algorithm.group()
        assert len(algorithm.tags()) > 4
        assert not algorithm.icon().isNull()

    def test_the_help_says_what_the_score_is(self, registry):
        page = registry.algorithmById("exemplar:detect").shortHelpString()
        assert "the mean of the runs' vote inside" in page
        assert "<b>similarity</b>, further figures, beside the score" in page
        # What negative polygons raise the minimum score to at most; the engine's code can't be imported here.
        search = (REPOSITORY / "core" / "pipeline" / "search.py").read_text(encoding="utf-8")
        strictest = re.search(r"^STRICTEST = ([0-9.]+)", search, re.MULTILINE)[1]
        assert f"what is no surer than it is left out, up to a score of {strictest}" in page

    def test_the_provider_starts_no_engine(self, registry, pids):
        provider = registry.providerById("exemplar")
        assert [algorithm.name() for algorithm in provider.algorithms()] == ["detect", "edges", "evaluate"]
        assert not provider.icon().isNull()
        assert all(algorithm.canExecute()[0] for algorithm in provider.algorithms())
        assert pids == []

    def test_they_run_in_the_background_and_in_batches(self, registry):
        from qgis.core import QgsProcessingAlgorithm

        flags = registry.algorithmById("exemplar:detect").flags()
        assert not flags & QgsProcessingAlgorithm.Flag.FlagNoThreading
        assert flags & QgsProcessingAlgorithm.Flag.FlagSupportsBatch
        assert flags & QgsProcessingAlgorithm.Flag.FlagCanCancel

    def test_the_provider_goes_with_the_plugin(self, iface, fake_python):
        import exemplar
        from qgis.core import QgsApplication

        plugin = exemplar.classFactory(iface)
        plugin.initGui()
        assert QgsApplication.processingRegistry().providerById("exemplar") is not None
        plugin.unload()
        assert QgsApplication.processingRegistry().providerById("exemplar") is None


class TestModel:
    def test_a_step_of_a_model(self, registry, given, new_context):
        from qgis.core import (
            QgsProcessingFeedback,
            QgsProcessingModelAlgorithm,
            QgsProcessingModelChildAlgorithm,
            QgsProcessingModelChildParameterSource,
            QgsProcessingModelOutput,
            QgsProcessingModelParameter,
            QgsProcessingParameterFeatureSource,
            QgsProcessingParameterRasterLayer,
        )

        model = QgsProcessingModelAlgorithm("find", "mine")
        for parameter in (
            QgsProcessingParameterRasterLayer("image"),
            QgsProcessingParameterFeatureSource("one"),
        ):
            model.addModelParameter(parameter, QgsProcessingModelParameter(parameter.name()))
        child = QgsProcessingModelChildAlgorithm("exemplar:detect")
        child.setChildId("detect")
        source = QgsProcessingModelChildParameterSource
        for name, value in (
            ("RASTER", source.fromModelParameter("image")),
            ("EXAMPLE", source.fromModelParameter("one")),
            ("EXTENT", source.fromStaticValue(given["EXTENT"])),
            ("TARGET", source.fromStaticValue("vehicle")),
        ):
            child.addParameterSources(name, [value])
        output = QgsProcessingModelOutput("found", "found")
        output.setChildOutputName("OUTPUT")
        output.setChildId("detect")
        child.setModelOutputs({"found": output})
        model.addChildAlgorithm(child)
        assert model.childAlgorithm("detect").algorithm() is not None
        again = QgsProcessingModelAlgorithm()
        assert again.loadVariant(model.toVariant())  # as saved and opened
        context = new_context()
        results, ok = again.run(
            {
                "image": given["RASTER"],
                "one": given["EXAMPLE"],
                "found": "TEMPORARY_OUTPUT",
                "detect:found": "TEMPORARY_OUTPUT",
            },
            context,
            QgsProcessingFeedback(False),
        )
        assert ok
        number = [value for name, value in results["CHILD_RESULTS"]["detect"].items() if name == "COUNT"]
        assert number == [1]
        assert context.getMapLayer(results["CHILD_RESULTS"]["detect"]["OUTPUT"]).featureCount() == 1
