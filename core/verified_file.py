"""Files that are checked by their SHA-256 before they get their place."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .errors import CancelledError, InputError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
ADVICE = "Free some space there, or name another folder with EXEMPLAR_MODELS."
_CLAIM = 1 << 40  # the byte that Windows locks: beyond the file, so that its bytes stay readable

Progress = Callable[[float, str], None]
Cancelled = Callable[[], bool]


def in_words(size: int) -> str:
    """A number of bytes for people: ``375 MB``, ``2.56 GB``."""
    if size < 1_000_000:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.0f} MB" if size < 1_000_000_000 else f"{size / 1e9:.2f} GB"


def hash_file(
    path: Path,
    *,
    progress: Progress = lambda fraction, message: None,
    cancelled: Cancelled = lambda: False,
) -> str:
    """The SHA-256 of a file; ``InputError`` where it can't be read."""
    try:
        with path.open("rb") as file:
            return _hash(file, os.fstat(file.fileno()).st_size, progress, cancelled).hexdigest()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}.") from error


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
        original = source.open("rb")
    except OSError as error:
        raise InputError(f"{source} can't be read: {error.strerror or error}.") from error
    try:
        with original as file:
            size = os.fstat(file.fileno()).st_size
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".exemplar-", delete=False) as copy:
                draft = Path(copy.name)
                found = _hash(file, size, progress, cancelled, copy).hexdigest()
                copy.flush()
                os.fsync(copy.fileno())
        if found != sha256:
            raise InputError(
                f"{source} is not the published file: its SHA-256 is {found}, not {sha256}. "
                "Give weights of your own with --checkpoint."
            )
        draft.chmod(0o644)  # a temporary file is its maker's alone
        draft.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


class PartFile:
    """A file that is still arriving, ``NAME.part`` beside its place. One process at a time has it.

    Used as a context manager; what has arrived stays for the next attempt.

    Attributes
    ----------
    length : int
        Bytes so far.
    sha256 : str
        Their SHA-256.
    """

    def __init__(self, path: Path):
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._hash = hashlib.sha256()
        self.length = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            descriptor = os.open(self._part, flags, 0o644)
        except OSError as error:
            raise _not_written(path, error) from error
        if not _claim(descriptor):
            os.close(descriptor)
            raise InputError(f"{path.name} is being downloaded by another program. Wait for it to end.")
        self._file = os.fdopen(descriptor, "r+b", buffering=0)  # so that only `write` meets a full disk

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._part.exists() and self._part.stat().st_size == 0:
            self._part.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def take_up(self, size: int, progress: Progress, cancelled: Cancelled) -> None:
        """Go on from what is there; more than the whole file is no beginning of it."""
        there = os.fstat(self._file.fileno()).st_size
        if there > size:
            self.restart()
        elif there:
            self._hash = _hash(self._file, there, progress, cancelled)
            self.length = there

    def check_space(self, size: int) -> None:
        free, needed = shutil.disk_usage(self._path.parent).free, size - self.length
        if free < needed:
            raise InputError(
                f"The disk of {self._path.parent} has {in_words(free)} left, and {in_words(needed)} are "
                f"needed. {ADVICE}"
            )

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.length = 0

    def write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            if error.errno in FULL:
                self.discard()  # on a full disk the space is worth more than what has arrived
            raise _not_written(self._path, error) from error
        self._hash.update(chunk)
        self.length += len(chunk)

    def discard(self) -> None:
        self.restart()  # Windows does not remove an open file: `__exit__` does, for it is empty

    def put_in_place(self) -> None:
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            raise _not_written(self._path, error) from error


def _hash(
    file: BinaryIO, size: int, progress: Progress, cancelled: Cancelled, copy: BinaryIO | None = None
) -> hashlib._Hash:
    """Hash a file from where it stands, copying it on the way if asked to."""
    found, done, told = hashlib.sha256(), 0, -1
    while chunk := file.read(1 << 20):
        if cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        if copy is not None:
            copy.write(chunk)
        found.update(chunk)
        done += len(chunk)
        if told != (told := 100 * done // max(size, 1)):
            progress(min(done / max(size, 1), 1.0), f"checking, {in_words(done)} of {in_words(size)}")
    return found


def _claim(descriptor: int) -> bool:
    """Take hold of an open file for this process; False if another one has it."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, _CLAIM, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a network disk that knows no locks: the hash still decides
        return True
    return True


def _not_written(path: Path, error: OSError) -> InputError:
    if error.errno in FULL:
        return InputError(f"The disk of {path.parent} is full. {ADVICE}")
    return InputError(f"{path} could not be written: {error.strerror or error}. {ADVICE}")
