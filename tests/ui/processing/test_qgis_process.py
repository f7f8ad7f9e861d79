"""The main job without a window: ``qgis_process``, the real engine, the embedded model, the sample town."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLE = REPOSITORY / "resources" / "sample"
MODEL = REPOSITORY / "resources" / "exemplar-embedded.safetensors"
PYTHON = REPOSITORY / ".venv" / "bin" / "python"
# Debian's wrapper of that name passes an option that QGIS 3.22 refuses.
QGIS_PROCESS = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
AROUND_THE_EXAMPLE = "500118,500136,5399913,5399930 [EPSG:32633]"  # on one tile

absent = [
    str(path.relative_to(REPOSITORY)) for path in (SAMPLE / "town.tif", MODEL, PYTHON) if not path.exists()
]
if QGIS_PROCESS is None:
    absent.append("qgis_process")
pytestmark = pytest.mark.skipif(bool(absent), reason=f"not there: {', '.join(absent)}")


@pytest.fixture(scope="module")
def qgis_process(tmp_path_factory):
    """``qgis_process`` with a profile of its own and the plugin enabled; gives status, results and log."""
    profile = tmp_path_factory.mktemp("profile")
    environ = {
        **os.environ,
        "QGIS_CUSTOM_CONFIG_PATH": str(profile),
        "QGIS_PLUGINPATH": str(REPOSITORY / "build" / "plugins"),
        "EXEMPLAR_ENGINE_PYTHON": str(PYTHON),
    }

    def call(*arguments):
        return subprocess.run(
            [QGIS_PROCESS, *arguments],
            env=environ,
            cwd=profile,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    assert call("plugins", "enable", "exemplar").returncode == 0
    return call


def run(qgis_process, name, **parameters):
    given = [f"--{key}={value}" for key, value in parameters.items()]
    ended = qgis_process("--json", "run", f"exemplar:{name}", *given)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout[ended.stdout.index("{") :])["results"]


@pytest.fixture(scope="module")
def found(qgis_process, tmp_path_factory):
    """The town's buildings around the sample's example."""
    folder = tmp_path_factory.mktemp("found")
    return run(
        qgis_process,
        "detect",
        RASTER=SAMPLE / "town.tif",
        EXAMPLE=SAMPLE / "example_building.geojson",
        EXTENT=AROUND_THE_EXAMPLE,
        TARGET="building",
        RUNS=8,
        OUTPUT=folder / "found.gpkg",
        MASK=folder / "mask.tif",
    )


def test_detections_and_mask(found):
    from osgeo import gdal
    from qgis.core import QgsVectorLayer

    layer = QgsVectorLayer(found["OUTPUT"], "found", "ogr")
    assert layer.featureCount() == found["COUNT"] > 0
    assert {"id", "target", "score", "area_m2", "strategy", "model"} <= set(layer.fields().names())
    assert layer.crs().authid() == "EPSG:32633"
    mask = gdal.Open(found["MASK"])
    assert mask.GetGeoTransform()[1] == pytest.approx(0.16)  # the image's own pixels
    values = mask.ReadAsArray()
    assert set(values.ravel().tolist()) == {0, 1}


def test_the_example_is_among_them(found):
    from qgis.core import QgsVectorLayer

    example = QgsVectorLayer(str(SAMPLE / "example_building.geojson"), "example", "ogr")
    true = next(example.getFeatures()).geometry()
    layer = QgsVectorLayer(found["OUTPUT"], "found", "ogr")
    shapes = [feature.geometry() for feature in layer.getFeatures()]
    assert max(true.intersection(shape).area() / true.combine(shape).area() for shape in shapes) > 0.5


def test_they_are_evaluated(qgis_process, found):
    figures = run(
        qgis_process,
        "evaluate",
        DETECTIONS=found["OUTPUT"],
        TRUTH=SAMPLE / "town_truth.gpkg",
        TARGET="building",
        EXTENT=AROUND_THE_EXAMPLE,
    )
    assert figures["N_TRUTH"] >= 1
    assert 0 < figures["COVERAGE"] < figures["IOU"] <= 1
    assert 0 <= figures["F1"] <= 1


def test_a_wrong_name_is_answered_with_the_right_ones(qgis_process, tmp_path):
    ended = qgis_process(
        *("run", "exemplar:detect", f"--RASTER={SAMPLE / 'town.tif'}", "--STRATEGY=nonsense"),
        *(f"--EXAMPLE={SAMPLE / 'example_building.geojson'}", f"--OUTPUT={tmp_path / 'out.gpkg'}"),
    )
    assert ended.returncode != 0
    assert "There is no strategy 'nonsense'. Choose one of: guided," in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_targets_offered_are_the_engines(monkeypatch):
    """The one list that the algorithms repeat: see ``TARGETS``."""
    from exemplar.ui.processing.algorithm import TARGETS
    from exemplar.ui.processing.run_engine import run_engine

    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", str(PYTHON))
    with run_engine(REPOSITORY) as engine:
        hello = engine.hello(lambda: False)
    assert [target["name"] for target in hello["targets"]] == TARGETS
