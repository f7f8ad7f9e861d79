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
from typing import BinaryIO

from core.errors import CancelledError, InputError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
ADVICE = "Free some space there, or name another folder with EXEMPLAR_MODELS."
DRAFT = ".exemplar-"  # what the name of a copy begins with while it is being made
ABANDONED_S = 86_400.0  # a draft that nobody has written to for so long is of a process that was killed
ATTEMPTS = 10  # to open a part that another program lets go just then
_CLAIM = 1 << 40  # the byte that Windows locks: beyond the file, so that its bytes stay readable

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
        raise _not_read(path, error) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


class _ReadError(OSError):
    """The file that is hashed could not be read."""


def open_file(path: Path) -> BinaryIO:
    """A file, open for reading; ``InputError`` where that can't be."""
    try:
        return path.open("rb")
    except OSError as error:
        raise _not_read(path, error) from error


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
        found = _hash(file, os.fstat(file.fileno()).st_size, progress, cancelled).hexdigest()
        file.seek(0)
    except OSError as error:
        raise _not_read(path, error) from error
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
            _check_space(path.parent, size)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=DRAFT, delete=False) as copy:
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
    except _ReadError as error:
        raise _not_read(source, error) from error
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        if draft is not None:
            with contextlib.suppress(OSError):  # in its place by now, or swept on a later day
                draft.unlink()


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
            descriptor = _open_claimed(self._part)
        except OSError as error:
            raise _not_written(path, error) from error
        if descriptor is None:
            raise InputError(f"{path.name} is being downloaded by another program. Wait for it to end.")
        self._file = os.fdopen(descriptor, "r+b", buffering=0)  # so that only `write` meets a full disk

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file.closed:  # it is in its place; a part that is there now is another program's
            return
        with contextlib.suppress(OSError):  # what can't be removed is taken up by the next attempt
            empty = os.fstat(self._file.fileno()).st_size == 0
            self._release_and(self._part.unlink if empty else lambda: None)
        self._file.close()

    def _release_and(self, move: Callable[[], object]) -> None:
        """Let the part go after its name was moved or removed.

        In that order, so that no other program gets hold of it in between;
        Windows, where an open file keeps its name, wants the other order, and
        there others can't open what is being removed.
        """
        if fcntl is None:
            self._file.close()
        move()
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def take_up(self, size: int, progress: Progress, cancelled: Cancelled) -> None:
        """Go on from what is there; more than the whole file is no beginning of it."""
        try:
            there = os.fstat(self._file.fileno()).st_size
            if 0 < there <= size:
                self._hash = _hash(self._file, there, progress, cancelled)
                self.length = there
        except OSError as error:
            raise _not_read(self._part, error) from error
        if there > size:
            self.restart()

    def check_space(self, size: int) -> None:
        _check_space(self._path.parent, size - self.length)

    def restart(self) -> None:
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise _not_written(self._path, error) from error
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
            self._release_and(lambda: self._part.replace(self._path))
        except OSError as error:
            raise _not_written(self._path, error) from error


def _hash(
    file: BinaryIO, size: int, progress: Progress, cancelled: Cancelled, copy: BinaryIO | None = None
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


def _check_space(folder: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise _not_read(folder, error) from error
    if free < needed:
        raise InputError(
            f"The disk of {folder} has {in_words(free)} left, and {in_words(needed)} are needed. {ADVICE}"
        )


def _open_claimed(part: Path) -> int | None:
    """Open a part, or make it, for this process alone; None if another one has it."""
    for _ in range(ATTEMPTS):
        if part.is_symlink():
            part.unlink()  # it is none of ours: what arrives would be written to where it leads
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(part, flags, 0o644)
        if not _claim(descriptor):
            os.close(descriptor)
            return None
        if fcntl is None or _has_name(descriptor, part):
            return descriptor
        os.close(descriptor)  # who had it before us has just put it in its place, or removed it
    return None


def _has_name(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _claim(descriptor: int) -> bool:
    """Take hold of an open file for this process; False if another one has it."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, _CLAIM, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:  # whatever comes of it: else what arrives would be written there
                os.lseek(descriptor, 0, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a network disk that knows no locks: the hash still decides
        return True
    return True


def _not_read(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} can't be read: {error.strerror or error}. Check its path and your rights.")


def _not_written(path: Path, error: OSError) -> InputError:
    if error.errno in FULL:
        return InputError(f"The disk of {path.parent} is full. {ADVICE}")
    return InputError(f"{path} could not be written: {error.strerror or error}. {ADVICE}")
