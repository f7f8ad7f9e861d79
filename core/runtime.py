"""What a process of the engine sets for itself before the large libraries are loaded: memory and threads."""

from __future__ import annotations

import ctypes
import io
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

# glibc's mallopt(3). By its defaults every large array is mapped, zeroed page by page and given back:
# a third of the published encoder's time. Kept in the heap, the next array takes the last one's place.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MOST = 2**31 - 1  # bytes, as much as mallopt takes: more than the engine ever frees at once
OWN_SETTINGS = "MALLOC_"  # a user who sets glibc's variables knows what for

RASTER_CACHE = "32"  # MB; GDAL's default, a twentieth of the machine's memory, fills up tile by tile

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # a container's share of the processor, as Linux has it


def prepare() -> None:
    """Set what has to be set before torch and GDAL are loaded; called once, at the start of a command."""
    keep_memory()
    cap_threads()
    wait_idly()
    os.environ.setdefault("GDAL_CACHEMAX", RASTER_CACHE)


def open_closed_streams() -> None:
    """Open nothing in the place of a standard stream that whoever started the process has closed.

    Without it Python has no object for the stream, and the next file that is opened gets its number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            setattr(sys, name, os.fdopen(nothing, "r" if number == 0 else "w", closefd=False))


def tell_any_name() -> None:
    """Let what is printed hold names that the terminal's encoding has no letters for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within, an end from outside is taken like a Ctrl-C, so that no drafts stay beside the user's files."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # the latter is not on Windows
            number = getattr(signal, name, None)
            # one that is ignored, as under nohup, stays ignored
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_memory() -> bool:
    """Let the process reuse the memory of large arrays; False where that can't be set."""
    libc = _glibc()
    if libc is None or any(name.startswith(OWN_SETTINGS) for name in os.environ):
        return False
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, MOST))


def give_memory_back() -> None:
    """Return to the system what is free: between two jobs an engine may idle for hours."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def cap_threads(environ: MutableMapping[str, str] = os.environ) -> None:
    """Ask for no more threads than there are cores for this process; threads without a core only spin.

    The libraries see the machine's cores. Where this process has fewer, by its
    affinity or a container's quota, they are told, unless the user told them.
    """
    cores = cores_allowed()
    if cores < (os.cpu_count() or 1):
        environ.setdefault("OMP_NUM_THREADS", str(cores))


def wait_idly(environ: MutableMapping[str, str] = os.environ) -> None:
    """Ask threads to sleep while they wait for each other, unless the user asked for something else.

    By their defaults they spin, and where another program needs a core, as QGIS
    does for its map, one thread spins for another that has none: 20 seconds
    instead of 13, side by side with one busy program on two cores.
    """
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cores_allowed(quota: Path = QUOTA) -> int:
    """How many cores this process may use, at least 1."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    try:
        most, period = quota.read_text().split()
        cores = min(cores, math.ceil(int(most) / int(period)))
    except (OSError, ValueError):  # not Linux, or "max": no quota
        return max(cores, 1)
    return max(cores, 1)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None  # other C libraries know other settings
