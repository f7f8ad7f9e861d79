"""The command line: what is wrong is said in one sentence, and nothing is left behind."""

import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import shapely.affinity
from affine import Affine

from core.canvas.prompts import STRATEGIES
from core.geo.raster import Raster
from core.service.commands import main, make_parser
from core.vectors.attributes import COLUMNS

ROOT = Path(__file__).resolve().parents[3]
SQUARE = shapely.box(500_020, 5_399_958, 500_032, 5_399_970)  # the bright square of noisy_raster


@pytest.fixture
def job(noisy_raster, write_polygons, embedded_checkpoint, tmp_path):
    """A job that would work; tests spoil it."""
    (tmp_path / "out").mkdir()
    return {
        "--raster": str(noisy_raster),
        "--example": str(write_polygons([SQUARE])),
        "--checkpoint": str(embedded_checkpoint),
        "--output": str(tmp_path / "out" / "found.gpkg"),
        "--device": "cpu",
        "--runs": "2",
        "--progress": "none",
    }


def words(job):
    return ["detect", *(word for key, value in job.items() for word in [key, *str(value).split("|")])]


@pytest.fixture
def refused(job, capfd, tmp_path):
    """Run a spoilt job: status 2, one sentence on standard error, no output left."""

    def run(says, **changes):
        changed = job | {f"--{key.replace('_', '-')}": str(value) for key, value in changes.items()}
        with warnings.catch_warnings(record=True) as caught:  # they would be lines on standard error
            warnings.simplefilter("always")
            status = main(words(changed))
        shown = [
            w for w in caught if not issubclass(w.category, (DeprecationWarning, PendingDeprecationWarning))
        ]
        out, err = capfd.readouterr()
        assert status == 2 and out == ""
        assert err.count("\n") == 1 and err.startswith("exemplar: ") and err.rstrip().endswith(".")
        assert "Traceback" not in err and says in err, err
        assert not shown, [str(w.message) for w in shown]
        assert list((tmp_path / "out").iterdir()) == []

    return run


def test_a_raster_that_is_not_there(refused, tmp_path):
    refused("There is no file", raster=tmp_path / "absent.tif")


def test_a_raster_that_is_none(refused, tmp_path):
    (tmp_path / "text.tif").write_text("hello")
    refused("No raster can be read", raster=tmp_path / "text.tif")


def test_a_raster_without_georeference(refused, make_raster):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = make_raster(np.zeros((3, 40, 40), np.uint8), "plain.tif", transform=None, crs=None)
    refused("no georeference", raster=plain)


def test_an_example_outside_the_raster(refused, write_polygons):
    far = shapely.box(700_000, 5_399_958, 700_012, 5_399_970)
    refused("outside the raster", example=write_polygons([far], "far.geojson"))


