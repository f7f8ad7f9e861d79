"""The engine's process: how it is started, what it says, how it ends."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def never():
    return False


@pytest.fixture
def client(habits, fake_root):
    from exemplar.ui.engine.client import EngineClient

    client = EngineClient(fake_root, lambda: Path(sys.executable))
    yield client
    client.close()


@pytest.fixture
def request_(tmp_path):
    from exemplar.core.protocol import DetectRequest

    return DetectRequest(
        raster="r.tif", example="e.gpkg", output=str(tmp_path / "out.gpkg"), extent=[0.0, 0.0, 10.0, 10.0]
    )


def detect(client, request, cancelled=never):
    heard = []
    result = client.detect(request, lambda *progress: heard.append(progress), cancelled)
    return result, heard


def test_a_job_tells_its_progress_and_its_result(client, request_):
    result, heard = detect(client, request_)
    assert result["count"] == 1
    assert heard == [(0.0, "tile 0"), (0.25, "tile 1"), (0.5, "tile 2"), (0.75, "tile 3")]


def test_the_engine_stays_warm_between_jobs(client, request_):
    detect(client, request_)
    pid = client.pid
    detect(client, request_)
    assert client.pid == pid


def test_it_is_started_isolated_and_with_a_clean_environment(client, request_, habits, tmp_path, monkeypatch):
    dirty = [
        "PROJ_LIB",
        "PROJ_DATA",
        "GDAL_DATA",
        "GDAL_DRIVER_PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "QT_PLUGIN_PATH",
    ]
    for name in dirty:
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("HTTPS_PROXY", "kept")
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    report = tmp_path / "report.json"
    habits(report=str(report))
    detect(client, request_)
    told = json.loads(report.read_text())
    assert told["argv"][1:] == ["serve"]
    assert not set(dirty) & set(told["environ"])
    assert "LD_LIBRARY_PATH" not in told["environ"]
    assert told["environ"]["HTTPS_PROXY"] == "kept"
    assert told["requests"][0]["target"] == "building"
    assert Path(told["cwd"]) != Path.cwd()


def test_noise_on_standard_output_is_skipped(client, request_, habits):
    habits(noise=True)
    result, _ = detect(client, request_)
    assert result["count"] == 1


def test_much_on_standard_error_blocks_nothing(client, request_, habits):
    habits(stderr="warning: something lengthy\n" * 3000)  # more than a pipe holds
    result, _ = detect(client, request_)
    assert result["count"] == 1


def test_an_answered_error_leaves_the_engine_alive(client, request_, habits):
    from exemplar.ui.errors import EngineError

    habits(error={"message": "The example is too small.", "user_fault": True, "details": ""})
    with pytest.raises(EngineError, match="too small") as caught:
        detect(client, request_)
    assert caught.value.user_fault
    assert client.pid


def test_a_killed_engine_is_told_and_replaced(client, request_, habits):
    from exemplar.ui.errors import EngineError

    habits(die_at=2)
    with pytest.raises(EngineError, match="probably because memory ran out"):
        detect(client, request_)
    assert client.pid is None
    habits()
    result, _ = detect(client, request_)
    assert result["count"] == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"exit": 3, "stderr": "boom\n"}, r"ended unexpectedly \(exit code 3\)"),
        (
            {"exit": 1, "stderr": "ModuleNotFoundError: No module named 'torch._C'\n"},
            "lacks the library torch",
        ),
        ({"protocol": 99}, r"another protocol \(99\)"),
    ],
)
def test_an_engine_that_cannot_start_is_told(client, request_, habits, fields, sentence):
    from exemplar.ui.errors import EngineError

    habits(**fields)
    with pytest.raises(EngineError, match=sentence) as caught:
        detect(client, request_)
    assert fields.get("stderr", "").strip() in caught.value.details
    assert client.pid is None


def test_a_python_that_is_none_is_told(habits, fake_root, request_, tmp_path):
    from exemplar.ui.engine.client import EngineClient
    from exemplar.ui.errors import EngineError

    (tmp_path / "python").write_text("no program")
    client = EngineClient(fake_root, lambda: tmp_path / "python")
    with pytest.raises(EngineError, match="could not be started"):
        detect(client, request_)


def test_cancel_returns_at_once_and_keeps_the_engine(client, request_, habits, tmp_path):
    report = tmp_path / "report.json"
    habits(steps=1000, pause=0.2, report=str(report))
    client.hello(never)
    pid, cancelled = client.pid, threading.Event()
    threading.Timer(0.5, cancelled.set).start()
    result, heard = detect(client, request_, cancelled.is_set)
    assert result is None
    assert heard
    client.hello(never)  # waits its turn
    assert json.loads(report.read_text())["cancelled"] == ["job-1"]
    assert client.pid == pid


def test_an_engine_deaf_to_cancel_is_killed(client, request_, habits, monkeypatch, alive):
    monkeypatch.setattr("exemplar.ui.engine.client.CANCEL_SECONDS", 0.4)
    habits(deaf=True, steps=1000, pause=0.05)
    client.hello(never)
    pid = client.pid
    started = time.monotonic()
    assert detect(client, request_, lambda: time.monotonic() > started + 0.3)[0] is None
    assert time.monotonic() < started + 0.6
    habits()
    assert detect(client, request_)[0]["count"] == 1  # the next job waits for that, then gets a new engine
    assert not alive(pid)
    assert client.pid != pid


def test_close_ends_a_deaf_engine_in_the_middle_of_a_job(client, request_, habits, alive):
    habits(deaf=True, steps=1000, pause=0.05)
    client.hello(never)
    pid = client.pid
    outcome = []
    job = threading.Thread(target=lambda: outcome.append(detect(client, request_)[0]))
    job.start()
    time.sleep(0.3)
    client.close(seconds=0.3)
    job.join(5)
    assert outcome == [None]  # as cancelled: nobody is left to read an error
    assert not alive(pid)
    assert client.detect(request_, print, never) is None  # closed for good


def test_the_engine_ends_when_qgis_dies(habits, fake_root, tmp_path, alive):
    """No orphan: QGIS is killed, so nothing of ours can clean up."""
    import subprocess

    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'build' / 'plugins')!r})\n"
        "from pathlib import Path\n"
        "from exemplar.ui.engine.client import EngineClient\n"
        f"client = EngineClient(Path({str(fake_root)!r}), lambda: Path(sys.executable))\n"
        "client.hello(lambda: False)\n"
        "print(client.pid, flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid = int(ended.stdout)
    end = time.monotonic() + 5
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(pid)
