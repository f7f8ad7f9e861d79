"""How an engine that could not start is told: what is wrong with its Python, and what mends it."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def start(fake_root, tmp_path):
    """Start the engine on a Python that begins with some code; gives the error of its end."""
    from exemplar.ui.engine.client import EngineClient
    from exemplar.ui.errors import EngineError

    def started(before="", script=None):
        python = tmp_path / "python"
        python.write_text(
            script
            or f"#!{sys.executable}\nimport sys\n{before}\nlaunch = sys.argv[3]\n"
            "sys.argv = ['-c', *sys.argv[4:]]\nexec(launch)\n"
        )
        python.chmod(0o755)
        client = EngineClient(fake_root, lambda: python)
        try:
            with pytest.raises(EngineError) as told:
                client.hello(lambda: False)
        finally:
            client.close()
        assert told.value.user_fault
        assert "run again" not in str(told.value)
        return told.value, python

    return started


@pytest.mark.parametrize(
    "text",
    [
        "ModuleNotFoundError: No module named 'torch'",
        "ModuleNotFoundError: No module named 'torch.nn'",
        "importlib.metadata.PackageNotFoundError: No package metadata was found for torch",
    ],
)
def test_a_library_that_is_missing_is_told_with_the_command_that_installs_it(start, habits, fake_root, text):
    habits(exit=1, stderr=f"Traceback (most recent call last):\n{text}\n")
    error, python = start()
    assert "lacks the library torch" in str(error)
    requirements = fake_root / "resources" / "engine-requirements.txt"
    assert error.commands == f"{python} -m pip install -r {requirements}"  # both by their full paths
    assert text in error.details


def test_the_real_engine_without_its_libraries(tmp_path):
    """On QGIS's Python, which has no torch: a half-made environment looks like that."""
    from pathlib import Path

    from exemplar.ui.engine.client import EngineClient
    from exemplar.ui.errors import EngineError

    root = Path(__file__).resolve().parents[3]
    client = EngineClient(root, lambda: Path(sys.executable))
    with pytest.raises(EngineError, match="lacks the library") as told:
        client.hello(lambda: False)
    client.close()
    assert told.value.commands.endswith(f"-m pip install -r {root}/resources/engine-requirements.txt")


@pytest.mark.parametrize(
    "text",
    [
        "ImportError: DLL load failed while importing _C: The specified module could not be found.",
        "OSError: [WinError 126] The specified module could not be found. Error loading c10.dll",
        "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory",
    ],
)
def test_a_library_that_can_not_be_loaded_is_told_as_that(start, habits, text):
    habits(exit=1, stderr=f"{text}\n")
    error, _python = start()
    assert "can't be loaded" in str(error) and text.split(": ", 1)[1].rstrip(".") in str(error)
    assert "--force-reinstall" in error.commands


def test_a_python_that_is_too_old_is_told_as_that(start):
    error, python = start("sys.version_info = (3, 9, 2, 'final', 0)")
    assert f"{python} is Python 3.9, which is too old" in str(error)
    assert "3.10 to 3.13" in str(error) and not error.commands  # no package would help


def test_a_python_that_is_too_new_for_the_libraries(start, habits):
    habits(exit=1, stderr="ModuleNotFoundError: No module named 'torch'\n")
    error, _python = start("sys.version_info = (3, 15, 0, 'final', 0)")
    assert "is Python 3.15, newer than" in str(error) and not error.commands


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho no >&2\nexit 127\n"])
def test_a_program_that_is_no_python_is_told_as_that(start, script):
    error, python = start(script=script)
    assert f"{python} did not start as a Python" in str(error)


def test_the_problem_stands_above_the_steps(plugin, until, monkeypatch, tmp_path):
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", str(tmp_path / "gone"))
    dock = plugin.dock
    dock.setUserVisible(True)
    assert until(lambda: dock.engine_problem.isVisible())
    assert "is not there" in dock.engine_problem.note
    top = dock.engine_problem.mapTo(dock, dock.engine_problem.rect().topLeft()).y()
    assert top < dock.example_step.mapTo(dock, dock.example_step.rect().topLeft()).y()
    assert dock.run_step.note == "The engine is missing: see above."
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", sys.executable)
    dock.engine_problem.retry_button.click()
    assert until(lambda: dock.where_step.target() is not None)
    assert not dock.engine_problem.isVisible()
    assert dock.run_step.note == "First draw an example."
