"""Right angles and rectangles through the whole pipeline: written, masked and measured alike."""

import dataclasses
import itertools

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from rasterio.features import rasterize
from shapely.affinity import affine_transform, rotate, translate

from core.errors import CancelledError
from core.geo import units
from core.pipeline.detect import detect
from core.protocol import DetectRequest
from core.sam.answers import Decoded, Embedding

DARK, BRIGHT = 60, 220
L_SHAPE = rotate(shapely.box(-60, -40, 60, 40) - shapely.box(6, 0, 60, 40), 28, origin=(0, 0))
BAR = rotate(shapely.box(-50, -20, 50, 20), 112, origin=(0, 0))
SHAPES_WORK = [translate(L_SHAPE, 150, 150), translate(BAR, 330, 140), translate(L_SHAPE, 180, 330)]
LAYOUTS = {
    "metres": (Affine(0.5, 0, 5e5, 0, -0.5, 5.4e6), "EPSG:25832", (1, 1)),
    # Near latitude 60 a degree of longitude is half a degree of latitude.
    "degrees": (Affine(9e-6, 0, 10, 0, -9e-6, 60), "EPSG:4326", (1, 2)),
}


class BrightSegmenter:
    """Answers every prompt with the bright pixels, in logits of 4 x 4 pixels."""

    name = "bright"
    knows_borders = False

    def encode(self, image):
        share = np.zeros((1024, 1024))
        grey = image.astype(float).mean(axis=-1)
        share[: image.shape[0], : image.shape[1]] = np.clip((grey - DARK) / (BRIGHT - DARK), 0, 1)
        coarse = share.reshape(256, 4, 256, 4).mean((1, 3))
        return Embedding(torch.as_tensor(coarse, dtype=torch.float32)[None, None], image.shape[:2])

    def decode(self, embedding, points_canvas, labels, **_):
        share = np.clip(embedding.features[0, 0].numpy(), 1e-4, 1 - 1e-4)
        logits = np.broadcast_to(np.log(share / (1 - share)), (len(points_canvas), 1, *share.shape))
        return Decoded(logits.astype(np.float32), np.full((len(points_canvas), 1), 0.9, np.float32))


@dataclasses.dataclass
class Scene:
    raster: str
    request: dict
    truth_map: list
    folder: object

    def run(self, cancelled=lambda: False, **fields):
        request = DetectRequest(**self.request | {"output": str(self.folder / "found.gpkg")} | fields)
        detect(request, segmenter=BrightSegmenter(), cancelled=cancelled)
        return gpd.read_file(request.output)


@pytest.fixture(params=LAYOUTS)
def scene(request, tmp_path):
    transform, crs, (across, down) = LAYOUTS[request.param]
    map_from_work = transform @ Affine.scale(1 / across, 1 / down)
    shape = round(480 / down), round(480 / across)
    drawn = rasterize(SHAPES_WORK, shape, transform=Affine.scale(across, down))
    image = np.where(drawn, BRIGHT, DARK).astype(np.uint8)
    path, example = tmp_path / "raster.tif", tmp_path / "example.gpkg"
    profile = {"driver": "GTiff", "count": 3, "height": shape[0], "width": shape[1], "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as dataset:
        dataset.write(np.stack([image] * 3))
    truth = [affine_transform(polygon, map_from_work.to_shapely()) for polygon in SHAPES_WORK]
    gpd.GeoDataFrame(geometry=truth[:1], crs=crs).to_file(example)
    fields = {"raster": str(path), "example": str(example), "target": "other", "runs": 4}
    return Scene(str(path), fields | {"strategy": "random-point"}, truth, tmp_path)


def iou(one, other):
    return one.intersection(other).area / one.union(other).area


def turns_on_the_ground(polygon, crs):
    """Angles between neighbouring walls in degrees, in metres whatever the CRS."""
    scale = units.metres_per_unit(crs, polygon.centroid.x, polygon.centroid.y)
    edges = np.diff(np.asarray(polygon.exterior.coords) * scale, axis=0)
    angles = np.degrees(np.arctan2(edges[:, 1], edges[:, 0]))
    return np.diff(np.append(angles, angles[0])) % 360


def test_right_angles_on_the_ground_with_their_own_measures_and_mask(scene):
    plain = scene.run()
    table = scene.run(regularize=True, mask=str(scene.folder / "mask.tif"))
    assert len(table) == len(plain) == len(SHAPES_WORK)
    for row in table.itertuples():
        turns = turns_on_the_ground(row.geometry, table.crs)
        assert np.minimum(abs(turns - 90), abs(turns - 270)).max() < 0.02
        assert max(iou(row.geometry, truth) for truth in scene.truth_map) > 0.94
        assert row.area_m2 == pytest.approx(units.area_m2(row.geometry, table.crs))
        measured = row.length_m, row.width_m, row.angle_deg
        assert measured == pytest.approx(units.rectangle(row.geometry, table.crs))
    assert sorted(len(polygon.exterior.coords) - 1 for polygon in table.geometry) == [4, 6, 6]
    assert min(len(polygon.exterior.coords) - 1 for polygon in plain.geometry) > 10
    with rasterio.open(scene.folder / "mask.tif") as mask:
        expected = rasterize(table.geometry, mask.shape, transform=mask.transform)
        np.testing.assert_array_equal(mask.read(1), expected)


def test_rectangles_with_length_width_and_heading(scene):
    table = scene.run(rectangles=True, regularize=True)  # rectangles go before
    assert all(len(polygon.exterior.coords) == 5 for polygon in table.geometry)
    bar = table.loc[np.argmax([iou(polygon, scene.truth_map[1]) for polygon in table.geometry])]
    length, width, angle = units.rectangle(scene.truth_map[1], table.crs)
    assert (bar.length_m, bar.width_m) == pytest.approx((length, width), rel=0.06)
    assert bar.length_m * bar.width_m == pytest.approx(bar.area_m2, rel=2e-3)
    assert abs((bar.angle_deg - angle + 90) % 180 - 90) < 1.5
    # 112 degrees from the working grid's x towards its y, which runs down: from north 22 degrees clockwise.
    assert angle == pytest.approx(22, abs=0.5)


def test_two_extents_give_the_same_right_angles(scene):
    whole = scene.run(regularize=True)
    middle = whole.geometry[0].centroid
    step = 1e-5 if whole.crs.is_geographic else 1.0
    extent = [middle.x - step, middle.y - step, middle.x + step, middle.y + step]
    part = scene.run(regularize=True, extent=extent, output=str(scene.folder / "part.gpkg"))
    expected = whole[whole.intersects(shapely.box(*extent))]
    assert len(expected) >= 1
    assert sorted(part.geometry.to_wkb()) == sorted(expected.geometry.to_wkb())


def test_it_can_be_cancelled_while_outlines_are_drawn(scene):
    asked = itertools.count()
    scene.run(regularize=True, cancelled=lambda: next(asked) < 0)
    total = next(asked)
    (scene.folder / "found.gpkg").unlink()
    answers = itertools.count()
    with pytest.raises(CancelledError):  # the last is asked after the drawing
        scene.run(regularize=True, cancelled=lambda: next(answers) >= total - 2)
    assert next(answers) == total - 1
    assert not (scene.folder / "found.gpkg").exists()
