"""The size of an example in true metres."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("crs", ["EPSG:32635", "EPSG:4326", "EPSG:3857"])
def test_an_examples_size_is_that_on_the_ground(plugin, crs):
    """A house of 12 x 6 m, turned by 30 degrees, at 59 degrees north: a degree east is half of one north."""
    from exemplar.ui.drawing.example import Example
    from qgis.core import (
        QgsCoordinateReferenceSystem,
        QgsCoordinateTransform,
        QgsGeometry,
        QgsPointXY,
        QgsProject,
        QgsRectangle,
    )

    house = QgsGeometry.fromRect(QgsRectangle(500_000, 6_540_000, 500_012, 6_540_006))
    house.rotate(30, QgsPointXY(500_000, 6_540_000))
    utm, given = (QgsCoordinateReferenceSystem(name) for name in ("EPSG:32635", crs))
    house.transform(QgsCoordinateTransform(utm, given, QgsProject.instance()))
    assert Example.from_geometry(house, given).describe() == "12.0 × 6.0 m, 72.1 m²"  # UTM's 0.9996


@pytest.mark.parametrize("shift", ["", " +towgs84=500,100,500"])
def test_an_example_is_measured_where_the_crs_gives_its_ellipsoid_by_axes(qgis_app, shift):
    from exemplar.ui.drawing.example import Example
    from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsRectangle

    crs = QgsCoordinateReferenceSystem()
    assert crs.createFromProj(
        "+proj=tmerc +lat_0=0 +lon_0=15 +k=1 +x_0=500000 +y_0=0 +a=6377397 +b=6356078 +units=m" + shift
    )
    assert crs.ellipsoidAcronym().startswith("PARAMETER:")
    square = QgsGeometry.fromRect(QgsRectangle(500000, 5400000, 500004, 5400004))
    assert Example(square, crs).describe() == "4.0 × 4.0 m, 16.0 m²"
