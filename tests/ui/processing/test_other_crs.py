"""An image whose CRS was set by hand in QGIS: all that is written lies where the layer lies."""

from __future__ import annotations

import pytest


@pytest.fixture
def elsewhere(raster):
    """The CRS that the user gave the layer; its file names another."""
    from qgis.core import QgsCoordinateReferenceSystem

    raster.setCrs(QgsCoordinateReferenceSystem("EPSG:25833"))
    assert raster.dataProvider().crs().authid() == "EPSG:32633"
    return raster.crs()


def written(path):
    """A raster's CRS, its place and its pixels, as they are in the file."""
    from osgeo import gdal
    from qgis.core import QgsRasterLayer

    data = gdal.Open(path)
    return QgsRasterLayer(path, "written").crs(), data.GetGeoTransform(), data.ReadAsArray()


def test_the_mask_and_the_detections(run, given, polygons, elsewhere, tmp_path):
    polygons.setCrs(elsewhere)
    mask = str(tmp_path / "mask ä.tif")
    results, context, _ = run("detect", {**given, "MASK": mask})
    crs, place, pixels = written(results["MASK"])
    assert crs == context.getMapLayer(results["OUTPUT"]).crs() == elsewhere
    assert place == pytest.approx((500000.0, 0.2, 0.0, 5400000.0, 0.0, -0.2))
    assert pixels[4].tolist() == [0.5] * 20


def test_the_edges_and_their_lines(run, raster, elsewhere, tmp_path):
    given = {"RASTER": raster.id(), "OUTPUT": str(tmp_path / "edges.tif"), "LINES": "TEMPORARY_OUTPUT"}
    results, context, _ = run("edges", given)
    crs, _place, pixels = written(results["OUTPUT"])
    assert crs == context.getMapLayer(results["LINES"]).crs() == elsewhere
    assert pixels[4].tolist() == [0.5] * 20


def test_a_raster_that_takes_no_crs_is_told(tmp_path, elsewhere, raster):
    from exemplar.ui.processing.output_raster import assign_crs
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="could not be given the layer's CRS"):
        assign_crs(str(tmp_path / "gone.tif"), elsewhere, raster.dataProvider().crs())


def test_the_files_own_crs_leaves_the_file_alone(tmp_path, raster):
    from exemplar.ui.processing.output_raster import assign_crs

    assign_crs(str(tmp_path / "gone.tif"), raster.crs(), raster.dataProvider().crs())
