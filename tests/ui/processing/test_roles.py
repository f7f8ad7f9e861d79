"""``exemplar:detect`` with examples of what is not to be found: the example layer's column ``role``."""

from __future__ import annotations

import pytest


@pytest.fixture
def roles_sent(monkeypatch):
    """Role and area of the shapes in the example files that went to the engine."""
    from exemplar.ui.processing.run_engine import RunEngine
    from qgis.core import QgsVectorLayer

    sent, detect = [], RunEngine.detect

    def look(self, request, *others):
        layer = QgsVectorLayer(request.example, "example", "ogr")
        sent.extend((f["role"], round(f.geometry().area())) for f in layer.getFeatures())
        return detect(self, request, *others)

    monkeypatch.setattr(RunEngine, "detect", look)
    return sent


@pytest.fixture
def examples(raster):
    """A layer of squares of 4, 5 and 6 m with a column of this name and these values."""
    from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsRectangle, QgsVectorLayer

    def make(column, values):
        layer = QgsVectorLayer(f"Polygon?crs=EPSG:32633&field={column}:string", "Polygons", "memory")
        for number, value in enumerate(values):
            feature = QgsFeature(layer.fields())
            x = 500010 + 8 * number
            feature.setGeometry(
                QgsGeometry.fromRect(QgsRectangle(x, 5399980, x + 4 + number, 5399984 + number))
            )
            feature[column] = value
            layer.dataProvider().addFeature(feature)
        layer.updateExtents()
        QgsProject.instance().addMapLayer(layer)
        return layer.id()

    return make


def test_without_the_column_all_are_examples(run, given, roles_sent):
    run("detect", given)
    assert roles_sent == [("positive", 16), ("positive", 36)]


@pytest.mark.parametrize("column", ["role", "ROLE"])
def test_the_column_says_what_is_not_meant(run, given, examples, roles_sent, column):
    run("detect", {**given, "EXAMPLE": examples(column, ["Positive", " negative", None])})
    assert roles_sent == [("positive", 16), ("positive", 36), ("negative", 25)]


def test_another_column_can_be_named_or_none(run, given, examples, roles_sent):
    layer = examples("kind", ["", "NEGATIVE", "positive"])
    run("detect", {**given, "EXAMPLE": layer, "ROLE": "kind"})
    assert roles_sent == [("positive", 16), ("positive", 36), ("negative", 25)]
    roles_sent.clear()
    run("detect", {**given, "EXAMPLE": layer, "ROLE": ""})
    assert [role for role, _ in roles_sent] == ["positive"] * 3


@pytest.mark.parametrize(
    ("values", "named", "sentence"),
    [
        (["positive", "roof"], "role", "“role” says “roof”: it has to be positive, negative or empty."),
        (["negative", "negative"], "role", "All polygons are negative"),
        (["positive", "negative"], "kind", "The examples have no column “kind”."),
    ],
)
def test_roles_that_cannot_be_used_get_a_sentence(
    registry, new_context, given, examples, values, named, sentence
):
    algorithm = registry.algorithmById("exemplar:detect")
    parameters = {**given, "EXAMPLE": examples("role", values), "ROLE": named}
    fine, problem = algorithm.checkParameterValues(parameters, new_context())
    assert not fine and sentence in problem
