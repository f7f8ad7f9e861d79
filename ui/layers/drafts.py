"""A folder beside a file that is saved, from which the file takes its place whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..translation import tr

try:
    import fcntl
except ImportError:  # Windows: what is open there can't be removed anyway
    fcntl = None

PREFIX, LOCK = ".exemplar-draft-", "lock"  # the engine removes such folders if nobody holds their lock
SHAPEFILE_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".qmd", ".qpj")
PROBE = 1 << 20  # bytes: a few blocks may be left of a full disk


@contextlib.contextmanager
def folder(parent: Path) -> Iterator[Path]:
    """Make a folder for the time of the ``with`` block; raises ``OSError`` where that can't be."""
    path = Path(tempfile.mkdtemp(dir=parent, prefix=PREFIX))
    try:
        with (path / LOCK).open("w") as lock:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # a disk that knows no locks
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def take_place(written: Path, target: Path) -> None:
    """Move a file with its parts from a folder to its place, all or none; raises ``OSError``."""
    parts = SHAPEFILE_PARTS if target.suffix.lower() == ".shp" else (target.suffix,)
    older = written / "older"
    older.mkdir()
    done: list[tuple[Path, Path]] = []
    try:
        for place in (target.with_suffix(part) for part in parts):
            for source, goal in ((place, older / place.name), (written / place.name, place)):
                if source.exists():
                    source.replace(goal)
                    done.append((source, goal))
    except OSError:
        for source, goal in reversed(done):
            with contextlib.suppress(OSError):
                goal.replace(source)
        raise


def trouble(place: Path, target: Path) -> str | None:
    """Try to write to a folder; say what is in the way, if something is."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return cause(error, target)
    return None


def cause(error: OSError, target: Path) -> str:
    """Say what the system's answer means for a file that was to be written, and what to do."""
    if getattr(error, "winerror", None) in (5, 32, 33):
        return tr("another program holds it, or it is closed to you. Close it there, or choose another place")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return tr("the disk is full. Make room there, or choose another place")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return tr("there is no permission to write there. Choose another place")
    if error.errno == errno.ENAMETOOLONG:
        return tr("its name is too long. Choose a shorter one")
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and not target.parent.is_dir():
        return tr("there is no such folder. Make it first, or choose another")
    return error.strerror or str(error)
