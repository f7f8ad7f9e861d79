"""QGIS and the engine measure the same: both are held to the figures of one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SUPPORT = Path(__file__).resolve().parents[1] / "support"
CASES = json.loads((SUPPORT / "ground_measures.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["crs"])
def test_the_dock_measures_what_the_file_says(qgis_app, case):
    """``tests/core/geo/test_geodesic.py`` holds the engine's figures to the same ones."""
    from exemplar.ui.drawing.example import Example
    from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry

    example = Example(QgsGeometry.fromWkt(case["wkt"]), QgsCoordinateReferenceSystem(case["crs"]))
    measure = example.ground_measure()
    assert measure.measureArea(example.geometry) == pytest.approx(case["area_m2"], rel=1e-6)
    assert measure.measurePerimeter(example.geometry) == pytest.approx(case["perimeter_m"], rel=1e-6)
    area = case["area_m2"]
    assert example.describe().endswith(f", {area:.1f} m²" if area < 100 else f", {area:.0f} m²")
