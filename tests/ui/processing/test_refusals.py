"""``exemplar:detect`` where it can't work, or is not to go on: one clear sentence, and no engine left."""

from __future__ import annotations

import pytest


class TestRefusal:
    @pytest.fixture
    def problem(self, registry, new_context):
        def ask(parameters):
            algorithm = registry.algorithmById("exemplar:detect")
            fine, sentence = algorithm.checkParameterValues(parameters, new_context())
            assert not fine
            return sentence

        return ask

    def test_a_raster_that_is_no_file(self, problem, given):
        from qgis.core import QgsProject, QgsRasterLayer

        layer = QgsRasterLayer("type=xyz&url=http://127.0.0.1/{z}/{x}/{y}.png", "Web", "wms")
        assert layer.isValid()
        QgsProject.instance().addMapLayer(layer)
        for name in ("RASTER", "EXAMPLE_RASTER"):
            sentence = problem({**given, name: layer.id()})
            assert "“Web” is not a file, but comes from the web or from a database" in sentence

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            ("RASTER", "/nowhere/image.tif", "/nowhere/image.tif"),
            ("EXTENT", "0,1,0,1 [EPSG:32633]", "The extent does not lie on “Image”"),
            ("EXTENT", "500010,500010,5399970,5399990 [EPSG:32633]", "The extent does not lie on “Image”"),
            ("TARGET", "1", "TARGET"),  # positions would change their meaning with the list
            ("RUNS", 0, "RUNS"),
            ("MIN_SCORE", 2, "MIN_SCORE"),
        ],
    )
    def test_a_value_that_cannot_be_used(self, problem, given, name, value, sentence):
        assert sentence in problem({**given, name: value})

    @pytest.mark.parametrize(
        ("shapes", "sentence"),
        [
            ([], "There is no example polygon"),
            (["POLYGON((0 0, 5 0, 5 5, 0 0))"], "The example does not lie on “Image”"),
            (["POLYGON((500010 5399980, 500014 5399984, 500014 5399980, 500010 5399984, 500010 5399980))"],
             "crosses itself"),
            (["POLYGON((500010 5399980, 500014 5399984, 500014 5399980, 500010 5399980))"] * 11,
             "11 polygons are too many"),
        ],
    )  # fmt: skip
    def test_an_example_that_cannot_be_used(self, problem, given, shapes, sentence):
        from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsVectorLayer

        layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "Bad", "memory")
        for shape in shapes:
            feature = QgsFeature()
            feature.setGeometry(QgsGeometry.fromWkt(shape))
            layer.dataProvider().addFeature(feature)
        QgsProject.instance().addMapLayer(layer)
        assert sentence in problem({**given, "EXAMPLE": layer.id()})

    @pytest.fixture
    def example_file(self, polygons, tmp_path):
        """The first example alone, as the layer ``example`` of a GeoPackage."""
        from qgis.core import QgsProject, QgsVectorFileWriter, QgsVectorLayer

        path = str(tmp_path / "drawn.gpkg")
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.layerName = "example"
        polygons.selectByIds([next(polygons.getFeatures()).id()])
        options.onlySelectedFeatures = True
        context = QgsProject.instance().transformContext()
        QgsVectorFileWriter.writeAsVectorFormatV3(polygons, path, context, options)
        layer = QgsVectorLayer(f"{path}|layername=example", "Drawn", "ogr")
        assert layer.isValid()
        QgsProject.instance().addMapLayer(layer)
        return layer, path

    def test_an_output_that_would_replace_an_input(self, problem, given, example_file, raster):
        layer, path = example_file
        asked = {**given, "EXAMPLE": layer.id()}
        for output in (path, f"ogr:dbname='{path}' table=\"example\" (geom)"):
            assert f"“Drawn” lies in {path} and would be lost" in problem({**asked, "OUTPUT": output})
        assert "“Image” lies in" in problem({**asked, "OUTPUT": raster.source()})

    def test_an_output_in_a_folder_that_is_not_there(self, problem, given, tmp_path):
        sentence = problem({**given, "OUTPUT": str(tmp_path / "nowhere" / "found.gpkg")})
        assert f"There is no folder {tmp_path / 'nowhere'}: make it first" in sentence

    def test_another_table_beside_the_example_is_fine(self, run, given, example_file):
        from qgis.core import QgsVectorLayer

        layer, path = example_file
        run(
            "detect",
            {**given, "EXAMPLE": layer.id(), "OUTPUT": f"ogr:dbname='{path}' table=\"found\" (geom)"},
        )
        for name in ("example", "found"):
            assert QgsVectorLayer(f"{path}|layername={name}", name, "ogr").featureCount() == 1

    def test_without_a_check_before_the_run_refuses(self, registry, given, new_context, pids):
        """In a model nobody calls checkParameterValues."""
        from qgis.core import QgsProcessingFeedback

        feedback = QgsProcessingFeedback(False)
        algorithm = registry.algorithmById("exemplar:detect")
        _, ok = algorithm.run({**given, "EXTENT": "0,1,0,1 [EPSG:32633]"}, new_context(), feedback)
        assert not ok
        assert "The extent does not lie on “Image”." in feedback.textLog()
        assert pids == []


