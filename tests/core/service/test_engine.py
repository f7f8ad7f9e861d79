"""The engine as QGIS starts it: a process of its own that talks in JSON lines and never hangs."""

import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from core import __version__, protocol
from core.canvas.prompts import STRATEGIES
from core.service import engine as engine_module
from core.targets import TARGETS
from core.vectors.attributes import COLUMNS
from core.weights.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[3]
START = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_module('core', run_name='__main__')"
PATIENCE = 120  # seconds, on a busy machine


class Engine:
    """A started engine; its answers are read by a thread, so that no test waits for ever."""

    def __init__(self, folder, code=START):
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", code, "serve"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self.lines = queue.Queue()
        self.stderr = []
        for stream, sink in (
            (self.process.stdout, self.lines.put),
            (self.process.stderr, self.stderr.append),
        ):
            threading.Thread(target=self._drain, args=(stream, sink), daemon=True).start()

    @staticmethod
    def _drain(stream, sink):
        for line in stream:
            sink(line)

    def write(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, kind, **fields):
        self.write(protocol.encode(kind, **fields))

    def next(self, *kinds):
        """The next message, of one of these kinds if any are given, and all that came before it."""
        before = []
        while True:
            message = protocol.decode(self.lines.get(timeout=PATIENCE))
            if not kinds or message["type"] in kinds:
                return message, before
            before.append(message)

    def ended_within(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    started = Engine(tmp_path_factory.mktemp("elsewhere"))
    started.hello, _ = started.next()
    yield started
    started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory, embedded_checkpoint):
    """A raster, its example, and a request that works; names with umlauts, as people have them."""
    folder = tmp_path_factory.mktemp("Häuser")
    image = np.random.default_rng(0).integers(40, 90, (3, 144, 160)).astype(np.uint8)
    image[:, 60:84, 40:64] = 230
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
    profile = {"driver": "GTiff", "count": 3, "height": 144, "width": 160, "dtype": "uint8"}
    with rasterio.open(folder / "a.tif", "w", crs="EPSG:25832", transform=transform, **profile) as raster:
        raster.write(image)
    square = shapely.box(500_020, 5_399_958, 500_032, 5_399_970)
    gpd.GeoDataFrame(geometry=[square], crs="EPSG:25832").to_file(folder / "example.gpkg")
    request = {
        "raster": str(folder / "a.tif"),
        "example": str(folder / "example.gpkg"),
        "output": str(folder / "found.gpkg"),
        "checkpoint": str(embedded_checkpoint),
        "strategy": "random-point",
        "device": "cpu",
        "runs": 2,
        "min_score": 0.0,
    }
    return folder, request


def test_hello_tells_all_that_the_user_interface_needs(engine):
    hello = engine.hello
    assert hello["type"] == "hello" and hello["protocol"] == protocol.PROTOCOL
    assert hello["version"] == __version__ and hello["device"] in ("cpu", "cuda", "mps")
    for key, names in (("strategies", STRATEGIES), ("targets", TARGETS), ("models", CATALOGUE)):
        assert [entry["name"] for entry in hello[key]] == list(names)
        assert all(entry["title"] for entry in hello[key])
        assert sum(entry["default"] for entry in hello[key]) == 1
    for entry in hello["models"]:
        assert entry["size"] > 0 and entry["licence"] and entry["here"] is Path(entry["file"]).is_file()


def test_a_job_ends_in_a_file(engine, files):
    request = files[1] | {"resolution": 0.25}  # whatever the presets are
    engine.send("detect", job="first", request=request)
    result, before = engine.next("result", "error")
    assert result["type"] == "result", result
    assert result["job"] == "first" and result["output"] == request["output"]
    assert result["seconds"] > 0 and result["resolution"] == pytest.approx(0.25) and result["min_score"] == 0
    table = gpd.read_file(request["output"])
    assert len(table) == result["count"] and list(table.columns) == [*COLUMNS, "geometry"]
    assert before and all(message["type"] == "progress" and message["job"] == "first" for message in before)
    fractions = [message["fraction"] for message in before]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] == 1


def test_bad_input_is_the_users_and_the_engine_goes_on(engine, files):
    _, request = files
    engine.send("detect", job="bad", request=request | {"raster": "/nowhere/absent.tif"})
    error, _ = engine.next("error", "result")
    assert error["job"] == "bad" and error["user_fault"] is True and error["details"] == ""
    assert "There is no file /nowhere/absent.tif" in error["message"]
    engine.send("detect", job="good", request=request)
    assert engine.next("error", "result")[0]["type"] == "result"


