"""Loading and unloading, as QGIS does it."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_loads_and_unloads_without_a_trace(iface, fake_python, until):
    import exemplar
    from qgis.gui import QgsRubberBand
    from qgis.PyQt.QtWidgets import QDockWidget

    def bands():
        return [item for item in iface.canvas.scene().items() if isinstance(item, QgsRubberBand)]

    before = len(bands())
    plugin = exemplar.classFactory(iface)
    plugin.initGui()
    assert plugin.action in iface.actions_added
    assert not plugin.action.icon().isNull()
    assert iface.findChild(QDockWidget, "ExemplarDock") is plugin.dock
    assert not plugin.dock.isVisible()
    plugin.unload()
    assert until(lambda: iface.findChild(QDockWidget, "ExemplarDock") is None)
    assert iface.actions_added == []
    assert len(bands()) == before


def test_the_action_opens_the_dock(plugin, until):
    plugin.action.trigger()
    assert until(lambda: plugin.dock.isVisible())
    plugin.action.trigger()
    assert until(lambda: not plugin.dock.isVisible())


def test_the_engine_starts_with_the_dock_and_ends_with_the_plugin(iface, fake_python, habits, until, alive):
    import exemplar
    import exemplar.plugin

    exemplar.plugin.ENGINE_ROOT, kept = Path(__file__).parent / "fake_engine", exemplar.plugin.ENGINE_ROOT
    try:
        plugin = exemplar.classFactory(iface)
        plugin.initGui()
        assert plugin.dock.engine.pid is None
        plugin.dock.setUserVisible(True)
        assert until(lambda: plugin.dock.where_step.target() is not None)
        pid = plugin.dock.engine.pid
        assert alive(pid)
        plugin.unload()
        assert not alive(pid)
    finally:
        exemplar.plugin.ENGINE_ROOT = kept


def test_importing_the_plugin_loads_no_engine_library():
    code = (
        "import sys; sys.path.insert(0, {plugins!r}); import exemplar.plugin\n"
        "heavy = {{'torch', 'rasterio', 'shapely', 'geopandas', 'pandas', 'core'}} & set(sys.modules)\n"
        "sys.exit(f'imported: {{heavy}}' if heavy else 0)"
    ).format(plugins=str(REPOSITORY / "build" / "plugins"))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_metadata_has_what_the_plugin_repository_requires():
    metadata = configparser.ConfigParser()
    metadata.read(REPOSITORY / "metadata.txt", encoding="utf-8")
    general = metadata["general"]
    required = "name description version qgisMinimumVersion author email about tracker repository"
    assert all(general.get(key) for key in required.split())
    assert (general["qgisMinimumVersion"], general["qgisMaximumVersion"]) == ("3.22", "4.99")
    assert "supportsQt6" not in general
    assert (REPOSITORY / general["icon"]).is_file()
