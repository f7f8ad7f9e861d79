"""Starting the dock's engine: with which Python, and what is said where there is none."""

from __future__ import annotations


def test_an_engine_that_is_not_there_is_the_first_reason(plugin, until, monkeypatch, tmp_path):
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", str(tmp_path / "gone"))
    plugin.dock.setUserVisible(True)
    assert until(lambda: "is not there" in plugin.dock.engine_problem.note)
    assert plugin.dock.run_step.note == "The engine is missing: see above."  # there is no example either


def test_without_an_environment_the_commands_can_be_copied(plugin, until, monkeypatch, tmp_path):
    from qgis.PyQt.QtWidgets import QApplication

    monkeypatch.delenv("EXEMPLAR_ENGINE_PYTHON")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    dock = plugin.dock
    dock.setUserVisible(True)
    assert until(lambda: "two commands" in dock.engine_problem.note)
    dock.engine_problem.commands_box.copy_button.click()
    assert f"{tmp_path}/exemplar/venv/bin/python -m pip install" in QApplication.clipboard().text()
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", "/usr/bin/python3")
    dock.engine_problem.retry_button.click()
    assert until(lambda: dock.where_step.target() is not None)
    assert not dock.engine_problem.commands_box.isVisible()


def test_a_python_that_is_none_is_not_remembered(ready, until, fake_python, tmp_path):
    from exemplar.ui import settings

    wrong = tmp_path / "no-python"
    wrong.write_text("#!/bin/sh\nexit 3\n")
    wrong.chmod(0o755)
    ready.engine_start.use_python(str(wrong))
    assert until(lambda: ready.engine_problem.default_button.isVisible())
    assert settings.engine_python() == ""
    ready.engine_problem.default_button.click()
    assert until(lambda: ready.run_step.run_button.isEnabled())
    assert not ready.engine_problem.default_button.isVisible()


def test_a_chosen_python_that_is_gone_can_be_forgotten(plugin, until, tmp_path):
    from exemplar.ui import settings

    settings.set_engine_python(str(tmp_path / "gone"))
    plugin.dock.setUserVisible(True)
    assert until(lambda: plugin.dock.engine_problem.default_button.isVisible())
    plugin.dock.engine_problem.default_button.click()
    assert until(lambda: plugin.dock.where_step.target() is not None)
    assert settings.engine_python() == ""


def test_no_environment_is_told_where_it_is_chosen(plugin, until, monkeypatch, tmp_path):
    monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", str(tmp_path / "gone"))
    plugin.dock.setUserVisible(True)
    assert until(lambda: "is not there" in plugin.dock.engine_problem.note)
    assert plugin.dock.engine_problem.python_button.isVisible()
    assert not plugin.dock.run_step.run_button.isEnabled()


def test_a_cancelled_start_can_be_tried_again(plugin, habits, until):
    from qgis.core import QgsApplication

    habits(greet_after=30)
    plugin.dock.setUserVisible(True)
    assert until(lambda: QgsApplication.taskManager().activeTasks())
    QgsApplication.taskManager().cancelAll()
    assert until(lambda: plugin.dock.engine_problem.note == "The engine was not started.")
    assert plugin.dock.engine_problem.retry_button.isVisible()


def test_another_python_is_another_engine(ready, until, fake_python, alive):
    import sys

    assert until(lambda: ready.engine.pid is not None)
    pid = ready.engine.pid
    ready.engine_start.use_python(sys.executable)
    assert until(lambda: ready.engine.pid not in (None, pid) and ready.where_step.target())
    assert not alive(pid)
