"""The choice of a model in the dock: told before it is fetched, fetched beside other work, cancelled."""

from __future__ import annotations

import json

import pytest

LARGE = {
    "name": "vit_b",
    "title": "SAM ViT-B",
    "default": False,
    "size": 375_042_383,
    "memory": 1_900_000_000,
    "licence": "Apache-2.0",
    "suits": "a GPU",
    "address": "https://models.invalid/sam_vit_b.pth",
    "file": "/models/sam_vit_b.pth",
    "here": False,
}
OTHER = LARGE | {"name": "vit_h", "title": "SAM ViT-H", "size": 2_564_550_879}


@pytest.fixture
def told(habits, tmp_path):
    """Habits of a fake engine that has models to fetch, and the requests it was sent."""

    def tell(**fields):
        habits(models=[LARGE, OTHER], report=str(tmp_path / "report.json"), **fields)

    tell.requests = lambda: json.loads((tmp_path / "report.json").read_text())["requests"]
    tell.environ = lambda: json.loads((tmp_path / "report.json").read_text())["environ"]
    tell.cancelled = lambda: json.loads((tmp_path / "report.json").read_text())["cancelled"]
    tell()
    return tell


@pytest.fixture
def panel(told, dock):
    panel = dock.models_panel
    panel.setCollapsed(False)
    return panel


def choose(panel, name):
    panel.model_box.setCurrentIndex(panel.model_box.findData(name))


def again(dock, until, told, **fields):
    """The engine's habits are read when it starts."""
    told(**fields)
    dock.engine.stop()
    dock.engine_start.begin()
    assert until(lambda: not dock.engine_start.under_way)


def tasks():
    from qgis.core import QgsApplication

    return QgsApplication.taskManager().activeTasks()


def test_a_model_says_what_it_costs_before_it_is_fetched(panel):
    assert panel.model() == "embedded"
    assert panel.title() == "Model: Embedded"
    assert not panel.download_button.isVisible()  # it is here
    choose(panel, "vit_b")
    assert panel.title() == "Model: SAM ViT-B"
    for words in ("375 MB", "Apache-2.0", "about 1.9 GB of memory", "for a GPU", "models.invalid"):
        assert words in panel.note
    assert panel.download_button.text() == "Download (375 MB)"
    assert "models.invalid/sam_vit_b.pth" in panel.download_button.toolTip()
    choose(panel, "vit_h")
    assert panel.download_button.text() == "Download (2.56 GB)"
    assert not panel.bar.isVisible()


def test_nothing_is_fetched_unasked(panel, dock, square, raster, told, until):
    dock.set_example(square)
    choose(panel, "vit_b")
    assert dock.run_step.note == "First download the model, or choose another one."
    assert not dock.run_step.run_button.isEnabled()
    choose(panel, "embedded")
    assert dock.run_step.run_button.isEnabled()
    until(lambda: False, 0.2)
    assert told.requests() == []


def test_one_press_fetches_it_and_then_it_runs(panel, dock, square, raster, until, told):
    dock.set_example(square)
    choose(panel, "vit_b")
    panel.download_button.click()
    assert panel.fetching and panel.bar.isVisible() and not panel.download_button.isEnabled()
    assert "is being fetched" in dock.run_step.note
    assert until(lambda: not panel.fetching)
    assert "on this computer" in panel.note and not panel.download_button.isVisible()
    assert dock.run_step.run_button.isEnabled()
    dock.run_step.run_button.click()
    assert until(lambda: not dock.running)
    download, detect = told.requests()
    assert download == {"model": "vit_b", "file": None}
    assert detect["model"] == "vit_b" and detect["checkpoint"] is None


def test_progress_is_in_the_panel_and_in_the_task_manager(panel, dock, until, told):
    again(dock, until, told, download={"steps": 20, "pause": 0.05})
    choose(panel, "vit_b")
    panel.download()
    assert until(lambda: 30 <= panel.bar.value() < 100)
    assert panel.bar.text().endswith(" MB")
    choose(panel, "vit_h")
    assert "2.56 GB" in panel.note and not panel.download_button.isEnabled()  # one after the other
    [task] = tasks()
    assert task.description() == "Exemplar: downloading SAM ViT-B"
    assert 0 < task.progress() < 100
    assert until(lambda: not panel.fetching)


def test_a_detection_runs_meanwhile(panel, dock, square, raster, until, told):
    again(dock, until, told, download={"steps": 1000, "pause": 0.05})
    choose(panel, "vit_b")
    panel.download()
    assert until(lambda: panel.bar.value() > 0)
    choose(panel, "embedded")
    dock.set_example(square)
    dock.run()
    assert until(lambda: not dock.running)
    assert dock.result_layer.featureCount() == 1
    assert panel.fetching and panel.bar.isVisible()
    panel.cancel()
    assert until(lambda: not panel.fetching)