@pytest.mark.parametrize(
    "fields", [{"wings": 2}, {"raster": 5, "example": 6, "output": 7}, None, [], "detect", {"runs": "many"}]
)
def test_requests_that_make_no_sense_are_answered(engine, files, fields):
    request = files[1] | fields if isinstance(fields, dict) else fields
    engine.send("detect", job="odd", request=request)
    error, _ = engine.next("error", "result")
    assert error["type"] == "error" and error["job"] == "odd" and error["message"]


@pytest.mark.parametrize(
    "line",
    [b"junk\n", b"\xff\xfe\n", b"[]\n", b"{}\n", b"\n", b'{"type": "dance"}\n', b"[" * 200_000 + b"\n"],
)
def test_a_line_that_is_no_message_is_answered_or_passed_over(engine, files, line):
    engine.write(line)
    engine.send("detect", job="after", request=files[1] | {"raster": "/nowhere"})
    error, _ = engine.next("error")
    if error["job"] is None:  # said what was wrong with the line first
        assert error["user_fault"] is False and error["message"].startswith("Not understood")
        error, _ = engine.next("error")
    assert error["job"] == "after"


@pytest.mark.parametrize("job", [["list"], {"a": 1}, 5])
def test_odd_names_of_jobs_do_not_deafen_the_engine(engine, files, job):
    engine.send("cancel", job=job)
    engine.send("detect", job=job, request=files[1] | {"raster": "/nowhere"})
    answer, _ = engine.next("error", "cancelled")
    assert answer["job"] == job
    engine.send("detect", job="after", request=files[1] | {"raster": "/nowhere"})
    assert engine.next("error")[0]["job"] == "after"


@pytest.mark.parametrize(
    ("field", "value"),
    [("runs", "many"), ("regularize", "no"), ("resolution", True), ("min_score", float("nan")),
     ("extent", [1, 2]), ("bands", [1, 2]), ("output", None), ("runs", 10**30)],
)  # fmt: skip
def test_a_wrong_type_is_the_users_fault_and_named(engine, files, field, value):
    engine.send("detect", job="typed", request=files[1] | {field: value})
    error, _ = engine.next("error", "result")
    assert error["job"] == "typed" and error["user_fault"] is True and error["details"] == ""
    assert f"The parameter {field} is " in error["message"]


def test_names_that_are_no_text_do_not_end_the_engine(engine, files):
    engine.send("detect", job="odd", request=files[1] | {"output": "no\udce9/x.gpkg"})
    error, _ = engine.next("error")
    assert error["job"] == "odd" and error["user_fault"] is True


def test_a_cancelled_job_writes_nothing(engine, files):
    folder, request = files
    output = folder / "cancelled.gpkg"
    engine.send("detect", job="long", request=request | {"output": str(output), "runs": 2000})
    engine.next("progress")
    engine.send("cancel", job="long")
    asked = time.monotonic()
    answer, _ = engine.next("cancelled", "result", "error")
    assert answer == {"type": "cancelled", "job": "long"}
    assert time.monotonic() - asked < 60  # of the minutes that it would have taken
    assert not output.exists() and not list(folder.glob(".exemplar-*"))


def test_a_job_cancelled_while_it_waits_is_not_begun(engine, files):
    folder, request = files
    output = folder / "waiting.gpkg"
    engine.send("detect", job="one", request=request | {"output": str(folder / "one.gpkg"), "runs": 2000})
    engine.send("detect", job="two", request=request | {"output": str(output)})
    engine.send("cancel", job="two")
    engine.send("cancel", job="one")
    assert engine.next("cancelled", "result", "error")[0] == {"type": "cancelled", "job": "one"}
    assert engine.next("cancelled", "result", "error")[0] == {"type": "cancelled", "job": "two"}
    assert not output.exists()


# The network that is kept, of an engine in this process


@pytest.fixture
def loads(monkeypatch):
    """What is loaded, in order: the request's model, and how many networks were held at that moment."""
    from core.sam.segmenter import Segmenter

    load, alive, seen = Segmenter.load, [], []

    def counting(name, checkpoint=None, *options):
        seen.append((name, Path(checkpoint).name, sum(network() is not None for network in alive)))
        loaded = load(name, checkpoint, *options)
        alive.append(weakref.ref(loaded.sam))
        return loaded

    monkeypatch.setattr(Segmenter, "load", counting)
    return seen


