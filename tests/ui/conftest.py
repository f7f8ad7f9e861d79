"""Real QGIS, offscreen, with the plugin imported the way QGIS does: as the package ``exemplar``."""

# ruff: noqa: N802, N815  (the stand-in for QGIS's window has its names)

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PLUGINS = REPOSITORY / "build" / "plugins"
FAKE_ENGINE = REPOSITORY / "tests" / "support" / "fake_engine"

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["EXEMPLAR_CACHE_GB"] = "0"  # tests compute, and leave the user's own cache alone

try:
    import qgis.core  # noqa: F401
except ImportError:  # the engine's environment has no QGIS, and must not have one
    collect_ignore_glob = ["*"]
else:
    PLUGINS.mkdir(parents=True, exist_ok=True)
    if not (PLUGINS / "exemplar").exists():
        (PLUGINS / "exemplar").symlink_to(REPOSITORY, target_is_directory=True)
    sys.path.insert(0, str(PLUGINS))

RASTER_CRS = "EPSG:32633"


def wait_until(condition, seconds=10.0):
    """Run Qt's events until ``condition`` holds; True if it did in time."""
    from qgis.PyQt.QtCore import QCoreApplication, QEvent, QEventLoop

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        if condition():
            return True
        time.sleep(0.002)
    return False


