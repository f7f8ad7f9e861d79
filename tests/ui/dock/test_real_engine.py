"""The dock on the real engine, the embedded model and the sample town."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLE = REPOSITORY / "resources" / "sample"
MODEL = REPOSITORY / "resources" / "exemplar-embedded.safetensors"
PYTHON = REPOSITORY / ".venv" / "bin" / "python"

absent = [
    str(path.relative_to(REPOSITORY)) for path in (SAMPLE / "town.tif", MODEL, PYTHON) if not path.exists()
]
pytestmark = pytest.mark.skipif(bool(absent), reason=f"not there: {', '.join(absent)}")


@pytest.fixture
def dock(iface, monkeypatch, until):
    """The dock on a small part of the town, with the sample's building as the example."""
    import exemplar
    from exemplar.ui.drawing.example import Example
    from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer

    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", str(PYTHON))
    monkeypatch.setenv("PYTHONPATH", "/nowhere")  # as QGIS has it on Windows; must not reach the engine
    raster = QgsRasterLayer(str(SAMPLE / "town.tif"), "Town")
    QgsProject.instance().addMapLayer(raster)
    iface.canvas.setLayers([raster])
    plugin = exemplar.classFactory(iface)
    plugin.initGui()
    plugin.dock.setUserVisible(True)
    example = QgsVectorLayer(str(SAMPLE / "example_building.geojson"), "example", "ogr")
    example.selectAll()
    plugin.dock.set_example(Example.from_selection(example))
    around = plugin.dock.example.geometry.boundingBox()
    around.scale(5)
    iface.canvas.setExtent(around)
    plugin.dock.where_step.runs_box.setValue(8)
    assert until(lambda: plugin.dock.run_step.run_button.isEnabled(), 120), plugin.dock.run_step.note
    yield plugin.dock
    plugin.unload()


def test_finds_the_example_again(dock, until, iface):
    dock.run_step.run_button.click()
    assert until(lambda: not dock.running, 300)
    layer = dock.result_layer
    assert layer is not None, dock.run_step.note
    assert layer.featureCount() == dock.last_result["count"]
    assert {"id", "target", "score", "area_m2", "strategy"} <= set(layer.fields().names())
    best = max(
        feature.geometry().intersection(dock.example.geometry).area()
        / feature.geometry().combine(dock.example.geometry).area()
        for feature in layer.getFeatures()
    )
    assert best > 0.5
    assert iface.messages() == []


def test_cancels_and_stays_warm(dock, until, monkeypatch):
    monkeypatch.setattr("exemplar.ui.engine.client.CANCEL_SECONDS", 60)  # a busy machine takes its time
    dock.where_step.runs_box.setValue(256)
    dock.run_step.run_button.click()
    assert until(lambda: dock.run_step.note.startswith("tile"), 120)
    pid, started = dock.engine.pid, time.monotonic()
    dock.run_step.cancel_button.click()
    assert until(lambda: dock.run_step.run_button.isEnabled(), 1)
    assert time.monotonic() - started < 0.3
    assert dock.engine.hello(lambda: time.monotonic() > started + 60)  # its turn: the engine has stopped
    assert dock.engine.pid == pid


def test_ends_with_the_plugin(dock, alive):
    pid = dock.engine.pid
    dock.engine.close()
    assert not alive(pid)