def test_an_empty_example(refused, tmp_path):
    (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    refused("no polygon", example=tmp_path / "empty.geojson")


def test_an_example_that_is_not_there(refused, tmp_path):
    refused("There is no file", example=tmp_path / "absent.geojson")


@pytest.mark.parametrize("kind", ["another network", "pickle", "text", "absent", "folder"])
def test_a_checkpoint_of_the_wrong_kind(refused, tmp_path, embedded_checkpoint, kind):
    path = tmp_path / "weights.pth"
    if kind == "another network":
        refused("no checkpoint of the model 'vit_b'", model="vit_b", checkpoint=embedded_checkpoint)
        return
    if kind == "pickle":
        path.write_bytes(pickle.dumps(os.getcwd, protocol=2))
    elif kind == "text":
        path.write_text("not weights")
    elif kind == "folder":
        path.mkdir()
    refused("weights", checkpoint=path)


def test_outputs_that_can_not_be_written(refused, tmp_path):
    (tmp_path / "folder.gpkg").mkdir()
    refused("no folder", output=tmp_path / "absent" / "found.gpkg")
    refused("no known format", output=tmp_path / "out" / "found.docx")
    refused("is a folder", output=tmp_path / "folder.gpkg")
    refused("no folder", mask=tmp_path / "absent" / "mask.tif")
    refused("no known format", candidates=tmp_path / "out" / "all.txt")


def test_an_output_folder_without_permission(refused, tmp_path):
    if hasattr(os, "geteuid") and os.geteuid() == 0 and Path("/proc/self").is_dir():
        locked = Path("/proc/self")  # where not even root can make a file
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
    refused("could not be written", output=locked / "found.gpkg")


def test_nothing_given_is_overwritten_and_no_result_replaces_another(refused, job, tmp_path):
    raster, example = Path(job["--raster"]), Path(job["--example"])
    before = raster.read_bytes(), example.read_bytes()
    refused("would be overwritten", mask=raster)
    refused("would be overwritten", output=example)
    refused("would be overwritten", output=tmp_path / "out" / ".." / example.name)
    refused("Two results", candidates=job["--output"])
    assert (raster.read_bytes(), example.read_bytes()) == before


def test_an_example_that_can_not_be_brought_to_the_rasters_crs(refused, make_raster, write_polygons):
    local = make_raster(
        np.full((3, 40, 40), 90, np.uint8), "local.tif", crs='LOCAL_CS["site",UNIT["metre",1]]'
    )
    example = write_polygons([shapely.box(9, 50, 9.001, 50.001)], "degrees.geojson", crs="EPSG:4326")
    refused("coordinate reference system", raster=local, example=example)


def test_an_extent_in_the_empty_corner_of_a_turned_raster(refused, make_raster, write_polygons):
    turned = Affine.translation(500_000, 5_400_000) @ Affine.rotation(45) @ Affine.scale(0.5, -0.5)
    raster = make_raster(np.full((3, 80, 80), 90, np.uint8), "turned.tif", transform=turned)
    inside = shapely.affinity.affine_transform(shapely.box(30, 30, 50, 50), turned.to_shapely())
    example = write_polygons([inside], "turned.geojson")
    with Raster(raster) as opened:
        xmin, ymin = opened.bounds_map[:2]
    corner = f"{xmin}|{ymin}|{xmin + 5}|{ymin + 5}"
    refused("outside the raster", raster=raster, example=example, extent=corner)


def test_names_that_are_not_there(refused):
    refused("no target", target="spaceship")
    refused("no strategy", strategy="telepathy")
    refused("no model", model="gpt")
    refused("no device", device="abacus")


def test_numbers_that_make_no_sense(refused):
    refused("whole number from 1 to 10000", runs=0)
    refused("whole number from 1 to 10000", runs=10**30)
    refused("seed", seed=-1)
    refused("from 0 to 1", min_score=7)
    refused("from 0.001", resolution=0)
    refused("too long", resolution=0.001)
    refused("bands", bands="9")
    refused("bands", bands="1|2")


def test_extents_that_are_none(refused):
    refused("outside the raster", extent="0|0|10|10")
    refused("empty", extent="500010|5399990|500000|5399995")
    refused("four numbers", extent="nan|0|10|10")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["detect"],
        ["detect", "--raster", "a.tif", "--example", "b.gpkg", "--output", "c.gpkg", "--extent", "1", "2"],
        ["detect", "--raster", "a.tif", "--example", "b.gpkg", "--output", "c.gpkg", "--runs", "many"],
        ["detect", "--rast", "a.tif", "--example", "b.gpkg", "--output", "c.gpkg"],  # no guessing
        ["evaluate", "--truth", "a.gpkg"],
    ],
)
def test_wrong_use_is_explained(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2 and "error: " in capsys.readouterr().err


# What works


def shell(arguments):
    command = [sys.executable, "-m", "core", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300)


def test_a_job_from_the_shell(job, tmp_path):
    job |= {"--progress": "json", "--min-score": "0", "--mask": str(tmp_path / "out" / "mask.tif")}
    done = shell(words(job))
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [s["fraction"] for s in steps] == sorted(s["fraction"] for s in steps) and steps[-1][
        "fraction"
    ] == 1
    table = gpd.read_file(job["--output"])
    assert list(table.columns) == [*COLUMNS, "geometry"]
    assert done.stdout.startswith(f"{len(table)} detections in ")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"found.gpkg", "mask.tif"}


