"""The one-shot pipeline: raster → canvas → prompts → sam → candidates → vectorize → output.

Nothing heavy is imported here, because QGIS imports ``core.protocol`` from its
own Python. The names below are loaded when they are first asked for (PEP 562).
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOME_OF = {
    "DetectRequest": "protocol",
    "detect": "pipeline.detect",
}  # no name of a module: importing it would put the module in the name's place
__all__ = ["__version__", *_HOME_OF]  # built from the table above


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
