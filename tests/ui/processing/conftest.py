"""An algorithm run as Processing runs it, on the fake engine."""

from __future__ import annotations

import json

import pytest

EXTENT = "500010,500030,5399970,5399990 [EPSG:32633]"


@pytest.fixture
def registry(plugin):
    """Processing with the plugin's provider."""
    from qgis.core import QgsApplication

    return QgsApplication.processingRegistry()


@pytest.fixture
def new_context(qgis_app):
    def make():
        from qgis.core import QgsProcessingContext, QgsProject

        context = QgsProcessingContext()
        context.setProject(QgsProject.instance())
        return context

    return make


@pytest.fixture
def polygons(raster):
    """A layer with two squares on the raster, of 4 m and of 6 m."""
    from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsRectangle, QgsVectorLayer

    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=target:string", "Polygons", "memory")
    for x, size, target in ((500012, 4, "building"), (500020, 6, "vehicle")):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(x, 5399980, x + size, 5399980 + size)))
        feature["target"] = target
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def given(raster, polygons):
    """Parameters that are all right, by name as the toolbox gives them."""
    return {
        "RASTER": raster.id(),
        "EXAMPLE": polygons.id(),
        "EXTENT": EXTENT,
        "OUTPUT": "TEMPORARY_OUTPUT",
    }


@pytest.fixture
def run(registry, new_context):
    """Run an algorithm as Processing does: check the values, then run; gives results, context and log."""
    from qgis.core import QgsProcessingFeedback

    def start(name, parameters, feedback=None):
        context, feedback = new_context(), feedback or QgsProcessingFeedback(False)
        algorithm = registry.createAlgorithmById(f"exemplar:{name}")
        fine, problem = algorithm.checkParameterValues(parameters, context)
        assert fine, problem
        results, ok = algorithm.run(parameters, context, feedback, {}, False)
        assert ok
        return results, context, feedback.textLog()

    return start


@pytest.fixture
def requests(habits, tmp_path):
    """What the fake engine was asked for, read after a run; habits can be given at once."""
    path = tmp_path / "report.json"

    def heard():
        return json.loads(path.read_text())["requests"]

    heard.habits = lambda **fields: habits(report=str(path), **fields)
    heard.habits()
    return heard


@pytest.fixture
def pids(monkeypatch):
    """The process ids of the engines that runs have started."""
    from exemplar.ui.processing.run_engine import RunEngine

    seen, start = [], RunEngine._start

    def remember(self):
        process = start(self)
        seen.append(process.pid)
        return process

    monkeypatch.setattr(RunEngine, "_start", remember)
    return seen


@pytest.fixture
def example_sent(monkeypatch):
    """The shapes in the example files that went to the engine; the files are gone after a run."""
    from exemplar.ui.processing.run_engine import RunEngine
    from qgis.core import QgsVectorLayer

    sent, detect = [], RunEngine.detect

    def look(self, request, *others):
        layer = QgsVectorLayer(request.example, "example", "ogr")
        sent.append([feature.geometry().area() for feature in layer.getFeatures()])
        assert layer.crs().authid() == "EPSG:32633"
        return detect(self, request, *others)

    monkeypatch.setattr(RunEngine, "detect", look)
    return sent
