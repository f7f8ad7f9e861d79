"""Warnings are readable in QGIS's themes, the dark ones too."""

from __future__ import annotations

import re

import pytest


def red_of(style):
    from qgis.PyQt.QtGui import QColor

    return QColor(re.search("#[0-9a-f]{6}", style)[0])


@pytest.mark.parametrize(
    ("ground", "least"),
    [("#ffffff", 4.5), ("#efefef", 4.5), ("#323232", 4.5), ("#000000", 4.5), ("#727272", 4.2)],
)
def test_the_red_of_a_warning(qgis_app, ground, least):
    """On the last one, *Blend of Gray*, black has 4.4 and white 4.8."""
    from exemplar.ui.dock.note import contrast, warning_style
    from qgis.PyQt.QtGui import QColor

    colour = red_of(warning_style(QColor(ground)))
    assert contrast(colour, QColor(ground)) >= least
    assert colour.red() > colour.blue()


def test_contrast_is_that_of_wcag(qgis_app):
    from exemplar.ui.dock.note import contrast
    from qgis.PyQt.QtGui import QColor

    assert contrast(QColor("white"), QColor("black")) == pytest.approx(21)
    assert contrast(QColor("#777777"), QColor("white")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("theme", "ground", "least"), [("Night Mapping", "#323232", 4.5), ("Blend of Gray", "#727272", 4.2)]
)
def test_a_warning_follows_the_theme(dock, until, theme, ground, least):
    """The labels of these themes are transparent: what counts is what lies behind them."""
    from exemplar.ui.dock.note import background_of, contrast
    from qgis.core import QgsApplication
    from qgis.PyQt.QtGui import QColor
    from qgis.PyQt.QtWidgets import QApplication

    if theme not in QgsApplication.uiThemes():
        pytest.skip("this QGIS comes without the theme")
    step = dock.where_step
    step.show_state("Something is wrong.", filled=True)
    light, palette = step._note.styleSheet(), QApplication.palette()
    try:
        QgsApplication.setUITheme(theme)
        assert until(lambda: step._note.styleSheet() != light)
        assert contrast(red_of(step._note.styleSheet()), QColor(ground)) >= least
    finally:
        QgsApplication.setUITheme("default")
        QApplication.setPalette(palette)  # which QGIS leaves as the theme made it
    step.show_state("Something is wrong.", filled=True)  # on a ground that Qt partly leaves as it was
    assert contrast(red_of(step._note.styleSheet()), background_of(step._note)) >= least
    step.show_state("", filled=True)
    assert not step._note.isVisible()


def test_long_sentences_leave_no_empty_space(dock, iface, until):
    from qgis.PyQt.QtWidgets import QScrollArea

    area = dock.findChild(QScrollArea)
    sentence = "A sentence of some length that says what is wrong with the image and what to do. " * 3
    dock.where_step.show_state(sentence, filled=True)
    iface.resize(900, 1100)
    assert until(lambda: area.viewport().height() > 300)
    until(lambda: False, 0.2)
    body = area.widget()
    needed = body.layout().heightForWidth(body.width())
    assert body.height() <= max(needed, area.viewport().height()) + 40
    assert dock.where_step._note.height() < 0.5 * area.viewport().height()
