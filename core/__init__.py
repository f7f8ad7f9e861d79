"""Draw one, find all: one-example segmentation of aerial images with the Segment Anything Model.

The packages in the order of the data: ``geo`` (rasters and coordinates), ``canvas``, ``sam``,
``voting``, ``instances``, ``vectors``, ``edges``, ``outputs``; ``pipeline`` puts them in a row,
``service`` is the command line and the engine behind QGIS.

Nothing heavy is imported here, because QGIS imports ``core.protocol`` from its
own Python. The names below are loaded when they are first asked for (PEP 562).
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOME_OF = {
    "DetectRequest": "protocol",
    "EdgesRequest": "protocol",
    "Observer": "callbacks",
    "SearchSettings": "pipeline.plan",
    "Segmenter": "sam.segmenter",
    "detect": "pipeline.detect",
    "evaluate": "metrics",
    "find_edges": "pipeline.edges",
    "search": "pipeline.search",
}  # no name of a module: importing it would put the module in the name's place
__all__ = ["__version__", *_HOME_OF]  # built from the table above


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
