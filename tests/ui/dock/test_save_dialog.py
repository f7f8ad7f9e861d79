"""*Save as…*: the file dialog and the question about a file that is there."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_the_dialog_asks_about_the_name_with_its_ending(dock, tmp_path, monkeypatch, there, answer):
    """Where the user types no ending, the dialog has not asked about the file that will be written."""
    from exemplar.ui.dock import save_dialog
    from exemplar.ui.dock.save_dialog import QFileDialog, QMessageBox

    if there:
        (tmp_path / "found.gpkg").touch()
    asked = []
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "found"), "GeoPackage (*.gpkg)")
    )
    button = getattr(QMessageBox.StandardButton, answer)
    monkeypatch.setattr(QMessageBox, "question", lambda *words: asked.append(words[-1]) or button)
    path = save_dialog.ask_where(dock, "Buildings")
    assert path == ("" if there and answer == "No" else str(tmp_path / "found.gpkg"))
    assert len(asked) == there


@pytest.mark.parametrize(
    ("typed", "chosen", "written"),
    [
        ("detections.gpkg", "ESRI Shapefile (*.shp)", "detections.shp"),
        ("roofs.SHP", "GeoPackage (*.gpkg)", "roofs.gpkg"),
        ("roofs.2024", "GeoPackage (*.gpkg)", "roofs.2024.gpkg"),
    ],
)
def test_the_chosen_format_decides_the_ending(dock, tmp_path, monkeypatch, typed, chosen, written):
    """Not all dialogs exchange the suggested ending when another format is chosen."""
    from exemplar.ui.dock import save_dialog

    answer = (str(tmp_path / typed), chosen)
    monkeypatch.setattr(save_dialog.QFileDialog, "getSaveFileName", lambda *_, **__: answer)
    assert save_dialog.ask_where(dock, "Roofs") == str(tmp_path / written)


def test_a_name_that_is_free_is_suggested(dock, tmp_path, monkeypatch):
    from exemplar.ui import settings
    from exemplar.ui.dock import save_dialog

    suggested = []
    monkeypatch.setattr(
        save_dialog.QFileDialog, "getSaveFileName", lambda *words, **_: suggested.append(words[2]) or ("", "")
    )
    settings.set_save_folder(str(tmp_path))
    save_dialog.ask_where(dock, "Roofs")
    (tmp_path / "detections.gpkg").touch()
    save_dialog.ask_where(dock, "Roofs")
    assert suggested == [str(tmp_path / "detections.gpkg"), str(tmp_path / "detections2.gpkg")]


@pytest.mark.parametrize(("ending", "verb"), [("shp", "Replace"), ("gpkg", "Add “Roofs” to it")])
def test_the_question_says_what_happens_to_a_file_that_is_there(dock, tmp_path, monkeypatch, ending, verb):
    from exemplar.ui.dock import save_dialog

    (tmp_path / f"found.{ending}").touch()
    answer = (str(tmp_path / f"found.{ending}"), "")
    monkeypatch.setattr(save_dialog.QFileDialog, "getSaveFileName", lambda *_, **__: answer)
    asked = []
    no = save_dialog.QMessageBox.StandardButton.No
    monkeypatch.setattr(save_dialog.QMessageBox, "question", lambda *words: asked.append(words[-1]) or no)
    assert save_dialog.ask_where(dock, "Roofs") == ""
    assert verb in asked[0]