class TestTrouble:
    def test_the_engines_sentence_is_the_exception(self, run, given, requests, pids, alive):
        from qgis.core import QgsProcessingException, QgsProcessingFeedback

        requests.habits(error={"message": "Too small.", "user_fault": False, "details": "Traceback: here"})
        feedback = QgsProcessingFeedback(False)
        with pytest.raises(QgsProcessingException) as caught:
            run("detect", {**given, "EXTENT": None}, feedback)
        assert str(caught.value) == "Too small."
        assert "Traceback: here" in feedback.textLog()
        assert requests()[0]["extent"] is None  # the whole raster
        assert len(pids) == 1 and not alive(pids[0])

    def test_a_killed_engine(self, run, given, habits):
        from qgis.core import QgsProcessingException

        habits(die_at=1)
        with pytest.raises(QgsProcessingException, match="probably because memory ran out"):
            run("detect", given)

    def test_no_environment(self, run, given, monkeypatch):
        from qgis.core import QgsProcessingException

        monkeypatch.setenv("EXEMPLAR_ENGINE_PYTHON", "/nowhere/python")
        with pytest.raises(QgsProcessingException, match="is not there: /nowhere/python"):
            run("detect", given)

    @pytest.fixture
    def background(self, registry, given, new_context, habits, until, pids):
        """A long run in a background thread, as the toolbox starts it; gives what tells how it goes on."""
        from qgis.core import QgsApplication, QgsProcessingAlgRunnerTask, QgsProcessingFeedback

        habits(steps=1000, pause=0.05)
        context, feedback = new_context(), QgsProcessingFeedback(False)
        algorithm = registry.createAlgorithmById("exemplar:detect")
        task = QgsProcessingAlgRunnerTask(algorithm, given, context, feedback)
        ended = []
        task.executed.connect(lambda ok, results: ended.append((ok, results)))
        QgsApplication.taskManager().addTask(task)
        assert until(lambda: "tile 1" in feedback.textLog()), feedback.textLog()
        yield feedback, ended
        feedback.cancel()
        assert until(lambda: ended)

    def test_cancel(self, background, until, pids, alive):
        feedback, ended = background
        assert alive(pids[0])
        feedback.cancel()
        assert until(lambda: ended, 5)
        assert ended[0][1] == {}
        assert not alive(pids[0])

    def test_unloading_ends_a_run_under_way(self, background, until, pids, alive):
        from exemplar.ui.processing import run_engine

        feedback, ended = background
        run_engine.end_all()
        assert until(lambda: ended, 5)
        assert ended[0][0] is False
        assert "The engine was ended before the work was done" in feedback.textLog()
        assert not alive(pids[0])
