"""Exemplar: draw one, find all. What QGIS imports when it loads the plugin."""


def classFactory(iface):
    """Make the plugin; QGIS calls this once."""
    # Imported here, not above: this folder is the root of the repository too, where tests and the
    # engine import `core` without QGIS.
    from .plugin import ExemplarPlugin

    return ExemplarPlugin(iface)
