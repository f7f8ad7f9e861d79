"""What a process of the engine sets for itself: the memory that it keeps, the threads that it asks for."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch

from core import runtime
from core.sam.answers import Decoded, Embedding

ROOT = Path(__file__).resolve().parents[2]
ON_GLIBC = runtime._glibc() is not None

# Fills and frees an array of 64 MB ten times; prints how many pages the system had to bring.
FAULTS = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from core import runtime
if sys.argv[2] == "prepared":
    runtime.prepare()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**23)
before = faults()
for _ in range(10):
    np.ones(2**23)
brought = faults() - before
resident = int(open("/proc/self/statm").read().split()[1])
runtime.give_memory_back()
print(brought, resident - int(open("/proc/self/statm").read().split()[1]))
"""
PAGES = 2**26 // 4096  # of the array


def run(how, **variables):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-I", "-c", FAULTS, str(ROOT), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=clean | variables)
    assert done.returncode == 0, done.stderr
    return [int(figure) for figure in done.stdout.split()]


@pytest.mark.skipif(not ON_GLIBC, reason="glibc's settings")
def test_a_prepared_process_takes_an_arrays_memory_for_the_next_one():
    by_default, _ = run("plain")
    prepared, returned = run("prepared")
    assert by_default > 100  # huge pages make it few, but every array brings its own
    assert prepared < by_default / 10
    assert returned > 0.9 * PAGES  # between two jobs the system has it again


@pytest.mark.skipif(not ON_GLIBC, reason="glibc's settings")
def test_the_users_own_settings_are_left_alone():
    kept, _ = run("prepared", MALLOC_MMAP_THRESHOLD_="65536")
    assert kept > 100


@pytest.mark.parametrize(
    ("text", "most"), [("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", None), (None, None)]
)
def test_a_containers_quota_is_no_more_cores_than_it_is(tmp_path, monkeypatch, text, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    assert runtime.cores_allowed(tmp_path / "cpu.max") == (most or 12)


def test_threads_are_capped_where_the_process_has_fewer_cores_and_the_user_said_nothing(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    for allowed, given, expected in (
        (4, {}, {"OMP_NUM_THREADS": "4"}),
        (4, {"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2"}),
        (16, {}, {}),  # torch knows best how many of the machine's it can use
    ):
        monkeypatch.setattr(runtime, "cores_allowed", lambda allowed=allowed: allowed)
        runtime.cap_threads(given)
        assert given == expected


def test_torch_follows():
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); os.cpu_count = lambda: 64; "
        "from core import runtime; runtime.cores_allowed = lambda: 1; runtime.prepare(); "
        "import torch; print(torch.get_num_threads())"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(ROOT)], capture_output=True, text=True, timeout=120, env=clean
    )
    assert done.stdout.strip() == "1", done.stderr


class AnyNetwork:
    """Answers every prompt with the middle of the canvas; notes when it is asked to encode."""

    name, knows_borders, identity = "any", False, None

    def __init__(self, events):
        self._events = events

    def encode(self, image):
        self._events.append("encoded")
        return Embedding(torch.ones(1, 1, 64, 64), image.shape[:2])

    def decode(self, embedding, points_canvas, labels, **_):
        logits = np.full((len(points_canvas), 1, 256, 256), -4, np.float32)
        logits[..., 20:40, 20:40] = 4
        return Decoded(logits, np.full(logits.shape[:2], 0.9, np.float32))


@pytest.fixture
def events(monkeypatch):
    """What is encoded and when memory is given back, in order."""
    seen = []
    monkeypatch.setattr(runtime, "give_memory_back", lambda: seen.append("given back"))
    return seen


@pytest.fixture
def wide_raster(make_raster):
    """A raster of two tiles, side by side."""
    return str(make_raster(np.random.default_rng(0).integers(40, 200, (3, 96, 1800), np.uint8)))


def test_detect_gives_memory_back_after_every_tile(
    events, wide_raster, write_polygons, tmp_path, monkeypatch
):
    from core.pipeline.detect import detect
    from core.pipeline.tile import TileSegmenter
    from core.protocol import DetectRequest

    segment = TileSegmenter.segment

    def segmenting(*given):
        result = segment(*given)
        events.append("tile done")
        return result

    monkeypatch.setattr(TileSegmenter, "segment", segmenting)
    example = str(write_polygons([shapely.box(500_010, 5_399_970, 500_030, 5_399_990)]))
    request = DetectRequest(
        wide_raster, example, str(tmp_path / "found.gpkg"), strategy="random-point", runs=1, resolution=0.5
    )
    assert detect(request, segmenter=AnyNetwork(events)).tiles == 2
    after = [then for one, then in itertools.pairwise([*events, "end"]) if one == "tile done"]
    assert after == ["given back"] * 2


def test_edges_give_memory_back_after_every_tile(events, wide_raster, tmp_path):
    from core.pipeline.edges import find_edges
    from core.protocol import EdgesRequest

    request = EdgesRequest(wide_raster, str(tmp_path / "edges.tif"))
    assert find_edges(request, segmenter=AnyNetwork(events)).tiles == 2
    assert events == ["encoded", "given back"] * 2


def test_gdals_cache_stays_small_unless_the_user_says_otherwise():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from core import runtime; runtime.prepare(); "
        "from rasterio import _env; print(_env.get_gdal_config('GDAL_CACHEMAX'))"
    )
    for given, expected in ((None, runtime.RASTER_CACHE), ("77", "77")):
        clean = {name: value for name, value in os.environ.items() if name != "GDAL_CACHEMAX"}
        done = subprocess.run(
            [sys.executable, "-I", "-c", code, str(ROOT)],
            capture_output=True,
            text=True,
            timeout=120,
            env=clean | ({} if given is None else {"GDAL_CACHEMAX": given}),
        )
        assert done.stdout.strip() == str(int(expected) * 2**20), done.stderr  # told in bytes


def test_waiting_threads_sleep_unless_the_user_wants_them_to_spin():
    asked, unasked = {"OMP_WAIT_POLICY": "ACTIVE"}, {}
    runtime.wait_idly(asked)
    runtime.wait_idly(unasked)
    assert asked == {"OMP_WAIT_POLICY": "ACTIVE"}
    assert unasked == {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a signal of Unix")
@pytest.mark.parametrize("ignored", [True, False])
def test_an_end_from_outside_is_taken_like_a_ctrl_c_but_not_under_nohup(ignored):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with runtime.ended_by_signals():
            wanted = signal.SIG_IGN if ignored else signal.default_int_handler
            assert signal.getsignal(signal.SIGHUP) is wanted
        assert signal.getsignal(signal.SIGHUP) is (signal.SIG_IGN if ignored else signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGHUP, before)
