"""``exemplar:edges``, on the fake engine and once on the real one: what it asks, what it gives."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PYTHON = REPOSITORY / ".venv" / "bin" / "python"


@pytest.fixture
def given(raster, tmp_path):
    return {"RASTER": raster.id(), "OUTPUT": str(tmp_path / "edges ä.tif")}


def test_a_raster_alone(run, given, raster, requests):
    from qgis.core import QgsRasterLayer

    results, _, log = run("edges", given)
    assert results == {"OUTPUT": given["OUTPUT"], "COUNT": 0}
    layer = QgsRasterLayer(results["OUTPUT"], "edges")
    assert layer.isValid() and layer.crs().authid() == "EPSG:32633"
    assert "Done in 1.5 s" in log and "tile 1" in log and "Model embedded, on cpu." in log
    asked = requests()[0]
    assert Path(asked["raster"]).samefile(raster.source())
    assert asked["output"] == given["OUTPUT"]
    assert (asked["model"], asked["bands"], asked["min_strength"]) == ("embedded", [1, 2, 3], 0.3)
    assert asked["lines"] is asked["extent"] is asked["resolution"] is asked["checkpoint"] is None


def test_lines_into_a_memory_layer(run, given):
    results, context, _ = run("edges", {**given, "LINES": "TEMPORARY_OUTPUT"})
    layer = context.getMapLayer(results["LINES"])
    assert layer.featureCount() == results["COUNT"] == 1
    assert layer.fields().names() == ["strength"]
    assert next(layer.getFeatures()).geometry().length() == pytest.approx(4)
    assert layer.crs().authid() == "EPSG:32633"


def test_lines_into_a_file(run, given, tmp_path, requests):
    from qgis.core import QgsVectorLayer

    results, _, _ = run("edges", {**given, "LINES": str(tmp_path / "lines.shp")})
    assert QgsVectorLayer(results["LINES"], "lines", "ogr").featureCount() == 1
    assert not Path(requests()[0]["lines"]).parent.exists()  # a batch must not pile up files


def test_what_is_given_reaches_the_engine(run, given, requests, raster):
    more = {"EXTENT": "499000,500010,5399970,5399990 [EPSG:32633]", "RESOLUTION": 0.4, "MIN_STRENGTH": 0.0}
    run("edges", {**given, **more, "MODEL": " vit_b ", "CHECKPOINT": raster.source()})
    asked = requests()[0]
    assert asked["extent"] == pytest.approx([500000, 5399970, 500010, 5399990])
    assert (asked["resolution"], asked["min_strength"]) == (0.4, 0.0)
    assert (asked["model"], asked["checkpoint"]) == ("vit_b", raster.source())


def test_the_new_raster_lets_the_image_show_through(run, given):
    from qgis.core import (
        QgsProcessingFeedback,
        QgsProcessingOutputLayerDefinition,
        QgsProject,
        QgsRasterLayer,
    )

    output = QgsProcessingOutputLayerDefinition(given["OUTPUT"], QgsProject.instance())
    results, context, _ = run("edges", {**given, "OUTPUT": output})
    layer = QgsRasterLayer(results["OUTPUT"], "edges")
    processor = context.layerToLoadOnCompletionDetails(results["OUTPUT"]).postProcessor()
    processor.postProcessLayer(layer, context, QgsProcessingFeedback())
    function = layer.renderer().shader().rasterShaderFunction()
    assert function.shade(0.0)[-1] == 0  # no edge, no colour
    assert function.shade(0.8)[-1] == 255


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("RASTER", "/nowhere/image.tif", "/nowhere/image.tif"),
        ("EXTENT", "0,1,0,1 [EPSG:32633]", "The extent does not lie on “Image”"),
        ("RESOLUTION", 0, "RESOLUTION"),
        ("MIN_STRENGTH", 2, "MIN_STRENGTH"),
    ],
)
def test_a_value_that_cannot_be_used(registry, new_context, given, name, value, sentence):
    algorithm = registry.algorithmById("exemplar:edges")
    fine, problem = algorithm.checkParameterValues({**given, name: value}, new_context())
    assert not fine and sentence in problem


def test_the_engines_sentence_is_the_exception(run, given, requests):
    from qgis.core import QgsProcessingException

    requests.habits(error={"message": "Too fine.", "user_fault": True, "details": ""})
    with pytest.raises(QgsProcessingException, match=r"^Too fine\.$"):
        run("edges", given)


def test_cancel(registry, given, new_context, habits, until, pids, alive):
    from qgis.core import QgsApplication, QgsProcessingAlgRunnerTask, QgsProcessingFeedback

    habits(steps=1000, pause=0.05)
    context, feedback, ended = new_context(), QgsProcessingFeedback(False), []
    algorithm = registry.createAlgorithmById("exemplar:edges")
    task = QgsProcessingAlgRunnerTask(algorithm, given, context, feedback)
    task.executed.connect(lambda ok, results: ended.append(results))
    QgsApplication.taskManager().addTask(task)
    assert until(lambda: "tile 1" in feedback.textLog()), feedback.textLog()
    feedback.cancel()
    assert until(lambda: ended, 5)
    assert ended == [{}] and not alive(pids[0])
    assert not Path(given["OUTPUT"]).exists()


@pytest.mark.skipif(not PYTHON.exists(), reason="the engine's environment is not there")
def test_with_the_real_engine(registry, run, given, monkeypatch):
    from osgeo import gdal

    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", str(PYTHON))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    provider = registry.providerById("exemplar")
    monkeypatch.setattr(provider, "_root", REPOSITORY)
    provider.refreshAlgorithms()
    results, context, _ = run("edges", {**given, "RESOLUTION": 0.4, "LINES": "TEMPORARY_OUTPUT"})
    data = gdal.Open(results["OUTPUT"])
    assert (data.RasterXSize, data.RasterYSize) == (100, 100)
    assert data.GetGeoTransform() == pytest.approx((500000.0, 0.4, 0.0, 5400000.0, 0.0, -0.4))
    values = data.ReadAsArray()
    assert values.min() >= 0 and values.max() <= 1
    names = context.getMapLayer(results["LINES"]).fields().names()
    assert names == ["id", "strength", "length_m", "model", "created"]
