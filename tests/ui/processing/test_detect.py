"""``exemplar:detect``, on the fake engine: what it asks, what it gives."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_into_a_memory_layer(run, given, raster, requests):
    results, context, log = run("detect", given)
    layer = context.getMapLayer(results["OUTPUT"])
    assert layer.providerType() == "memory"
    assert layer.featureCount() == results["COUNT"] == 1
    assert layer.fields().names() == ["id", "score"]
    feature = next(layer.getFeatures())
    assert (feature["score"], round(feature.geometry().area(), 6)) == (0.9, 4.0)
    assert layer.crs() == raster.crs()
    assert "MASK" not in results
    assert "1 found in 1.5 s" in log
    asked = requests()[0]
    assert Path(asked["raster"]).samefile(raster.source())
    # by default as the engine has it: its strategy is not the first of its list
    assert (asked["target"], asked["strategy"], asked["model"]) == (
        "building",
        "random-point",
        "embedded",
    )
    assert (asked["runs"], asked["seed"], asked["bands"]) == (64, 0, [1, 2, 3])
    assert asked["regularize"] is asked["rectangles"] is False
    assert asked["resolution"] is asked["min_score"] is asked["checkpoint"] is asked["mask"] is None
    assert not Path(asked["output"]).parent.exists()  # a batch must not pile up files


@pytest.mark.parametrize("option", ["", "|option:NUM_THREADS=ALL_CPUS|option:SPARSE_OK=YES"])
@pytest.mark.parametrize("table", ["", "photo"])
def test_the_engine_gets_a_name_that_gdal_opens(qgis_app, tmp_path, raster, option, table):
    """Without QGIS's own options behind it; a GeoPackage's raster keeps its name."""
    from exemplar.ui.processing.inputs import raster_path
    from osgeo import gdal
    from qgis.core import QgsRasterLayer

    name = raster.source()
    if table:
        path = str(tmp_path / "two.gpkg")
        for title in ("other", table):
            extra = ["APPEND_SUBDATASET=YES"] if title == table else []
            gdal.Translate(path, name, format="GPKG", creationOptions=[f"RASTER_TABLE={title}", *extra])
        name = f"GPKG:{path}:{table}"

    class Layer(QgsRasterLayer):  # QGIS 3.22 itself opens no raster of a GeoPackage with options
        def source(self):
            return name + option

    assert raster_path(Layer(name, "Image")) == name
    assert gdal.Open(name) is not None


def test_each_image_is_read_in_the_bands_that_it_is_shown_in(run, given, requests, raster):
    from qgis.core import QgsProject

    other = raster.clone()
    renderer = other.renderer()
    renderer.setRedBand(3), renderer.setGreenBand(1), renderer.setBlueBand(2)
    QgsProject.instance().addMapLayer(other)
    run("detect", {**given, "EXAMPLE_RASTER": other.id()})
    both = requests()[-1]
    run("detect", given)
    alone = requests()[-1]
    assert (both["bands"], both["example_bands"]) == ([1, 2, 3], [3, 1, 2])
    assert (alone["bands"], alone["example_bands"]) == ([1, 2, 3], None)


@pytest.mark.parametrize("name", ["found ä.shp", "found.gpkg"])
def test_into_a_file(run, given, tmp_path, name):
    from qgis.core import QgsVectorLayer

    results, _, _ = run("detect", {**given, "OUTPUT": str(tmp_path / name)})
    assert results["OUTPUT"] == str(tmp_path / name)
    layer = QgsVectorLayer(results["OUTPUT"], "found", "ogr")
    assert layer.featureCount() == 1
    assert layer.crs().authid() == "EPSG:32633"
    assert {"id", "score"} <= set(layer.fields().names())


def test_what_is_given_reaches_the_engine(run, given, requests, tmp_path, raster):
    run(
        "detect",
        {
            **given,
            "TARGET": "vehicle",
            "STRATEGY": " grid-points ",
            "EXAMPLE_RASTER": raster.id(),
            "RESOLUTION": 0.3,
            "ENCODE": "apart",
            "PRECISION": "single",
            "RUNS": 5,
            "SEED": 7,
            "MIN_SCORE": 0.0,
            "RECTANGLES": True,
            "MASK": str(tmp_path / "mask.tif"),
            "CHECKPOINT": raster.source(),
        },
    )
    asked = requests()[0]
    assert (asked["regularize"], asked["rectangles"]) == (False, True)
    assert (asked["encode"], asked["precision"]) == ("apart", "single")
    named = "target strategy resolution runs seed min_score mask checkpoint example_raster"
    assert [asked[name] for name in named.split()] == [
        *("vehicle", "grid-points", 0.3, 5, 7, 0.0),
        *(str(tmp_path / "mask.tif"), raster.source(), raster.source()),
    ]


def test_the_selected_polygon_only(run, given, polygons, example_sent):
    from qgis.core import QgsProcessingFeatureSourceDefinition

    polygons.selectByExpression("target = 'vehicle'")
    run("detect", {**given, "EXAMPLE": QgsProcessingFeatureSourceDefinition(polygons.id(), True)})
    assert [[round(area) for area in areas] for areas in example_sent] == [[36]]


def test_all_polygons_of_a_small_layer(run, given, example_sent):
    run("detect", given)
    assert [[round(area) for area in areas] for areas in example_sent] == [[16, 36]]


def test_an_extent_in_another_crs(run, given, requests, raster):
    from qgis.core import QgsCoordinateReferenceSystem, QgsCoordinateTransform, QgsProject, QgsRectangle

    wanted = QgsRectangle(500010, 5399970, 500030, 5399990)
    degrees = QgsCoordinateTransform(
        raster.crs(), QgsCoordinateReferenceSystem("EPSG:4326"), QgsProject.instance()
    ).transformBoundingBox(wanted)
    text = f"{degrees.xMinimum()},{degrees.xMaximum()},{degrees.yMinimum()},{degrees.yMaximum()}"
    run("detect", {**given, "EXTENT": f"{text} [EPSG:4326]"})
    assert requests()[0]["extent"] == pytest.approx([500010, 5399970, 500030, 5399990], abs=0.1)


def test_an_extent_that_sticks_out_is_cut(run, given, requests):
    run("detect", {**given, "EXTENT": "499000,500010,5399970,5399990 [EPSG:32633]"})
    assert requests()[0]["extent"] == pytest.approx([500000, 5399970, 500010, 5399990])


def test_the_new_layer_is_styled(run, given):
    from qgis.core import QgsProcessingFeedback, QgsProcessingOutputLayerDefinition, QgsProject

    output = QgsProcessingOutputLayerDefinition("TEMPORARY_OUTPUT", QgsProject.instance())
    results, context, _ = run("detect", {**given, "OUTPUT": output})
    layer = context.getMapLayer(results["OUTPUT"])
    processor = context.layerToLoadOnCompletionDetails(results["OUTPUT"]).postProcessor()
    processor.postProcessLayer(layer, context, QgsProcessingFeedback())
    assert layer.renderer().symbol().symbolLayerCount() == 2


def test_again_and_again_with_one_algorithm(registry, given, new_context, pids, alive):
    from qgis.core import QgsProcessingFeedback

    algorithm = registry.algorithmById("exemplar:detect")
    for _ in range(2):
        results, ok = algorithm.run(given, new_context(), QgsProcessingFeedback(False))
        assert ok and results["COUNT"] == 1
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)
