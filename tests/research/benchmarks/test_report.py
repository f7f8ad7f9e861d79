"""The results page, from measurements of a tiny place with random weights."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
from affine import Affine

from core.errors import ExemplarError
from research.benchmarks import accuracy, places, report

PIXEL = 0.25


@pytest.fixture
def data(make_raster, write_polygons, tmp_path):
    """A folder that holds one place, kampala, with three bright squares."""
    rng = np.random.default_rng(2)
    image = rng.integers(40, 90, (3, 256, 256), np.uint8)
    transform = Affine(PIXEL, 0, 500_000, 0, -PIXEL, 5_400_000)
    outlines = []
    for column, row in ((30, 40), (150, 60), (90, 170)):
        image[:, row : row + 48, column : column + 48] = 220
        (x0, y1), (x1, y0) = transform * (column, row), transform * (column + 48, row + 48)
        outlines.append(shapely.Polygon([(x0, y0), (x1, y0), (x1, y1), (x0 + 1, y1), (x0, y1 - 1)]))
    make_raster(image, "kampala.tif", transform=transform)
    write_polygons(outlines, "kampala_truth.gpkg")
    return tmp_path


def test_the_page_is_written_and_kept_figures_serve_again(data, embedded_checkpoint, tmp_path, monkeypatch):
    page, keep = tmp_path / "results.md", tmp_path / "kept"
    asked = (
        f"--data {data} --examples 1 --objects 1 --runs 2 --checkpoint {embedded_checkpoint} --output {page}"
    )
    asked += f" --strategies random-point everything nothing --keep {keep}"

    assert report.main(asked.split()) == 0
    first = page.read_text()
    page.unlink()

    def refuse(_):
        raise AssertionError("measured again")

    monkeypatch.setattr(accuracy, "run", refuse)
    assert report.main(asked.split()) == 0

    assert first == page.read_text()
    assert "| `random-point` | 1 | 0.693 |" in first
    assert "## Buildings, Kampala\nCoverage 0.10" in first
    assert "python -m research.benchmarks.accuracy --raster" in first
    assert "| Buildings, Kampala | 1 |" in first
    assert str(keep) not in first
    assert len(list(keep.glob("*.json"))) == 2


def test_other_arguments_are_measured_anew(tmp_path):
    made = []

    def measure():
        made.append(len(made))
        return {"n": made[-1]}

    assert report.kept(tmp_path, "a", ["--seed", "0"], measure) == {"n": 0}
    assert report.kept(tmp_path, "a", ["--seed", "0"], measure) == {"n": 0}
    assert report.kept(tmp_path, "a", ["--seed", "1"], measure) == {"n": 1}
    assert report.kept(None, "a", ["--seed", "1"], measure) == {"n": 2}
    assert json.loads((tmp_path / "a.json").read_text())["arguments"] == ["--seed", "1"]


def test_what_other_code_or_weights_measured_is_not_taken(tmp_path, monkeypatch):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"one")
    monkeypatch.setattr(report, "weights_file", lambda *_: weights)
    options = SimpleNamespace(model="embedded", checkpoint=None)
    versions = {report.version(options)}
    weights.write_bytes(b"other")
    versions.add(report.version(options))
    (tmp_path / "causes.py").write_text("# counts otherwise")
    monkeypatch.setattr(report, "__file__", str(tmp_path / "report.py"))
    versions.add(report.version(options))
    assert len(versions) == 3


def test_long_lists_of_files_are_shortened():
    arguments = ["--raster", "a.tif", "b.tif", "c.tif", "--truth", "a.gpkg", "--target", "vehicle"]

    assert report.command_line("accuracy", arguments) == (
        "python -m research.benchmarks.accuracy --raster a.tif … --truth a.gpkg --target vehicle"
    )


def test_a_folder_without_places_is_refused(tmp_path):
    with pytest.raises(ExemplarError, match="holds no"):
        places.places(tmp_path, 10)


def test_one_place_of_several_can_be_measured_alone(data, capsys):
    (data / "banepa.tif").symlink_to(data / "kampala.tif")
    given = SimpleNamespace(data=data, scenes=None, examples=2, tiles=None, only=["banepa"], keep=data)
    assert [place.name for place in places.asked_places(given)] == ["buildings_banepa"]
    given.only = None
    assert len(places.asked_places(given)) == 2
    assert report.main(["--data", str(data), "--only", "banepa", "nowhere"]) == 2
    assert "no place of the name nowhere" in capsys.readouterr().err
    assert report.main(["--data", str(data), "--only", "banepa"]) == 2
    assert "give it --keep" in capsys.readouterr().err


def test_clicks_are_told_on_unseen_scenes_and_by_resolution(data, embedded_checkpoint, tmp_path, capsys):
    pytest.importorskip("cv2")
    from research.training.unseen_scenes import FIRST_SEED, write_scene

    scenes, page = tmp_path / "scenes", tmp_path / "results.md"
    asked = ["--data", str(data), "--scenes", str(scenes), "--objects", "2", "--output", str(page)]
    write_scene(scenes, FIRST_SEED, side=384)
    given = places.synthetic_places(scenes)
    assert [place.name for place in given] == ["buildings_synthetic", "vehicles_synthetic"]
    asked += ["--checkpoint", str(embedded_checkpoint), "--by-resolution", "0.25", "--runs", "2"]
    asked += ["--examples", "1", "--strategies", "random-point"]

    assert report.main(asked) == 0

    text = page.read_text()
    assert "## Buildings, Kampala" in text and "## Buildings, synthetic" not in text
    assert "\n| Buildings, synthetic | 2 |" in text and "\n| Vehicles, synthetic | 2 |" in text
    assert "| n | below 0.5 | too much | too little | elsewhere |" in text
    assert "\n| Buildings, Kampala | 0.25 | 2 |" in text and "\n| Buildings, synthetic | 0.25 | 2 |" in text
    assert report.main(["--data", str(data), "--scenes", str(tmp_path / "empty")]) == 2
    assert "run python -m research.training.unseen_scenes first" in capsys.readouterr().err
