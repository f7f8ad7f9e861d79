"""Files that are checked by their SHA-256 before they get their place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO

from core.errors import CancelledError, InputError

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
ADVICE = "Free some space there, or name another folder with EXEMPLAR_MODELS."
DRAFT = ".exemplar-"  # what the name of a copy begins with while it is being made
ABANDONED_S = 86_400.0  # a draft that nobody has written to for so long is of a process that was killed

Progress = Callable[[float, str], None]
Cancelled = Callable[[], bool]


def in_words(size: int) -> str:
    """A number of bytes for people: ``375 MB``, ``2.56 GB``."""
    if size < 1_000_000:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.0f} MB" if size < 1_000_000_000 else f"{size / 1e9:.2f} GB"


def length_of(path: Path) -> int | None:
    """A file's length in bytes; None where there is no file, ``InputError`` where that can't be told."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no system takes such a name
        return None
    except OSError as error:  # a name that is too long, a folder that is another user's
        raise not_read(path, error) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


class _ReadError(OSError):
    """The file that is hashed could not be read."""


def open_file(path: Path) -> BinaryIO:
    """A file, open for reading; ``InputError`` where that can't be."""
    try:
        return path.open("rb")
    except OSError as error:
        raise not_read(path, error) from error


def hash_file(
    path: Path,
    *,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
) -> str:
    """The SHA-256 of a file; ``InputError`` where it can't be read."""
    with open_file(path) as file:
        return hash_open(file, path, progress=progress, cancelled=cancelled)


def hash_open(
    file: BinaryIO,
    path: Path,
    *,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
) -> str:
    """As :func:`hash_file`, of a file that is open; it is left at its beginning."""
    try:
        found = hash_on(file, os.fstat(file.fileno()).st_size, progress, cancelled).hexdigest()
        file.seek(0)
    except OSError as error:
        raise not_read(path, error) from error
    return found


def copy_verified(
    source: Path,
    path: Path,
    sha256: str,
    *,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
) -> None:
    """Copy a file to its place if its hash is right; it is hashed as it is copied.

    Raises
    ------
    InputError
        Where it is another file, or can't be read or written.
    CancelledError
    """
    draft = None
    try:
        with open_file(source) as file:
            size = os.fstat(file.fileno()).st_size
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path.parent)
            check_space(path.parent, size)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=DRAFT, delete=False) as copy:
                draft = Path(copy.name)
                found = hash_on(file, size, progress, cancelled, copy).hexdigest()
                copy.flush()
                os.fsync(copy.fileno())
        if found != sha256:
            raise InputError(
                f"{source} is not the published file: its SHA-256 is {found}, not {sha256}. "
                "Give weights of your own with --checkpoint."
            )
        draft.chmod(0o644)  # a temporary file is its maker's alone
        draft.replace(path)
    except _ReadError as error:
        raise not_read(source, error) from error
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        if draft is not None:
            with contextlib.suppress(OSError):  # in its place by now, or swept on a later day
                draft.unlink()


def hash_on(
    file: BinaryIO, size: int, progress: Progress, cancelled: Cancelled, copy: IO[bytes] | None = None
) -> hashlib._Hash:
    """Hash a file from where it stands, copying it on the way if asked to."""
    found, done, told = hashlib.sha256(), 0, -1
    while chunk := _chunk(file):
        if cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        if copy is not None:
            copy.write(chunk)
        found.update(chunk)
        done += len(chunk)
        if told != (told := 100 * done // max(size, 1)):
            progress(min(done / max(size, 1), 1.0), f"checking, {in_words(done)} of {in_words(size)}")
    return found


def _chunk(file: BinaryIO) -> bytes:
    try:
        return file.read(1 << 20)
    except OSError as error:  # not to be taken for one of writing the copy
        raise _ReadError(error.errno, error.strerror) from error


def _sweep(folder: Path) -> None:
    """Remove the drafts of copies that were killed; what is not ours to remove stays."""
    old = time.time() - ABANDONED_S
    with contextlib.suppress(OSError):
        for draft in folder.glob(DRAFT + "*"):
            with contextlib.suppress(OSError):
                if draft.stat().st_mtime < old:
                    draft.unlink()


def check_space(folder: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise not_read(folder, error) from error
    if free < needed:
        raise InputError(
            f"The disk of {folder} has {in_words(free)} left, and {in_words(needed)} are needed. {ADVICE}"
        )


def not_read(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} can't be read: {error.strerror or error}. Check its path and your rights.")


def not_written(path: Path, error: OSError) -> InputError:
    if error.errno in FULL:
        return InputError(f"The disk of {path.parent} is full. {ADVICE}")
    return InputError(f"{path} could not be written: {error.strerror or error}. {ADVICE}")