@pytest.fixture
def run_here(files, tmp_path):
    """Run a detection in this process and, once, wait for its result."""
    replies = io.BytesIO()
    here = engine_module.Engine(replies)

    def run(checkpoint, **fields):
        request = files[1] | {"output": str(tmp_path / "found.gpkg"), "checkpoint": str(checkpoint)} | fields
        here.run_job({"type": "detect", "job": "j", "request": request})
        message = protocol.decode(replies.getvalue().splitlines(keepends=True)[-1])
        assert message["type"] == "result", message

    return run


def test_a_second_job_with_the_same_model_does_not_load_it_again(run_here, loads, embedded_checkpoint):
    run_here(embedded_checkpoint)
    run_here(embedded_checkpoint, runs=1, strategy="random-points")
    assert len(loads) == 1


def test_a_replaced_checkpoint_is_loaded_anew(run_here, loads, embedded_checkpoint, tmp_path):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(embedded_checkpoint.read_bytes())
    run_here(mine)
    changed = bytearray(mine.read_bytes())
    changed[-4:] = bytes(4)  # as long as before, so that only its time tells
    mine.write_bytes(changed)
    os.utime(mine, ns=(0, mine.stat().st_mtime_ns + 1_000_000))
    run_here(mine)
    run_here(mine)
    assert len(loads) == 2


def test_the_last_network_is_let_go_before_the_next_is_loaded(
    run_here, loads, embedded_checkpoint, tmp_path, monkeypatch
):
    given_back = []
    monkeypatch.setattr(engine_module.runtime, "give_memory_back", lambda: given_back.append(len(loads)))
    other = tmp_path / "other.safetensors"
    other.write_bytes(embedded_checkpoint.read_bytes())
    run_here(embedded_checkpoint)
    given_back.clear()
    run_here(other)
    assert loads == [("embedded", embedded_checkpoint.name, 0), ("embedded", other.name, 0)]
    assert given_back[0] == 1  # before the second was loaded


# Processes of their own


def test_the_end_of_standard_input_ends_a_process_that_computes(tmp_path, files):
    engine = Engine(tmp_path)
    try:
        engine.next("hello")
        output = files[0] / "orphan.gpkg"
        engine.send("detect", job="long", request=files[1] | {"output": str(output), "runs": 5000})
        engine.next("progress")
        engine.process.stdin.close()
        assert engine.ended_within(20) == 0
        assert not output.exists() and not list(files[0].glob(".exemplar-*"))
    finally:
        engine.close()


def test_no_print_of_a_library_can_corrupt_the_protocol(tmp_path):
    noisy = """
import ctypes, os, subprocess, sys
from core.service import engine
from core import protocol
replies = engine._private_stdout()
print("a library prints", flush=True)
sys.stdout.write("and writes\\n"); sys.stdout.flush()
os.write(1, b"C code writes to descriptor 1\\n")
subprocess.run([sys.executable, "-c", "print('a child prints')"])
engine.Engine(replies).send("progress", job="j", fraction=0.5, message="H\\u00e4user")
print("afterwards, too", flush=True)
"""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{noisy}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line) == {"type": "progress", "job": "j", "fraction": 0.5, "message": "Häuser"}
    for text in (b"a library prints", b"and writes", b"C code", b"a child prints", b"afterwards, too"):
        assert text in done.stderr


def test_libraries_find_nothing_on_standard_input(engine):
    """A library that looks at descriptor 0 while it is loaded would wait for the reader of requests."""
    assert Path(f"/proc/{engine.process.pid}/fd/0").readlink() == Path(os.devnull)


def test_shutdown_ends_an_idle_engine(engine):
    # Last, as it ends the engine that the tests above share.
    engine.send("shutdown")
    assert engine.ended_within(20) == 0
    assert engine.lines.empty()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't")])
def test_want_of_memory_is_told_as_that(monkeypatch, error):
    replies = io.BytesIO()
    here = engine_module.Engine(replies)
    monkeypatch.setattr(here, "_detect", lambda *_: (_ for _ in ()).throw(error))
    here.run_job({"type": "detect", "job": "j", "request": {}})
    message = protocol.decode(replies.getvalue().splitlines(keepends=True)[-1])
    assert message["type"] == "error" and message["message"].startswith("There is not enough memory.")
