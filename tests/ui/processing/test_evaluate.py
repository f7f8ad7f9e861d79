"""``exemplar:evaluate``: what goes to the engine and what comes back."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

ANSWERING = """
import json, sys
def send(message):
    print(json.dumps(message), flush=True)
send({{"type": "hello", "protocol": 1}})
message = json.loads(sys.stdin.readline())
assert message["type"] == "evaluate"
{answer}
sys.stdin.read()
"""


FIGURES = {
    "iou": 0.5, "precision": 1.0, "recall": 0.25, "f1": 0.4, "n_truth": 4, "n_detected": 1,
    "n_matched": 1, "coverage": 0.125,
}  # fmt: skip


@pytest.fixture
def compared(monkeypatch):
    """Answers with the figures above and keeps the requests, with the shapes of their files."""
    from exemplar.ui.processing.run_engine import RunEngine
    from qgis.core import QgsVectorLayer

    kept = []

    def evaluate(_self, request, _cancelled):
        for path in (request.detections, request.truth):
            layer = QgsVectorLayer(path, "polygons", "ogr")
            fields = [name for name in layer.fields().names() if name != "fid"]
            rows = [
                (round(feature.geometry().area(), 1), *(feature[name] for name in fields))
                for feature in layer.getFeatures()
            ]
            kept.append((layer.crs().authid(), rows))
        kept.append(request)
        return FIGURES

    monkeypatch.setattr(RunEngine, "evaluate", evaluate)
    return kept


def test_the_figures_are_outputs_and_in_the_log(run, polygons, compared):
    results, _, log = run("evaluate", {"DETECTIONS": polygons.id(), "TRUTH": polygons.id()})
    assert results == {name.upper(): value for name, value in FIGURES.items()}
    assert "Recall: 0.2500" in log and "Objects in the truth: 4" in log
    detections, truth, request = compared
    assert detections == truth == ("EPSG:32633", [(16.0, "building"), (36.0, "vehicle")])
    assert (request.target, request.extent, request.iou, request.boxes) == (None, None, 0.5, False)


def test_selections_edits_and_crs_count(run, polygons, compared):
    from qgis.core import (
        QgsCoordinateReferenceSystem,
        QgsFeature,
        QgsGeometry,
        QgsProcessingFeatureSourceDefinition,
        QgsProject,
        QgsVectorLayer,
    )

    degrees = QgsVectorLayer("Polygon?crs=EPSG:4326", "Degrees", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromWkt("POLYGON((15 48.7, 15.001 48.7, 15.001 48.701, 15 48.7))"))
    degrees.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(degrees)
    polygons.selectByExpression("target = 'vehicle'")
    polygons.startEditing()
    polygons.changeAttributeValue(polygons.selectedFeatureIds()[0], 0, "other")
    run(
        "evaluate",
        {
            "DETECTIONS": degrees.id(),
            "TRUTH": QgsProcessingFeatureSourceDefinition(polygons.id(), True),
            "TARGET": "other",
            "EXTENT": "15,15.001,48.7,48.701 [EPSG:4326]",
            "IOU": 0.3,
            "BOXES": True,
        },
    )
    polygons.rollBack()
    detections, truth, request = compared
    assert QgsCoordinateReferenceSystem(detections[0]) == polygons.crs()
    assert 3000 < detections[1][0][0] < 5000  # square metres, not degrees
    assert truth[1] == [(36.0, "other")]
    assert (request.target, request.iou, request.boxes) == ("other", 0.3, True)
    assert request.extent == pytest.approx([500000, 5394100, 500074, 5394211], abs=400)


@pytest.fixture
def engine(tmp_path):
    """A run's engine that answers as told."""
    from exemplar.ui.processing.run_engine import RunEngine

    made = []

    def make(answer):
        (tmp_path / "core").mkdir()
        (tmp_path / "core" / "__main__.py").write_text(ANSWERING.format(answer=answer))
        made.append(RunEngine(tmp_path, lambda: Path(sys.executable)))
        return made[0]

    yield make
    made[0].close()


@pytest.fixture
def request_():
    from exemplar.core.protocol import EvaluateRequest

    return EvaluateRequest(detections="d.gpkg", truth="t.gpkg")


def test_the_engines_answer(engine, request_):
    answer = 'send({"type": "result", "job": message["job"], "figures": {"iou": 1.0}})'
    assert engine(answer).evaluate(request_, lambda: False) == {"iou": 1.0}


def test_the_engines_sentence(engine, request_):
    from exemplar.ui.errors import EngineError

    answer = 'send({"type": "error", "job": message["job"], "message": "No truth.", "user_fault": True})'
    with pytest.raises(EngineError, match=r"^No truth\.$"):
        engine(answer).evaluate(request_, lambda: False)


def test_an_engine_that_dies(engine, request_):
    from exemplar.ui.errors import EngineError

    with pytest.raises(EngineError, match="exit code 3"):
        engine("import os; os._exit(3)").evaluate(request_, lambda: False)


def test_cancel(engine, request_):
    cancelled = threading.Event()
    threading.Timer(0.5, cancelled.set).start()
    assert engine("").evaluate(request_, cancelled.is_set) is None
