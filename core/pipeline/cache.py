"""What was computed before: arrays on disk and in memory, found again by what they were computed from.

A key is a digest of what went in: pixels, example, settings, the weights and
the kind of device they are evaluated on, the code's own text and the versions
of its libraries. So nothing can go stale: whatever of these changes has another
key. What comes back is bit for bit what was computed. Computed again, the last
bits can differ by what no key holds: the number of threads, which processor or
graphics card it is, and how the libraries were built. What was used longest ago
goes when the folder outgrows its limit.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import mmap
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.weights.catalogue import cache_folder, named_folder

FOLDER_VARIABLE = "EXEMPLAR_CACHE"
LIMIT_VARIABLE = "EXEMPLAR_CACHE_GB"
LIMIT_GB = 2.0  # on disk, if nothing else is said: some eighty tiles
OWN_NAME = "computed"  # of a folder that is nothing but a cache
PRIVATE, OTHERS = 0o700, 0o077  # what its user may, and what nobody else may
IN_MEMORY = 32_000_000  # bytes: a tile, for who changes a setting on what is in view
AFTER_SWEEP = 0.9  # of the limit: what is left by a removal of the oldest
COUNT_AGAIN_S = 60.0  # after that long the folder is counted anew: other processes write to it too
LEFT_FREE = 1_000_000_000  # bytes of the disk, for the results themselves
ABANDONED_S = 3600.0  # a draft of that age is of a process that was killed
PACKAGE = Path(__file__).resolve().parents[1]  # all of core, since any part of it may change a result
LIBRARIES = ("torch", "segment-anything", "timm", "numpy", "scipy")  # what results depend on beside our code

Arrays = dict[str, np.ndarray]


def digest(*parts: Any) -> str:
    """A key of arrays and of plain values; two differ as soon as a bit, a type or a shape does."""
    state = hashlib.blake2b(code_digest(), digest_size=20)
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(f"|{part.dtype.str}{part.shape}|".encode())
            state.update(np.ascontiguousarray(part).data)
        else:
            state.update(f"|{type(part).__name__}:{part!r}|".encode())
    return state.hexdigest()


@functools.cache
def code_digest() -> bytes:
    """Digest of the whole of ``core``'s text and its libraries' versions: others compute something else."""
    state = hashlib.blake2b(" ".join(version(name) for name in LIBRARIES).encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        state.update(f"|{path.relative_to(PACKAGE).as_posix()}|".encode() + path.read_bytes())
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
        The most bytes in the folder, but for what several processes that write to
        it at a time add within a minute.
    in_memory : int
        The most bytes of arrays kept in memory.
    """

    def __init__(self, folder: Path, limit: int, in_memory: int = IN_MEMORY):
        self._folder, self._limit, self._in_memory = folder, limit, in_memory
        self._recent: OrderedDict[str, Arrays] = OrderedDict()
        self._recent_bytes = 0
        self._on_disk, self._counted_s = 0, -math.inf  # not counted yet
        self._begun_ns = 0
        self._full = False
        self._lock = threading.Lock()

    def begin_job(self) -> None:
        """From here on what is used or added makes no room for more of the same job.

        A job of more tiles than there is room for would else remove each just
        before the next such job asks for it.
        """
        with self._lock:
            self._begun_ns, self._full = time.time_ns(), False

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
            except OSError:  # not there, or not to be read now
                return None
            except Exception:  # noqa: BLE001  damaged archives fail in many ways
                arrays = {}
            if not arrays:
                with contextlib.suppress(OSError):
                    path.unlink()
                return None
            with contextlib.suppress(OSError):
                os.utime(path)  # used just now
            return self._remember(key, arrays)

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep arrays under a key."""
        with self._lock:
            self._remember(key, arrays)
            size = _bytes_of(arrays)
            if self._full or size > self._limit:
                return
            with contextlib.suppress(OSError):  # a full or a locked disk: then it is computed again
                self._make_folder()
                counted_lately = time.monotonic() < self._counted_s + COUNT_AGAIN_S
                if not counted_lately or self._on_disk + size > self._limit:
                    self._sweep(size)
                if self._on_disk + size > self._limit or not self._has_room(size):
                    self._full = True
                    return
                self._on_disk += self._write(self._path(key), arrays)

    def _make_folder(self) -> None:
        """Make the folder for its user alone: what is in it was computed from the user's images.

        One that an earlier version left open to others is closed to them. Who may look into a folder
        that the user named and made is the user's own business.
        """
        self._folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        if self._folder.name == OWN_NAME and self._folder.stat().st_mode & OTHERS:
            self._folder.chmod(PRIVATE)

    def _has_room(self, size: int) -> bool:
        return shutil.disk_usage(self._folder).free >= size + LEFT_FREE

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"

    def _remember(self, key: str, arrays: Arrays) -> Arrays:
        kept = {name: _outside_the_heap(array) for name, array in arrays.items()}
        self._forget(key)
        self._recent[key] = kept
        self._recent_bytes += _bytes_of(kept)
        while self._recent_bytes > self._in_memory:
            self._forget(next(iter(self._recent)))
        return kept

    def _forget(self, key: str) -> None:
        self._recent_bytes -= _bytes_of(self._recent.pop(key, {}))

    def _write(self, path: Path, arrays: dict[str, Any]) -> int:
        """Write a file that has its name only when it is whole; gives its length."""
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

    def _sweep(self, wanted: int) -> None:
        """Count what is there, and make room by what was used longest ago, none of it in this job.

        Other processes may do the same at the same time, and some files may not be ours to remove.
        """
        seen, old_ns = [], time.time_ns() - int(ABANDONED_S * 1e9)
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.suffix == ".npz":
                    seen.append((status.st_mtime_ns, status.st_size, path))
                elif path.suffix == ".part" and status.st_mtime_ns < old_ns:
                    path.unlink()
        left = sum(size for _, size, _ in seen)
        for used_ns, size, path in sorted(seen) if left + wanted > self._limit else ():
            if left + wanted <= AFTER_SWEEP * self._limit or used_ns >= self._begun_ns > 0:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                left -= size
        self._on_disk, self._counted_s = left, time.monotonic()


def _outside_the_heap(array: np.ndarray) -> np.ndarray:
    """A read-only copy in pages of its own: among what comes and goes it would keep gaps in the heap."""
    pages = mmap.mmap(-1, max(array.nbytes, 1))
    copy = np.frombuffer(pages, array.dtype, array.size).reshape(array.shape)
    np.copyto(copy, array)
    copy.setflags(write=False)  # shared from here on
    return copy


def _bytes_of(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def usable_cache(cache: Cache | None, network: Any) -> Cache | None:
    """Give the cache for a network's results; None for one from no file: it has no name to keep them by."""
    return cache if cache is not None and network.identity is not None else None


def users_cache(environ: Mapping[str, str] = os.environ) -> Cache | None:
    """The cache that the environment asks for; None where its limit is 0.

    ``EXEMPLAR_CACHE`` names the folder, ``EXEMPLAR_CACHE_GB`` the limit in
    gigabytes; ``InputError`` where that is no number, or the folder no full path.
    """
    said = environ.get(LIMIT_VARIABLE) or str(LIMIT_GB)
    try:
        limit = float(said) * 1e9
        if not 0 <= limit < float("inf"):
            raise ValueError
    except ValueError:
        raise InputError(
            f"{LIMIT_VARIABLE} is {said!r}. Give it a number of gigabytes, 0 for no cache."
        ) from None
    if not limit:
        return None
    try:
        folder = named_folder(FOLDER_VARIABLE, environ) or cache_folder() / OWN_NAME
    except RuntimeError:  # nobody's home is known
        return None
    return Cache(folder, int(limit))
