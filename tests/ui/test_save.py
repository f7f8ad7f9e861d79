"""*Save as…*: into which file and which of its tables."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["häuser.shp", "found.gpkg", "bare"])
def test_save_as(run, ready, tmp_path, name, raster):
    from qgis.core import QgsVectorLayer

    layer = run()
    path = tmp_path / name
    assert ready.save_as(str(path))
    written = path if path.suffix else path.with_suffix(".gpkg")
    saved = QgsVectorLayer(str(written), "saved", "ogr")
    assert saved.featureCount() == 1
    assert saved.crs() == raster.crs()
    assert layer.source().split("|")[0] == str(written)  # the layer lives on when QGIS closes
    if written.suffix == ".shp":
        assert path.with_suffix(".prj").exists()
        assert path.with_suffix(".cpg").read_text().strip() == "UTF-8"
        assert "fid" not in saved.fields().names()
    assert ready.save_as(str(path))  # again, onto itself
    assert layer.featureCount() == 1


def test_a_file_that_cannot_be_written_gets_a_sentence(run, ready, tmp_path, iface):
    run()
    assert not ready.save_as(str(tmp_path / "no" / "such" / "folder" / "x.shp"))
    assert any("could not be written" in text for _level, text in iface.messages())


def test_a_removed_layer_can_no_longer_be_saved(run, ready):
    from qgis.core import QgsProject

    QgsProject.instance().removeMapLayer(run())
    assert ready.result_layer is None
    assert not ready.run_step.save_button.isEnabled()


def test_a_run_in_a_geopackage_that_is_there_leaves_its_other_layers(run, ready, tmp_path, raster):
    from qgis.core import QgsVectorLayer

    path = tmp_path / "results.gpkg"
    first = run()
    first.setName("Buildings")
    assert ready.save_as(str(path))
    second = run()
    second.setName("Vehicles")
    for _ in range(2):  # again: its own layer is replaced
        assert ready.save_as(str(path))
    everything = QgsVectorLayer(str(path), "all", "ogr")
    names = {part.split("!!::!!")[1] for part in everything.dataProvider().subLayers()}
    assert names == {"results", "Vehicles"}
    assert second.source() == f"{path}|layername=Vehicles"
    assert first.featureCount() == second.featureCount() == 1


def test_saving_while_editing_saves_the_edits_and_moves_the_layer(run, ready, tmp_path):
    from qgis.core import QgsVectorLayer

    layer, path = run(), tmp_path / "edited.gpkg"
    assert layer.startEditing() and layer.deleteFeature(next(layer.getFeatures()).id())
    assert ready.save_as(str(path))
    assert QgsVectorLayer(str(path), "saved", "ogr").featureCount() == 0
    assert layer.source().split("|")[0] == str(path)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_the_dialog_asks_about_the_name_with_its_ending(dock, tmp_path, monkeypatch, there, answer):
    """Where the user types no ending, the dialog has not asked about the file that will be written."""
    from exemplar.ui import save_dialog
    from exemplar.ui.save_dialog import QFileDialog, QMessageBox

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


def test_three_runs_of_one_title_in_one_file_are_all_kept(run, ready, tmp_path):
    """Only the layer's own table may be written over."""
    from osgeo import ogr

    path, found = tmp_path / "town.gpkg", []
    for _ in range(3):
        found.append(run())
        assert ready.save_as(str(path))
    title = "Buildings (random-point)"
    names = ["town", title, f"{title} 2"]
    assert [layer.source().split("|layername=")[1] for layer in found] == names
    assert sorted(layer.GetName() for layer in ogr.Open(str(path))) == sorted(names)
    assert [layer.featureCount() for layer in found] == [1, 1, 1]
    fourth = run()
    fourth.setName(title.upper())  # to SQLite the same name
    assert ready.save_as(str(path))
    assert fourth.source().endswith(f"{title.upper()} 3")


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
    from exemplar.ui import save_dialog

    answer = (str(tmp_path / typed), chosen)
    monkeypatch.setattr(save_dialog.QFileDialog, "getSaveFileName", lambda *_, **__: answer)
    assert save_dialog.ask_where(dock, "Roofs") == str(tmp_path / written)


def test_a_name_that_is_free_is_suggested(dock, tmp_path, monkeypatch):
    from exemplar.ui import save_dialog, settings

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
    from exemplar.ui import save_dialog

    (tmp_path / f"found.{ending}").touch()
    answer = (str(tmp_path / f"found.{ending}"), "")
    monkeypatch.setattr(save_dialog.QFileDialog, "getSaveFileName", lambda *_, **__: answer)
    asked = []
    no = save_dialog.QMessageBox.StandardButton.No
    monkeypatch.setattr(save_dialog.QMessageBox, "question", lambda *words: asked.append(words[-1]) or no)
    assert save_dialog.ask_where(dock, "Roofs") == ""
    assert verb in asked[0]


def test_a_shapefile_that_another_layer_shows_is_not_replaced(run, ready, tmp_path, iface):
    """That layer would show other features, and write its own edits into them."""
    from qgis.core import QgsProject

    path = tmp_path / "found.shp"
    first = run()
    assert ready.save_as(str(path))
    assert first.startEditing() and first.deleteFeature(next(first.getFeatures()).id())
    second = run()
    assert not ready.save_as(str(path))
    assert any("shows" in text and "another name" in text for _level, text in iface.messages())
    assert first.rollBack() and first.featureCount() == 1
    QgsProject.instance().removeMapLayer(first)
    assert ready.save_as(str(path)) and second.source() == str(path)


def test_an_earlier_result_is_named_as_one(run, ready, habits, tmp_path):
    layer = run()
    assert ready.run_step.save_button.text() == "Save as…"
    habits(count=0)
    ready.engine.stop()
    run()
    assert "Lower “Least score”" in ready.run_step.note
    assert ready.run_step.save_button.text() == "Save earlier result as…"
    assert layer.name() in ready.run_step.save_button.toolTip()
    assert ready.save_as(str(tmp_path / "found.gpkg"))  # it is not lost
    habits()
    ready.engine.stop()
    run()
    assert ready.run_step.save_button.text() == "Save as…"
