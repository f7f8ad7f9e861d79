"""Loading and unloading, as QGIS does it."""

from __future__ import annotations

import ast
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


def test_the_engine_starts_with_the_dock_and_ends_with_the_plugin(
    iface, fake_python, fake_root, habits, until, alive
):
    import exemplar
    import exemplar.plugin

    exemplar.plugin.ENGINE_ROOT, kept = fake_root, exemplar.plugin.ENGINE_ROOT
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
    assert "supportsQt6" not in general  # QGIS 4 goes by the two versions alone
    assert (REPOSITORY / general["icon"]).is_file()


def old_style_enums(file):
    """Where a file names an enumeration's value without the enumeration, as PyQt 6 has none: Qt.Checked."""
    from importlib import import_module

    tree = ast.parse(file.read_text(encoding="utf-8"))
    classes = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qgis."):
            module = import_module(node.module)
            classes |= {name.asname or name.name: getattr(module, name.name) for name in node.names}
    return [
        f"{file.name}:{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and isinstance(getattr(classes.get(node.value.id), node.attr, None), int)
    ]


def test_every_enumeration_is_named_in_full(qgis_app, tmp_path):
    (tmp_path / "old.py").write_text(
        "from qgis.PyQt.QtCore import Qt\na = Qt.Checked\nb = Qt.CheckState.Checked\n"
    )
    assert old_style_enums(tmp_path / "old.py") == ["old.py:2: Qt.Checked"]
    files = [REPOSITORY / "plugin.py", *(REPOSITORY / "ui").rglob("*.py")]
    assert [found for file in files for found in old_style_enums(file)] == []


def test_the_environment_is_recommended_where_an_upgrade_leaves_it(qgis_app):
    """QGIS replaces the plugin's folder when it installs a newer one."""
    metadata = configparser.ConfigParser()
    metadata.read(REPOSITORY / "metadata.txt", encoding="utf-8")
    about = metadata["general"]["about"]
    assert ".venv" not in about
    assert "the folder that the plugin's panel names while it finds none" in about


def test_a_dock_that_is_shown_for_a_moment_starts_no_engine(plugin, until):
    """As QGIS's own window does it with each new dock."""
    plugin.dock.show()
    plugin.dock.hide()
    until(lambda: False, 0.3)
    assert plugin.dock.engine.pid is None and not plugin.dock.engine_start.under_way
