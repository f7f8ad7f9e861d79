"""Finds the engine's Python and prepares its process environment."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from ..errors import EngineError
from ..translation import tr

PYTHON_VARIABLE = "EXEMPLAR_ENGINE_PYTHON"

# QGIS points these at its own libraries and data. The engine's wheels bring their own, and a PROJ
# database or a Qt of another version breaks them.
_QGIS_VARIABLES = {
    "PROJ_LIB",
    "PROJ_DATA",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "GEOTIFF_CSV",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
}
_QGIS_PREFIXES = ("QT_", "PYTHON")


def find_python(root: Path, chosen: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Find the Python that runs the engine.

    Parameters
    ----------
    root : Path
        The plugin's folder; a ``.venv`` in it is used.
    chosen : str
        What the user chose; empty for nothing. A choice that can't be used is an error rather than
        passed over: the user would not notice that another Python runs.
    environ : mapping
        The process environment.

    Raises
    ------
    EngineError
        Where there is none; it holds the commands that make one.
    """
    named = (
        (chosen, tr("The engine's Python that was chosen is not there: {path}. Choose another one.")),
        (
            environ.get(PYTHON_VARIABLE, ""),
            tr("The engine's Python that the variable {variable} names is not there: {path}."),
        ),
    )
    for path, sentence in named:
        if path:
            if not Path(path).is_absolute():
                # It would be looked up in QGIS's folder and started in the engine's.
                raise EngineError(
                    tr(
                        "The engine's Python that was chosen, or that the variable {variable} names, is no "
                        "full path: {path}. Give its full path, from the drive or the root on."
                    ).format(path=path, variable=PYTHON_VARIABLE),
                    user_fault=True,
                )
            if not Path(path).is_file():
                raise EngineError(sentence.format(path=path, variable=PYTHON_VARIABLE), user_fault=True)
            return Path(path)
    for folder in (root / ".venv", user_folder(environ) / "venv"):
        python = python_of(folder)
        if python.is_file():
            return python
    raise EngineError(
        tr(
            "The engine needs a Python environment of its own. Make one with these two commands in a "
            "terminal (on Windows the Command Prompt), with Python 3.10 to 3.13, then try again; or choose "
            "the Python of one that you have."
        ),
        user_fault=True,
        commands=set_up_commands(root, environ),
    )


def set_up_commands(root: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return the commands that make an environment where :func:`find_python` looks, one a line."""
    folder = user_folder(environ) / "venv"
    python = "py" if sys.platform == "win32" else "python3"
    return f"{python} -m venv {_quoted(folder)}\n{install_command(python_of(folder), root)}"


def install_command(python: Path, root: Path, anew: bool = False) -> str:
    """Return the command that puts the engine's libraries into an environment, ``anew`` over those there."""
    requirements = _quoted(root / "resources" / "engine-requirements.txt")
    return f"{_quoted(python)} -m pip install {'--force-reinstall ' if anew else ''}-r {requirements}"


def _quoted(path: Path) -> str:
    if sys.platform == "win32":
        return f'"{path}"' if " " in str(path) else str(path)
    return shlex.quote(str(path))


def python_of(venv: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def user_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for the plugin's data on this platform."""
    home = Path.home()
    if sys.platform == "win32":
        base = _full_path(environ.get("LOCALAPPDATA", ""), home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = _full_path(environ.get("XDG_DATA_HOME", ""), home / ".local" / "share")
    return base / "exemplar"


def _full_path(named: str, otherwise: Path) -> Path:
    """Return the folder that a variable of the system names; a relative one counts as none, as XDG has it."""
    return Path(named) if Path(named).is_absolute() else otherwise


def clean_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Copy the process environment without what QGIS put there for itself."""
    clean = {
        name: value
        for name, value in environ.items()
        if name.upper() not in _QGIS_VARIABLES and not name.upper().startswith(_QGIS_PREFIXES)
    }
    # Windows finds DLLs through PATH: with QGIS's folders on it, torch and GDAL pick up QGIS's libraries.
    qgis_root = environ.get("OSGEO4W_ROOT", "")
    if sys.platform == "win32" and qgis_root:
        folders = environ.get("PATH", "").split(os.pathsep)
        clean["PATH"] = os.pathsep.join(
            folder for folder in folders if folder and not _is_inside(Path(folder), Path(qgis_root))
        )
    return clean


def _is_inside(folder: Path, root: Path) -> bool:
    folder, root = folder.resolve(), root.resolve()
    return folder == root or root in folder.parents
