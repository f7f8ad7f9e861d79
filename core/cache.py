"""What was computed before: arrays on disk and in memory, found again by what they were computed from.

A key is a digest of *everything* that went in (pixels, prompts, weights, the
code itself), so nothing can go stale: whatever changes has another key. What
is there is bit for bit what would be computed. The oldest go when the folder
outgrows its limit.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .models import cache_folder

FOLDER_VARIABLE = "EXEMPLAR_CACHE"
LIMIT_VARIABLE = "EXEMPLAR_CACHE_GB"
LIMIT_GB = 2.0  # on disk, if nothing else is said: some hundred tiles
IN_MEMORY = 64_000_000  # bytes: a few tiles, for who changes a setting on what is in view
AFTER_SWEEP = 0.9  # of the limit: what is left by a removal of the oldest

Arrays = dict[str, np.ndarray]


def digest(*parts: Any) -> str:
    """A key of arrays and of plain values; two differ as soon as a bit, a type or a shape does."""
    state = hashlib.blake2b(_code(), digest_size=20)
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(f"|{part.dtype.str}{part.shape}|".encode())
            state.update(np.ascontiguousarray(part).data)
        else:
            state.update(f"|{type(part).__name__}:{part!r}|".encode())
    return state.hexdigest()


@functools.cache
def _code() -> bytes:
    """Digest of this package's own text: another version computes something else."""
    state = hashlib.blake2b()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        state.update(path.read_bytes())
    return state.digest()


class Cache:
    """Named arrays by key, in a folder and, the latest, in memory.

    A folder that can't be written to or a damaged file costs the computation
    that it would have saved, never the job.

    Parameters
    ----------
    folder : Path
        Made when first written to.
    limit : int
        The most bytes in the folder.
    in_memory : int
        The most bytes of arrays kept in memory.
    """

    def __init__(self, folder: Path, limit: int, in_memory: int = IN_MEMORY):
        self._folder, self._limit, self._in_memory = folder, limit, in_memory
        self._recent: OrderedDict[str, Arrays] = OrderedDict()
        self._recent_bytes = 0
        self._on_disk: int | None = None  # not counted yet
        self._lock = threading.Lock()

    def get(self, key: str) -> Arrays | None:
        """The arrays of a key, read-only; None where there are none."""
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
            path = self._path(key)
            try:
                with np.load(path, allow_pickle=False) as stored:
                    arrays = {name: stored[name] for name in stored.files}
                os.utime(path)  # used just now
            except FileNotFoundError:
                return None
            except (OSError, ValueError, EOFError, zipfile.BadZipFile):
                with contextlib.suppress(OSError):
                    path.unlink()
                return None
            self._remember(key, arrays)
            return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep arrays under a key."""
        with self._lock:
            self._remember(key, arrays)
            if _bytes_of(arrays) > self._limit:
                return
            with contextlib.suppress(OSError):  # a full or a locked disk: then it is computed again
                if self._on_disk is None:
                    self._on_disk = sum(entry.stat().st_size for entry in self._files())
                self._on_disk += self._write(self._path(key), arrays)
                if self._on_disk > self._limit:
                    self._sweep()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"

    def _files(self) -> list[Path]:
        return list(self._folder.glob("*.npz"))

    def _remember(self, key: str, arrays: Arrays) -> None:
        for array in arrays.values():
            array.setflags(write=False)  # shared from here on
        self._forget(key)
        self._recent[key] = arrays
        self._recent_bytes += _bytes_of(arrays)
        while self._recent_bytes > self._in_memory:
            self._forget(next(iter(self._recent)))

    def _forget(self, key: str) -> None:
        self._recent_bytes -= _bytes_of(self._recent.pop(key, {}))

    def _write(self, path: Path, arrays: Arrays) -> int:
        """Write a file that has its name only when it is whole; gives its length."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
        draft = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
            draft.replace(path)
            return path.stat().st_size
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise

    def _sweep(self) -> None:
        """Remove what was used longest ago; other processes may do the same at the same time."""
        seen = []
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                seen.append((status.st_mtime_ns, status.st_size, path))
        left = sum(size for _, size, _ in seen)
        for _, size, path in sorted(seen):
            if left <= AFTER_SWEEP * self._limit:
                break
            path.unlink(missing_ok=True)
            left -= size
        self._on_disk = left


def _bytes_of(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def users_cache(environ: Mapping[str, str] = os.environ) -> Cache | None:
    """The cache that the environment asks for; None where its limit is 0.

    ``EXEMPLAR_CACHE`` names the folder, ``EXEMPLAR_CACHE_GB`` the limit in
    gigabytes; ``InputError`` where that is no number.
    """
    named, said = environ.get(FOLDER_VARIABLE), environ.get(LIMIT_VARIABLE) or str(LIMIT_GB)
    try:
        limit = float(said) * 1e9
        if not 0 <= limit < float("inf"):
            raise ValueError
    except ValueError:
        raise InputError(
            f"{LIMIT_VARIABLE} is {said!r}. Give it a number of gigabytes, 0 for no cache."
        ) from None
    folder = Path(named).expanduser().absolute() if named else cache_folder(environ) / "computed"
    return Cache(folder, int(limit)) if limit else None