@pytest.mark.parametrize("how", ["button", "task manager"])
def test_cancel(panel, dock, until, told, how):
    again(dock, until, told, download={"steps": 1000, "pause": 0.05})
    choose(panel, "vit_b")
    panel.download()
    assert until(lambda: panel.bar.value() > 0)
    pid = dock.engine.pid
    if how == "button":
        panel.cancel_button.click()
    else:
        tasks()[0].cancel()
    assert until(lambda: not panel.fetching)
    assert "What has arrived is kept" in panel.note
    assert panel.download_button.isEnabled() and not panel.bar.isVisible()
    assert until(lambda: len(told.cancelled()) == 1)  # the engine heard it
    assert dock.engine.pid == pid
    assert panel.missing()


def test_a_failure_is_one_sentence_and_leaves_it_to_be_tried_again(panel, dock, until, told, iface):
    from qgis.core import Qgis

    sentence = "models.invalid sent another file than the published one."
    error = {"message": sentence, "user_fault": True, "details": ""}
    again(dock, until, told, download={"error": error})
    choose(panel, "vit_b")
    panel.download_button.click()
    assert until(lambda: not panel.fetching)
    assert iface.messages() == [(Qgis.MessageLevel.Warning, sentence)]
    assert panel.note == sentence
    assert panel.download_button.isEnabled() and panel.missing()


def test_a_file_that_the_user_has(panel, until, told, tmp_path, monkeypatch):
    from qgis.PyQt.QtWidgets import QFileDialog

    path = str(tmp_path / "sam ä.pth")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (path, ""))
    choose(panel, "vit_h")
    panel.import_button.click()
    assert panel.fetching
    assert until(lambda: not panel.fetching)
    assert told.requests() == [{"model": "vit_h", "file": path}]
    assert panel.missing() == ""
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))  # the dialog was left
    choose(panel, "vit_b")
    panel.import_button.click()
    assert not panel.fetching


def test_the_choice_is_remembered(panel, dock, until, told):
    from exemplar.ui import settings

    choose(panel, "vit_h")
    assert settings.model() == "vit_h"
    again(dock, until, told)
    assert panel.model() == "vit_h"
    settings.set_model("gone")
    panel.model_box.clear()
    panel.fill({"models": [LARGE, {"name": "embedded", "title": "Embedded", "default": True}]})
    assert panel.model() == "embedded"  # what is no longer offered gives way to the default


def test_an_engine_killed_for_another_job_takes_the_download_up_again(
    panel, dock, square, raster, until, told, monkeypatch
):
    monkeypatch.setattr("exemplar.ui.engine.client.CANCEL_SECONDS", 0.2)
    again(dock, until, told, deaf=True, steps=1000, pause=0.05, download={"steps": 1000, "pause": 0.05})
    choose(panel, "vit_b")
    panel.download()
    assert until(lambda: panel.bar.value() > 0)
    choose(panel, "embedded")
    dock.set_example(square)
    dock.run()
    assert until(lambda: dock.run_step.note.startswith("tile"))
    told()  # the next engine's habits
    dock.cancel()
    assert until(lambda: not panel.fetching)
    choose(panel, "vit_b")
    assert panel.missing() == ""


def test_unloading_in_the_middle_leaves_nothing(panel, dock, plugin, until, told, alive):
    again(dock, until, told, download={"steps": 1000, "pause": 0.05})
    choose(panel, "vit_b")
    panel.download()
    assert until(lambda: panel.bar.value() > 0)
    pid = dock.engine.pid
    plugin.unload()
    assert not alive(pid)
    assert until(lambda: not tasks())


def test_the_engine_is_started_with_the_proxy(proxied, dock, until, told):
    proxied(proxyHost="proxy", proxyPort="8080")
    again(dock, until, told)
    assert told.environ()["https_proxy"] == "http://proxy:8080"


def test_a_proxy_that_was_corrected_counts_for_the_next_download(proxied, panel, dock, until, told):
    error = {"message": "No way to models.invalid.", "user_fault": True, "details": ""}
    proxied(proxyHost="wrong", proxyPort="8080")
    again(dock, until, told, download={"error": error})
    choose(panel, "vit_b")
    told()
    pid = dock.engine.pid
    panel.download()
    assert until(lambda: not panel.fetching)
    assert dock.engine.pid == pid and panel.missing()  # the same proxy, the same engine
    proxied(proxyHost="right", proxyPort="8080")
    panel.download()
    assert until(lambda: not panel.fetching)
    assert panel.missing() == ""
    assert told.environ()["https_proxy"] == "http://right:8080"
    pid = dock.engine.pid
    proxied(proxyHost="another")
    choose(panel, "vit_h")
    panel.import_file("/models/sam.pth")  # goes through no proxy
    assert until(lambda: not panel.fetching)
    assert dock.engine.pid == pid


def test_a_job_under_way_is_not_ended_for_a_new_proxy(proxied, panel, dock, square, raster, until, told):
    again(dock, until, told, steps=1000, pause=0.05)
    dock.set_example(square)
    dock.run()
    assert until(lambda: dock.run_step.note.startswith("tile"))
    pid = dock.engine.pid
    proxied(proxyHost="right", proxyPort="8080")
    choose(panel, "vit_b")
    panel.download()
    assert until(lambda: not panel.fetching)
    assert dock.running and dock.engine.pid == pid
    dock.cancel()
