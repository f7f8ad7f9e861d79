"""The generator of scenes, and the sample town that ships."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

pytest.importorskip("cv2")

from research.training.cache import fill_cache, load_scene, scene_path
from research.training.scenes import BUILDING, CONTAINER, POOL, TREE, VEHICLE, make_scene

SAMPLE = Path(__file__).resolve().parents[3] / "resources" / "sample"


def test_a_scene_is_reproducible_from_its_seed():
    one, again, other = make_scene(11, 256), make_scene(11, 256), make_scene(12, 256)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.instances, again.instances)
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_instance_has_a_kind(seed):
    scene = make_scene(seed, 384, gsd_m=0.2)
    assert scene.image.shape == (384, 384, 3)
    assert scene.image.dtype == np.uint8
    ids = np.unique(scene.instances)
    assert ids.max() < len(scene.kinds)
    assert scene.kinds[0] == 0
    assert set(scene.kinds[ids[ids > 0]]) <= {BUILDING, VEHICLE, TREE, POOL, CONTAINER}


def test_vehicles_have_the_size_of_vehicles():
    scene = make_scene(6, 512, gsd_m=0.15)
    areas = np.bincount(scene.instances.ravel(), minlength=len(scene.kinds)) * 0.15**2
    vehicles = areas[(scene.kinds == VEHICLE) & (areas > 0)]
    assert len(vehicles) > 5
    assert 4 < np.median(vehicles) < 12
    assert vehicles.max() < 40


def test_the_cache_keeps_what_was_drawn_and_leaves_it_alone(tmp_path):
    assert fill_cache(tmp_path, range(5, 7), 128) == 2
    assert fill_cache(tmp_path, range(5, 7), 128) == 0
    scene, stored = make_scene(5, 128), load_scene(scene_path(tmp_path, 5))
    assert np.array_equal(scene.image, stored.image)
    assert np.array_equal(scene.instances, stored.instances)
    assert stored.gsd_m == scene.gsd_m


def test_the_sample_town_has_enough_to_find():
    with rasterio.open(SAMPLE / "town.tif") as raster:
        assert raster.crs.to_epsg() == 32633
        assert 0.15 <= raster.res[0] <= 0.2
        extent_m2 = raster.width * raster.height * raster.res[0] ** 2
        bounds = raster.bounds
    assert (SAMPLE / "town.tif").stat().st_size < 3 * 2**20
    truth = gpd.read_file(SAMPLE / "town_truth.gpkg")
    buildings, vehicles = (truth[truth.target == target] for target in ("building", "vehicle"))
    assert len(buildings) >= 60
    assert len(vehicles) >= 80
    assert buildings.detail.nunique() >= 4
    assert buildings.area.sum() <= 0.35 * extent_m2
    assert truth.is_valid.all()
    x0, y0, x1, y1 = truth.total_bounds
    assert x0 >= bounds.left - 0.1
    assert y0 >= bounds.bottom - 0.1
    assert x1 <= bounds.right + 0.1
    assert y1 <= bounds.top + 0.1


@pytest.mark.parametrize("target", ["building", "vehicle"])
def test_a_sample_example_lies_on_one_object_of_the_truth(target):
    path = SAMPLE / f"example_{target}.geojson"
    assert "32633" in json.loads(path.read_text(encoding="utf-8"))["crs"]["properties"]["name"]
    example = gpd.read_file(path)
    truth = gpd.read_file(SAMPLE / "town_truth.gpkg")
    assert len(example) == 1
    polygon = example.geometry[0]
    shared = truth.intersection(polygon).area
    best = shared.idxmax()
    assert truth.target[best] == target
    assert shared[best] / truth.geometry[best].union(polygon).area > 0.85


@pytest.mark.slow
def test_the_sample_town_is_made_anew_the_same(tmp_path):
    from research.training.sample_scene import write_sample

    write_sample(tmp_path)
    with rasterio.open(tmp_path / "town.tif") as made, rasterio.open(SAMPLE / "town.tif") as shipped:
        difference = np.abs(made.read().astype(int) - shipped.read().astype(int))
    # other builds of numpy and OpenCV may round a pixel differently
    assert difference.mean() < 1
    made, shipped = gpd.read_file(tmp_path / "town_truth.gpkg"), gpd.read_file(SAMPLE / "town_truth.gpkg")
    assert len(made) == len(shipped)
    assert made.target.tolist() == shipped.target.tolist()