def is_alive(pid):
    """True if the process runs; one that has ended but was not waited for counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def until():
    return wait_until


@pytest.fixture
def alive():
    return is_alive


@pytest.fixture(autouse=True)
def private_settings(qgis_app, tmp_path):
    """Settings and project of one test are its own."""
    from qgis.core import QgsProject
    from qgis.PyQt.QtCore import QSettings

    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
    yield
    QgsProject.instance().clear()


@pytest.fixture
def fake_python(monkeypatch):
    """The fake engine runs on the Python of these tests."""
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", sys.executable)


@pytest.fixture
def fake_root():
    """The folder from which the fake engine is started."""
    return FAKE_ENGINE


@pytest.fixture
def habits(monkeypatch):
    """Tell the fake engine how to behave from its next start on."""

    def tell(**fields):
        monkeypatch.setenv("EXEMPLAR_FAKE_ENGINE", json.dumps(fields))

    tell()
    return tell


@pytest.fixture
def iface(qgis_app):
    """A window with a canvas and a message bar of its own; it remembers what the plugin added."""
    from qgis.core import QgsCoordinateReferenceSystem, QgsProject
    from qgis.gui import QgsMapCanvas, QgsMessageBar
    from qgis.PyQt.QtCore import pyqtSignal
    from qgis.PyQt.QtWidgets import QMainWindow, QVBoxLayout, QWidget

    class Window(QMainWindow):
        currentLayerChanged = pyqtSignal("QgsMapLayer*")

        def __init__(self):
            super().__init__()
            self.resize(900, 700)
            body = QWidget()
            layout = QVBoxLayout(body)
            self.bar = QgsMessageBar()
            self.canvas = QgsMapCanvas()
            layout.addWidget(self.bar)
            layout.addWidget(self.canvas, 1)
            self.setCentralWidget(body)
            self.active = None
            self.actions_added = []

        def mainWindow(self):
            return self

        def mapCanvas(self):
            return self.canvas

        def messageBar(self):
            return self.bar

        def activeLayer(self):
            return self.active

        def openMessageLog(self):
            pass

        def addToolBarIcon(self, action):
            self.actions_added.append(action)

        def removeToolBarIcon(self, action):
            self.actions_added.remove(action)

        def addPluginToRasterMenu(self, _name, action):
            self.actions_added.append(action)

        def removePluginRasterMenu(self, _name, action):
            self.actions_added.remove(action)

        def messages(self):
            """The sentences in the bar, with their levels."""
            return [(item.level(), item.text()) for item in self.bar.items()]

    window = Window()
    window.canvas.setDestinationCrs(QgsCoordinateReferenceSystem(RASTER_CRS))
    QgsProject.instance().setCrs(QgsCoordinateReferenceSystem(RASTER_CRS))
    window.show()
    wait_until(lambda: window.canvas.width() > 0)
    yield window
    window.canvas.setLayers([])
    window.close()
    window.deleteLater()
    wait_until(lambda: False, 0.05)


@pytest.fixture
def raster(qgis_app, tmp_path, iface):
    """A grey raster of 200 x 200 pixels of 0.2 m, in the project and on the canvas."""
    from osgeo import gdal, osr
    from qgis.core import QgsProject, QgsRasterLayer

    path = tmp_path / "bild ä.tif"  # users' folders have such names
    data = gdal.GetDriverByName("GTiff").Create(str(path), 200, 200, 3, gdal.GDT_Byte)
    data.SetGeoTransform((500000.0, 0.2, 0.0, 5400000.0, 0.0, -0.2))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32633)
    data.SetProjection(crs.ExportToWkt())
    for band in (1, 2, 3):
        data.GetRasterBand(band).Fill(90)
    del data
    layer = QgsRasterLayer(str(path), "Image")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    iface.canvas.setLayers([layer])
    iface.canvas.setExtent(layer.extent())
    return layer


@pytest.fixture
def placeless(tmp_path, iface):
    """A file of the same pixels that names no CRS, in the project."""
    from osgeo import gdal
    from qgis.core import QgsCoordinateReferenceSystem, QgsProject, QgsRasterLayer

    path = tmp_path / "placeless.tif"
    data = gdal.GetDriverByName("GTiff").Create(str(path), 200, 200, 3, gdal.GDT_Byte)
    data.SetGeoTransform((500000.0, 0.2, 0.0, 5400000.0, 0.0, -0.2))
    del data
    layer = QgsRasterLayer(str(path), "Placeless")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))  # by hand: the engine sees the file only
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def plugin(iface, fake_python, habits, monkeypatch):
    """The loaded plugin, on the fake engine."""
    import exemplar
    import exemplar.plugin

    monkeypatch.setattr(exemplar.plugin, "ENGINE_ROOT", FAKE_ENGINE)
    loaded = exemplar.classFactory(iface)
    loaded.initGui()
    yield loaded
    loaded.unload()
    wait_until(lambda: False, 0.05)


@pytest.fixture
def proxied(qgis_app):
    """Set QGIS's proxy; gives the engine's environment with it."""
    from exemplar.ui.engine.proxy import variables, with_proxy
    from qgis.core import QgsSettings

    def run(environ=None, **fields):
        settings = QgsSettings()
        for key, value in ({"proxyEnabled": True, "proxyType": "HttpProxy"} | fields).items():
            settings.setValue(f"proxy/{key}", value)
        return with_proxy({"PATH": "/bin"} if environ is None else environ, variables())

    yield run
    QgsSettings().remove("proxy")


@pytest.fixture
def dock(plugin):
    """The dock with the engine greeted."""
    plugin.dock.setUserVisible(True)
    assert wait_until(lambda: plugin.dock.where_step.target() is not None)
    return plugin.dock


@pytest.fixture
def square():
    """An example of 4 x 4 m in the middle of the raster."""
    from exemplar.ui.drawing.example import Example
    from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY

    x, y = 500020.0, 5399980.0
    corners = [QgsPointXY(x, y), QgsPointXY(x + 4, y), QgsPointXY(x + 4, y + 4), QgsPointXY(x, y + 4)]
    return Example.from_points(corners, QgsCoordinateReferenceSystem(RASTER_CRS))


@pytest.fixture
def ready(dock, raster, square):
    """A dock with an example, a raster and a warm engine."""
    dock.set_example(square)
    assert dock.run_step.run_button.isEnabled()
    return dock


@pytest.fixture
def run(ready, until):
    """Press the button and wait for the end."""

    def press():
        ready.run_step.run_button.click()
        assert ready.running
        assert until(lambda: not ready.running)
        return ready.result_layer

    return press