def test_the_examples_image_has_bands_of_its_own(job, make_raster, refused, tmp_path):
    rng = np.random.default_rng(2)
    four = make_raster(rng.integers(0, 255, (4, 144, 160), np.uint8), "four.tif")
    other = {"--raster": str(four), "--example-raster": job["--raster"], "--bands": "4|3|2"}
    spoilt = {key[2:].replace("-", "_"): value for key, value in other.items()}
    refused("bands", **spoilt)  # of three there is no fourth
    assert main(words(job | other | {"--example-bands": "3|2|1"})) == 0
    assert (tmp_path / "out" / "found.gpkg").exists()


def test_the_shell_sees_the_same_status_and_sentence(job, tmp_path):
    job |= {"--raster": str(tmp_path / "Übersicht.tif")}
    done = subprocess.run(
        [sys.executable, "-m", "core", *words(job)],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        encoding="utf-8",
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Übersicht.tif" in done.stderr


def test_evaluate_prints_one_json_object(write_polygons, capsys):
    truth = write_polygons([shapely.box(10, 10, 20, 20), shapely.box(40, 40, 50, 50)], "truth.gpkg")
    found = write_polygons([shapely.box(10, 10, 20, 18)], "found.geojson")
    files = ["evaluate", "--detections", str(found), "--truth", str(truth)]
    status = main([*files, "--extent", "0", "0", "100", "100"])
    result = json.loads(capsys.readouterr().out)
    assert status == 0
    keys = ["iou", "precision", "recall", "f1", "n_truth", "n_detected", "n_matched", "coverage"]
    assert sorted(result) == sorted(keys)
    assert result["iou"] == pytest.approx(80 / 200) and result["n_matched"] == 1
    strict = ["--extent", "0", "0", "100", "100", "--iou", "0.9", "--boxes"]
    assert main([*files, *strict]) == 0
    assert json.loads(capsys.readouterr().out)["n_matched"] == 0


def test_evaluate_refuses_what_it_can_not_read(write_polygons, tmp_path, capsys):
    truth = write_polygons([SQUARE], "truth.gpkg")
    assert main(["evaluate", "--detections", str(tmp_path / "absent.gpkg"), "--truth", str(truth)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_strategies_and_models_are_listed(capsys):
    assert main(["strategies"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == list(STRATEGIES)
    assert listed.count("(default)") == 1
    assert main(["models", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()][:2] == ["embedded", "vit_b"]


@pytest.mark.parametrize("west", ["-1e-05", "-1.5E+2", "-.5", "-7"])
def test_a_small_longitude_is_a_number(west):
    for command in (["detect", "--example", "e", "--output", "o"], ["edges", "--output", "o"]):
        options = make_parser().parse_args([*command, "--raster", "r", "--extent", west, "48", "20", "49"])
        assert options.extent[0] == float(west)


def test_a_name_that_the_terminal_has_no_letters_for_is_told_all_the_same(job, tmp_path):
    job |= {"--output": str(tmp_path / "東京.gpkg"), "--progress": "text"}
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-m", "core", *words(job)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert rb"\u6771\u4eac.gpkg" in done.stdout


def test_nobody_listening_is_no_failure(job, tmp_path):
    job |= {"--output": str(tmp_path / "found.gpkg"), "--progress": "text"}
    command = [sys.executable, "-m", "core", *words(job)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        told = running.stderr.read().decode()
    assert running.returncode == 0 and "Traceback" not in told, told
    assert (tmp_path / "found.gpkg").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of Unix")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_an_end_from_outside_leaves_no_drafts(noisy_raster, embedded_checkpoint, tmp_path, number):
    folder = tmp_path / "out"
    folder.mkdir()
    given = {"raster": noisy_raster, "checkpoint": embedded_checkpoint, "output": folder / "edges.tif"}
    command = [sys.executable, "-m", "core", "edges", *(f"--{name}={value}" for name, value in given.items())]
    heard = partial(
        signal.signal, getattr(signal, number), signal.SIG_DFL
    )  # also where tests run under nohup
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, preexec_fn=heard, **pipes) as running:
        for line in running.stderr:  # the first tile: the draft is open
            if b"tile" in line or any(folder.iterdir()):
                break
        running.send_signal(getattr(signal, number))
        told = running.stderr.read().decode()
    assert running.returncode == 1 and "stopped; nothing was written" in told
    assert list(folder.iterdir()) == []
