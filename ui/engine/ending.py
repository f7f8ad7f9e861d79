"""Says in a sentence how an engine ended, and what would mend it."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import EngineError
from ..translation import tr
from .environment import install_command

OLDEST, NEWEST = (3, 10), (3, 13)  # of the Pythons that the engine's libraries have wheels for

# What the engine's Python runs. It says its version first, for `describe_end`, and ends at once where it is
# too old to read the engine's code. `-I` keeps QGIS's PYTHON* variables, the user's site-packages and the
# current folder out.
LAUNCH = (
    "import sys; "
    "sys.stderr.write('exemplar: Python %d.%d\\n' % sys.version_info[:2]); sys.stderr.flush(); "
    f"sys.version_info < {OLDEST!r} and sys.exit(1); "
    "import runpy; sys.path.insert(0, {root!r}); runpy.run_module('core', run_name='__main__')"
)
VERSION = re.compile(r"exemplar: Python (\d+)\.(\d+)$")
# A library that is not there, or whose files are there without what pip writes beside them.
_MISSING = re.compile(
    r"^(?:ModuleNotFoundError: No module named '([^']+)'"
    r"|(?:importlib\.metadata\.)?PackageNotFoundError: No package metadata was found for (\S+))",
    re.MULTILINE,
)
_BROKEN = re.compile(
    r"^(?:ImportError|OSError): (.*(?:DLL|\[WinError|shared object|dlopen|import).*)$", re.MULTILINE
)


def describe_end(
    code: int | None, stderr: str, python: Path, root: Path, greeted: bool, version: str
) -> EngineError:
    """Return the error that tells how the engine ended.

    Parameters
    ----------
    code : int or None
        As ``subprocess`` gives it, negative for a signal; None where it did not end by itself.
    stderr : str
        The engine's last output.
    python : Path
        The interpreter it ran on.
    root : Path
        The plugin's folder.
    greeted : bool
        It had started before.
    version : str
        The line in which its Python told its version; empty where it did not.
    """
    told = None if greeted else _unfit(code, stderr, python, root, version)
    if told:
        return told
    if code == -9:
        sentence = tr(
            "The engine was killed, probably because memory ran out; run again on a smaller extent "
            "(it starts by itself)."
        )
    elif code is None:
        sentence = tr("The engine stopped answering and was ended; run again (it starts by itself).")
    else:
        how = tr("signal {n}").format(n=-code) if code < 0 else tr("exit code {n}").format(n=code)
        sentence = tr("The engine ended unexpectedly ({how}); run again (it starts by itself).").format(
            how=how
        )
    return EngineError(sentence, stderr)


def _unfit(code: int | None, stderr: str, python: Path, root: Path, version: str) -> EngineError | None:
    """Return the error where this Python can't run the engine; None where that is not why it ended."""
    found = VERSION.match(version)
    if found is None:
        if code is None or code < 0:
            return None
        return EngineError(
            tr(
                "{python} did not start as a Python (exit code {n}). Choose the Python of an environment "
                "with the engine's libraries."
            ).format(python=python, n=code),
            stderr,
            user_fault=True,
        )
    number, names = (int(found[1]), int(found[2])), {"python": python, "version": f"{found[1]}.{found[2]}"}
    wanted = {"oldest": "{}.{}".format(*OLDEST), "newest": "{}.{}".format(*NEWEST)}
    if number < OLDEST:
        sentence = tr(
            "{python} is Python {version}, which is too old for the engine: choose one of Python {oldest} to "
            "{newest}."
        )
        return EngineError(sentence.format(**names, **wanted), stderr, user_fault=True)
    missing = [name or package for name, package in _MISSING.findall(stderr)]
    if missing and number > NEWEST:
        sentence = tr(
            "{python} lacks the library {name}, and is Python {version}, newer than the engine's libraries "
            "know: choose one of Python {oldest} to {newest}."
        )
        names["name"] = missing[-1].split(".")[0]
        return EngineError(sentence.format(**names, **wanted), stderr, user_fault=True)
    if missing:
        sentence = tr(
            "The engine's environment lacks the library {name} ({python}). This command in a terminal "
            "installs what is missing; then try again."
        ).format(name=missing[-1].split(".")[0], **names)
    elif broken := _BROKEN.findall(stderr):
        sentence = tr(
            "A library in the engine's environment can't be loaded ({python}): {reason}. This command in a "
            "terminal installs the libraries anew; then try again."
        ).format(reason=broken[-1].rstrip("."), **names)
    else:
        return None
    anew = not missing
    return EngineError(sentence, stderr, user_fault=True, commands=install_command(python, root, anew))
