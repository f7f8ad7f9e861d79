"""The engine's Python: where it is looked for, and the process environment it gets."""

from __future__ import annotations

import os

import pytest


def test_the_order_of_the_places(tmp_path):
    from exemplar.ui.engine.environment import find_python, python_of, user_folder

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


def test_no_environment_says_what_to_do(tmp_path, monkeypatch):
    from exemplar.ui.engine.environment import find_python
    from exemplar.ui.errors import EngineError

    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    with pytest.raises(EngineError, match="two commands") as told:
        find_python(tmp_path, "", environ)
    assert told.value.user_fault
    make, fill = told.value.commands.splitlines()
    assert make == f"python3 -m venv {tmp_path}/exemplar/venv"
    assert fill.startswith(f"{tmp_path}/exemplar/venv/bin/python -m pip install -r ")
    assert fill.endswith("engine-requirements.txt")
    assert str(tmp_path) not in str(told.value)  # a path has nothing to wrap at


@pytest.mark.parametrize("name", ["anna", "anna müller"])
def test_the_commands_for_windows(monkeypatch, name):
    from pathlib import PureWindowsPath

    from exemplar.ui.engine import environment

    monkeypatch.setattr(environment.sys, "platform", "win32")
    folder = PureWindowsPath(rf"C:\Users\{name}\AppData\Local\exemplar")
    monkeypatch.setattr(environment, "user_folder", lambda _environ: folder)
    mark = '"' if " " in name else ""
    assert environment.set_up_commands(PureWindowsPath(r"C:\plugins\exemplar"), {}).splitlines() == [
        rf"py -m venv {mark}{folder}\venv{mark}",
        rf"{mark}{folder}\venv\Scripts\python.exe{mark} -m pip install -r "
        r"C:\plugins\exemplar\resources\engine-requirements.txt",
    ]


def test_a_choice_that_is_gone_is_not_passed_over(tmp_path):
    from exemplar.ui.engine.environment import find_python
    from exemplar.ui.errors import EngineError

    with pytest.raises(EngineError, match="is not there") as told:
        find_python(tmp_path, str(tmp_path / "gone"), dict(os.environ))
    assert told.value.user_fault and not told.value.commands


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "by the variable"])
def test_a_python_that_is_no_full_path_is_refused(tmp_path, monkeypatch, chosen):
    """It would be looked for in QGIS's folder and started in the engine's."""
    from exemplar.ui.engine.environment import find_python
    from exemplar.ui.errors import EngineError

    monkeypatch.chdir(tmp_path)
    relative = tmp_path / "venv" / "python"
    relative.parent.mkdir()
    relative.touch()
    for name in ("venv/python", "./venv/python", "python3", "~/python"):
        environ = {} if chosen else {"EXEMPLAR_ENGINE_PYTHON": name}
        with pytest.raises(EngineError, match="no full path") as told:
            find_python(tmp_path / "root", name if chosen else "", environ)
        assert told.value.user_fault and name in str(told.value)
    assert find_python(tmp_path / "root", str(relative), {}) == relative


def test_a_data_folder_that_is_no_full_path_counts_as_none(tmp_path, monkeypatch):
    from pathlib import Path

    from exemplar.ui.engine import environment

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    environ = {"XDG_DATA_HOME": "data", "LOCALAPPDATA": "data"}
    for platform, custom in (("linux", ".local/share"), ("win32", "AppData/Local")):
        monkeypatch.setattr(environment.sys, "platform", platform)
        assert environment.user_folder(environ) == Path(tmp_path, custom, "exemplar")


def test_a_folder_for_saving_that_is_no_full_path_counts_as_none(qgis_app, tmp_path):
    from exemplar.ui import settings

    settings.set_save_folder("results")
    assert settings.save_folder() == ""
    settings.set_save_folder(str(tmp_path))
    assert settings.save_folder() == str(tmp_path)


def test_on_windows_the_folders_of_qgis_leave_the_path(tmp_path, monkeypatch):
    from exemplar.ui.engine import environment

    monkeypatch.setattr(environment.sys, "platform", "win32")
    qgis, other = tmp_path / "OSGeo4W", tmp_path / "elsewhere"
    environ = {
        "OSGEO4W_ROOT": str(qgis),
        "PATH": os.pathsep.join([str(qgis / "bin"), str(other), str(qgis)]),
    }
    assert environment.clean_environment(environ)["PATH"] == str(other)
