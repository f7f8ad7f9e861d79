"""A file that is still arriving: ``NAME.part`` beside its place, one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import InputError
from core.weights.verified_file import (
    FULL,
    Cancelled,
    Progress,
    check_space,
    hash_on,
    not_read,
    not_written,
)


class PartFile:
    """A file that is still arriving, ``NAME.part`` beside its place. One process at a time has it.

    Used as a context manager; what has arrived stays for the next attempt.

    Attributes
    ----------
    length : int
        Bytes so far.
    sha256 : str
        Their SHA-256.

    Raises
    ------
    InputError
        Where another process has it, or nothing can be written there.
    """

    def __init__(self, path: Path):
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._hash = hashlib.sha256()
        self.length = 0
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(
                NotImplementedError
            ):  # a disk that knows no locks: the hash still decides
                self._lock.acquire()
            if self._part.is_symlink():
                self._part.unlink()  # it is none of ours: what arrives would be written to where it leads
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
            self._file = os.fdopen(os.open(self._part, flags, 0o644), "r+b", buffering=0)
        except Timeout as error:
            raise InputError(
                f"{path.name} is being downloaded by another program. Wait for it to end."
            ) from error
        except OSError as error:
            self._lock.release()
            raise not_written(path, error) from error

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with contextlib.suppress(OSError):  # what can't be removed is taken up by the next attempt
            if self._part.stat().st_size == 0:
                self._part.unlink()
        self._lock.release()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def take_up(self, size: int, progress: Progress, cancelled: Cancelled) -> None:
        """Go on from what is there; more than the whole file is no beginning of it."""
        try:
            there = os.fstat(self._file.fileno()).st_size
            if 0 < there <= size:
                self._hash = hash_on(self._file, there, progress, cancelled)
                self.length = there
        except OSError as error:
            raise not_read(self._part, error) from error
        if there > size:
            self.restart()

    def check_space(self, size: int) -> None:
        """Raise ``InputError`` where the rest of the file finds no room."""
        check_space(self._path.parent, size - self.length)

    def restart(self) -> None:
        """Begin anew, with nothing."""
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise not_written(self._path, error) from error
        self._hash = hashlib.sha256()
        self.length = 0

    def write(self, chunk: bytes) -> None:
        """Append what has arrived."""
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            if error.errno in FULL:
                self.restart()  # on a full disk the space is worth more than what has arrived
            raise not_written(self._path, error) from error
        self._hash.update(chunk)
        self.length += len(chunk)

    def put_in_place(self) -> None:
        """Give the file, which is whole, its name."""
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            raise not_written(self._path, error) from error
