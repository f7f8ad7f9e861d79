"""The engine's process: how it is started, what it says, how it ends."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

FAKE_ROOT = Path(__file__).parent / "fake_engine"


def never():
    return False


@pytest.fixture
def client(habits):
    from exemplar.ui.engine_client import EngineClient

    client = EngineClient(FAKE_ROOT, lambda: Path(sys.executable))
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
    from exemplar.ui.engine_process import EngineError

    habits(error={"message": "The example is too small.", "user_fault": True, "details": ""})
    with pytest.raises(EngineError, match="too small") as caught:
        detect(client, request_)
    assert caught.value.user_fault
    assert client.pid


def test_a_killed_engine_is_told_and_replaced(client, request_, habits):
    from exemplar.ui.engine_process import EngineError

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
    from exemplar.ui.engine_process import EngineError

    habits(**fields)
    with pytest.raises(EngineError, match=sentence) as caught:
        detect(client, request_)
    assert fields.get("stderr", "").strip() in caught.value.details
    assert client.pid is None


def test_a_python_that_is_none_is_told(habits, request_, tmp_path):
    from exemplar.ui.engine_client import EngineClient
    from exemplar.ui.engine_process import EngineError

    (tmp_path / "python").write_text("no program")
    client = EngineClient(FAKE_ROOT, lambda: tmp_path / "python")
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
    from exemplar.ui import engine_client

    monkeypatch.setattr(engine_client, "CANCEL_SECONDS", 0.4)
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


def test_the_engine_ends_when_qgis_dies(habits, tmp_path, alive):
    """No orphan: QGIS is killed, so nothing of ours can clean up."""
    import subprocess

    code = (
        f"import sys; sys.path.insert(0, {str(FAKE_ROOT.parents[2] / 'build' / 'plugins')!r})\n"
        "from pathlib import Path\n"
        "from exemplar.ui.engine_client import EngineClient\n"
        f"client = EngineClient(Path({str(FAKE_ROOT)!r}), lambda: Path(sys.executable))\n"
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


class TestEnvironment:
    def test_order(self, tmp_path):
        from exemplar.ui.environment import find_python, python_of, user_folder

        environ = {"XDG_DATA_HOME": str(tmp_path / "data"), "LOCALAPPDATA": str(tmp_path / "data")}
        root, chosen, named = tmp_path / "root", tmp_path / "chosen", tmp_path / "named"
        of_user, of_root = python_of(user_folder(environ) / "venv"), python_of(root / ".venv")
        for file in (of_user, of_root, chosen, named):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        environ["EXEMPLAR_ENGINE_PYTHON"] = str(named)
        assert find_python(root, str(chosen), environ) == chosen
        assert find_python(root, "", environ) == named
        del environ["EXEMPLAR_ENGINE_PYTHON"]
        assert find_python(root, "", environ) == of_root
        of_root.unlink()
        assert find_python(root, "", environ) == of_user

    def test_none_says_what_to_do(self, tmp_path, monkeypatch):
        from exemplar.ui.environment import EnvironmentMissingError, find_python

        monkeypatch.setenv("HOME", str(tmp_path))
        environ = {"XDG_DATA_HOME": str(tmp_path)}
        with pytest.raises(EnvironmentMissingError, match="two commands") as told:
            find_python(tmp_path, "", environ)
        make, fill = told.value.commands.splitlines()
        assert make == f"python3 -m venv {tmp_path}/exemplar/venv"
        assert fill.startswith(f"{tmp_path}/exemplar/venv/bin/python -m pip install -r ")
        assert fill.endswith("engine-requirements.txt")
        assert str(tmp_path) not in str(told.value)  # a path has nothing to wrap at

    @pytest.mark.parametrize("name", ["anna", "anna müller"])
    def test_the_commands_for_windows(self, monkeypatch, name):
        from pathlib import PureWindowsPath

        from exemplar.ui import environment

        monkeypatch.setattr(environment.sys, "platform", "win32")
        folder = PureWindowsPath(rf"C:\Users\{name}\AppData\Local\exemplar")
        monkeypatch.setattr(environment, "user_folder", lambda _environ: folder)
        mark = '"' if " " in name else ""
        assert environment.set_up_commands(PureWindowsPath(r"C:\plugins\exemplar"), {}).splitlines() == [
            rf"py -m venv {mark}{folder}\venv{mark}",
            rf"{mark}{folder}\venv\Scripts\python.exe{mark} -m pip install -r "
            r"C:\plugins\exemplar\resources\engine-requirements.txt",
        ]

    def test_a_choice_that_is_gone_is_not_passed_over(self, tmp_path):
        from exemplar.ui.environment import EnvironmentMissingError, find_python

        with pytest.raises(EnvironmentMissingError, match="is not there"):
            find_python(tmp_path, str(tmp_path / "gone"), dict(os.environ))

    def test_on_windows_the_folders_of_qgis_leave_the_path(self, tmp_path, monkeypatch):
        from exemplar.ui import environment

        monkeypatch.setattr(environment.sys, "platform", "win32")
        qgis, other = tmp_path / "OSGeo4W", tmp_path / "elsewhere"
        environ = {
            "OSGEO4W_ROOT": str(qgis),
            "PATH": os.pathsep.join([str(qgis / "bin"), str(other), str(qgis)]),
        }
        assert environment.clean_environment(environ)["PATH"] == str(other)
