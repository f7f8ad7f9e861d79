"""Foreign text is shown as it is: a name that looks like HTML loads no file and hides no word."""

from __future__ import annotations

import pytest

PICTURE = '<img src="{file}"> & <b>roof</b>'


def loads_a_file(text):
    """True if Qt, showing a text whose format is not said, would look for a picture."""
    from qgis.PyQt.QtGui import QTextDocument

    document = QTextDocument()
    document.setHtml(text)
    return any(form.isImageFormat() for form in document.allFormats())


def reads(text):
    """What a person reads of it."""
    from qgis.PyQt.QtGui import QTextDocument

    document = QTextDocument()
    document.setHtml(text)
    return document.toPlainText()


@pytest.fixture
def hostile(raster, tmp_path):
    """A name that would load a file; the raster has it."""
    from qgis.PyQt.QtGui import QColor, QImage

    picture = QImage(4, 4, QImage.Format.Format_RGB32)
    picture.fill(QColor("red"))
    assert picture.save(str(tmp_path / "seen.png"))
    name = PICTURE.format(file=tmp_path / "seen.png")
    assert loads_a_file(name)
    raster.setName(name)
    return name


def texts(widget):
    """All that a widget's children show: labels whose format is left to Qt, and tooltips."""
    from qgis.gui import QgsMapLayerComboBox
    from qgis.PyQt.QtCore import Qt
    from qgis.PyQt.QtWidgets import QComboBox, QLabel, QWidget

    for child in [widget, *widget.findChildren(QWidget)]:
        yield child.toolTip()
        if isinstance(child, QLabel) and child.textFormat() != Qt.TextFormat.PlainText:
            yield child.text()
        if isinstance(child, QComboBox) and not isinstance(child, QgsMapLayerComboBox):
            for row in range(child.count()):
                yield child.itemData(row, Qt.ItemDataRole.ToolTipRole) or ""


def test_no_text_of_the_dock_loads_a_file(hostile, ready, run, habits, until):
    habits(
        error={"message": f"{hostile} has no band 7.", "user_fault": True, "details": ""},
        models=[{"name": "evil", "title": hostile, "licence": hostile, "size": 5, "memory": 5,
                 "suits": hostile, "here": False, "file": hostile, "address": hostile}],
    )  # fmt: skip
    ready.engine_start.use_default()
    assert until(lambda: ready.models_panel.model_box.count() == 2)
    ready.models_panel.model_box.setCurrentIndex(1)
    ready.example_step._note.say(hostile)
    ready.where_step.show_state(f"“{hostile}” is not a file", filled=True)
    ready.run_step.show_state(
        missing="", running=False, problem=hostile, note="", savable=hostile, stale=False
    )
    ready.engine_problem.show_state(hostile, commands=hostile, chosen=True)
    shown = list(texts(ready))
    assert [text for text in shown if loads_a_file(text)] == []
    assert sum(hostile in reads(text) for text in shown) >= 5  # they are there, and to be read
    assert hostile in ready.models_panel.note and hostile in ready.where_step.note


def test_the_list_of_images_shows_names_as_they_are(hostile, ready, until):
    """The tooltip that QGIS's own model gives would load the file."""
    from qgis.PyQt.QtCore import QCoreApplication, QEvent
    from qgis.PyQt.QtGui import QHelpEvent
    from qgis.PyQt.QtWidgets import QToolTip

    ready.show()
    box = ready.where_step.raster_box
    box.showPopup()
    view = box.view()
    at = view.visualRect(view.model().index(box.currentIndex(), 0)).center()
    help_ = QHelpEvent(QEvent.Type.ToolTip, at, view.viewport().mapToGlobal(at))
    QCoreApplication.sendEvent(view.viewport(), help_)
    shown = QToolTip.text()
    box.hidePopup()
    QToolTip.hideText()
    assert hostile in reads(shown) and not loads_a_file(shown)


def test_the_message_bar_shows_names_as_they_are(hostile, iface, qgis_app):
    from exemplar.ui.errors import EngineError
    from exemplar.ui.messages import Messages

    messages = Messages(iface)
    messages.warn(f"“{hostile}” is not a file.")
    messages.failed(EngineError(hostile))
    messages.failed(EngineError(hostile, user_fault=True))
    messages.saved(f"/home/{hostile}/found.gpkg")
    shown = [text for _level, text in iface.messages()]
    assert len(shown) == 4
    assert [text for text in shown if loads_a_file(text)] == []
    assert all(hostile in reads(text) for text in shown)


def test_the_log_panel_shows_names_and_tracebacks_as_they_are(hostile, iface, qgis_app, until):
    from exemplar.ui.errors import EngineError
    from exemplar.ui.messages import Messages
    from qgis.gui import QgsMessageLogViewer
    from qgis.PyQt.QtWidgets import QPlainTextEdit

    viewer = QgsMessageLogViewer()
    Messages(iface).log(EngineError(hostile, 'File "a.py", line 1, in <module>'))

    def log():
        return "".join(box.toPlainText() for box in viewer.findChildren(QPlainTextEdit))

    assert until(lambda: "in <module>" in log())
    assert hostile in log()


def test_the_question_before_a_file_is_replaced(hostile, qgis_app, tmp_path, monkeypatch):
    from exemplar.ui.dock import save_dialog

    asked = []

    def question(_parent, _title, text):
        asked.append(text)
        return save_dialog.QMessageBox.StandardButton.No

    monkeypatch.setattr(save_dialog.QMessageBox, "question", question)
    assert not save_dialog._may_write(None, str(tmp_path / "found.gpkg"), hostile)
    assert not loads_a_file(asked[0]) and hostile in reads(asked[0])


def test_what_processing_says_of_a_layer(hostile, raster, plugin):
    """QGIS shows it in a message box."""
    from qgis.core import (
        QgsApplication,
        QgsCoordinateReferenceSystem,
        QgsProcessingContext,
        QgsProject,
        QgsRasterLayer,
    )

    web = QgsRasterLayer("type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png", hostile, "wms")
    assert web.isValid() and isinstance(web.crs(), QgsCoordinateReferenceSystem)
    QgsProject.instance().addMapLayer(web)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    algorithm = QgsApplication.processingRegistry().algorithmById("exemplar:edges")
    fine, said = algorithm.checkParameterValues({"RASTER": web.id(), "OUTPUT": "TEMPORARY_OUTPUT"}, context)
    assert not fine
    assert not loads_a_file(said) and hostile in reads(said)


def test_a_plain_text_stays_as_it_is():
    from exemplar.ui.plain_text import as_html, as_plain

    assert as_plain("It's “roof & wall”, 5 > 3") == "It's “roof & wall”, 5 > 3"
    assert as_html("""It's "5 < 6" & more""") == "It's &quot;5 &lt; 6&quot; &amp; more"
