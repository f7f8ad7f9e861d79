"""The whole way, from a raster and one polygon to a file of polygons.

A stand-in for the network answers with what is bright, so that the truth is
known to the pixel: what is tested is where things end up, however the raster lies.
"""

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
from shapely.affinity import affine_transform, scale

from core.errors import CancelledError
from core.pipeline.detect import detect
from core.protocol import DetectRequest
from core.sam.answers import Decoded, Embedding
from core.sam.segmenter import Segmenter
from core.vectors.attributes import COLUMNS
from core.weights.catalogue import EMBEDDED

DARK, BRIGHT = 60, 220
EXAMPLE = (100, 80, 160, 120)  # working pixels
OTHERS = [
    (300, 90, 350, 150),
    (868, 200, 930, 240),  # across the seam of columns, which is near 896
    (500, 970, 560, 1012),  # across the seam of rows, near 992
    (872, 974, 924, 1020),  # where four tiles meet
    (1180, 700, 1230, 750),
    (700, 500, 740, 560),
    (1236, 30, 1300, 70),  # cut by the raster's right border
]
WORK_SIZE = 1300, 1100
CORNERS = 6  # working pixels: smoothing and the coarse logits blunt corners of this radius


class BrightSegmenter:
    """Answers every prompt with the bright pixels, as SAM would: logits of 4 x 4 pixels."""

    name = "bright"
    knows_borders = False

    def __init__(self):
        self.encoded = 0

    def encode(self, image):
        self.encoded += 1
        share, grey = np.zeros((1024, 1024)), image.astype(float).mean(axis=-1)
        share[: image.shape[0], : image.shape[1]] = np.clip((grey - DARK) / (BRIGHT - DARK), 0, 1)
        coarse = share.reshape(256, 4, 256, 4).mean((1, 3))
        return Embedding(torch.as_tensor(coarse, dtype=torch.float32)[None, None], image.shape[:2])

    def decode(self, embedding, points_canvas, labels, *, cancelled=lambda: False, **_):
        if cancelled():
            raise CancelledError
        share = np.clip(embedding.features[0, 0].numpy(), 1e-4, 1 - 1e-4)
        runs = len(points_canvas)
        logits = np.broadcast_to(np.log(share / (1 - share)), (runs, 1, *share.shape))
        return Decoded(logits.astype(np.float32), np.full((runs, 1), 0.9, np.float32))


class FickleSegmenter(BrightSegmenter):
    """Sees only what its query points are near to, so that the seed matters."""

    name = "fickle"

    def decode(self, embedding, points_canvas, labels, **options):
        decoded = super().decode(embedding, points_canvas, labels, **options)
        rows, columns = np.mgrid[:256, :256] * 4 + 2
        logits = np.full_like(decoded.logits, -9)
        for run, points in enumerate(points_canvas):
            x, y = points[-1]
            near = (np.hypot(columns - x, rows - y) < 350) | (columns < 96)
            logits[run, 0, near] = decoded.logits[run, 0, near]
        return Decoded(logits, decoded.iou_pred)


@dataclasses.dataclass
class Scene:
    """A dark raster with bright rectangles, given in working pixels."""

    raster: str
    example: str
    folder: object
    transform: Affine
    crs: str
    work_per_px: tuple
    mpp: float

    def run(self, name="found.gpkg", segmenter=None, **fields):
        request = {
            "raster": self.raster,
            "example": self.example,
            "output": str(self.folder / name),
            "target": "other",
            "strategy": "random-point",
            "runs": 8,
        }
        summary = detect(DetectRequest(**request | fields), segmenter=segmenter or BrightSegmenter())
        return gpd.read_file(summary.output), summary

    def to_work(self, polygon_map):
        """From the map to working pixels, by the raster's own transform."""
        polygon_px = affine_transform(polygon_map, (~self.transform).to_shapely())
        return scale(polygon_px, *self.work_per_px, origin=(0, 0))

    def box_map(self, x0, y0, x1, y1):
        """A box of working pixels as a polygon of the map."""
        box_px = scale(shapely.box(x0, y0, x1, y1), *(1 / f for f in self.work_per_px), origin=(0, 0))
        return affine_transform(box_px, self.transform.to_shapely())


LAYOUTS = {
    # name: transform, CRS, working pixels per raster pixel across and down, metres per working pixel
    "north-up": (Affine(0.5, 0, 5e5, 0, -0.5, 5.4e6), "EPSG:25832", (1, 1), 0.5),
    "south-up": (Affine(0.5, 0, 5e5, 0, 0.5, 5.4e6), "EPSG:25832", (1, 1), 0.5),
    "turned": (
        Affine.translation(5e5, 5.4e6) @ Affine.rotation(-33) @ Affine.scale(0.5, -0.5),
        "EPSG:25832",
        (1, 1),
        0.5,
    ),
    "mirrored": (Affine(-0.5, 0, 5e5, 0, -0.5, 5.4e6), "EPSG:25832", (1, 1), 0.5),
    # Near latitude 60 a degree of longitude is half a degree of latitude.
    "degrees": (Affine(9e-6, 0, 10, 0, -9e-6, 60), "EPSG:4326", (1, 2), 0.5023),
    "web": (Affine(1, 0, 1e6, 0, -1, 8_399_737.9), "EPSG:3857", (1, 1), 0.5009),
    "feet": (Affine(2, 0, 1e6, 0, -2, 2e5), "EPSG:2263", (1, 1), 0.6096),
    "no CRS": (Affine(0.5, 0, 5e5, 0, -0.5, 5.4e6), None, (1, 1), 0.5),
    "enlarged": (Affine(0.5, 0, 5e5, 0, -0.5, 5.4e6), "EPSG:25832", (2, 2), 0.25),
    "reduced": (Affine(0.2, 0, 5e5, 0, -0.2, 5.4e6), "EPSG:25832", (0.5, 0.5), 0.4),
}


def make_scene(name, folder, boxes=(EXAMPLE, *OTHERS), work_size=WORK_SIZE):
    transform, crs, (across, down), mpp = LAYOUTS[name]
    width, height = round(work_size[0] / across), round(work_size[1] / down)
    image = np.full((3, height, width), DARK, np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[:, round(y0 / down) : round(y1 / down), round(x0 / across) : round(x1 / across)] = BRIGHT
    path = folder / "raster.tif"
    profile = {"driver": "GTiff", "count": 3, "width": width, "height": height, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as dataset:
        dataset.write(image)
    scene = Scene(str(path), str(folder / "example.gpkg"), folder, transform, crs, (across, down), mpp)
    gpd.GeoDataFrame(geometry=[scene.box_map(*boxes[0])], crs=crs).to_file(scene.example)
    return scene


def within_a_pixel(found, truth):
    """Whether an outline is the truth's within a working pixel, but for its blunted corners."""
    outer = truth.buffer(1.0, join_style="mitre")
    inner = truth.buffer(-CORNERS).buffer(CORNERS)
    return outer.contains(found) and found.buffer(1.0).contains(inner)


def matched(scene, table, boxes=(EXAMPLE, *OTHERS)):
    """Pairs of detection and truth in working pixels, one to one or the test fails."""
    found = [scene.to_work(polygon) for polygon in table.geometry]
    pairs = [(f, shapely.box(*b)) for f in found for b in boxes if f.intersects(shapely.box(*b))]
    assert len(found) == len(pairs) == len(boxes), (len(found), len(pairs))
    return pairs


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene("north-up", tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def whole(scene):
    """One run over the whole scene, with everything written."""
    fields = {"mask": str(scene.folder / "mask.tif"), "candidates": str(scene.folder / "all.gpkg")}
    table, summary = scene.run("whole.gpkg", **fields)
    return table, summary


# Where things are


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_outline_is_the_truths_within_a_pixel(layout, tmp_path):
    scene = make_scene(layout, tmp_path)
    segmenter = BrightSegmenter()
    _, _, _, mpp = LAYOUTS[layout]
    asked = {"resolution": mpp} if layout in ("enlarged", "reduced") else {}
    table, summary = scene.run(segmenter=segmenter, **asked)
    assert summary.tiles == 4 == segmenter.encoded / EMBEDDED.views  # so there are seams both ways
    assert summary.resolution == pytest.approx(mpp, rel=5e-3)
    for found, truth in matched(scene, table):
        assert within_a_pixel(found, truth), (layout, truth.bounds, found.bounds)
    # On the ground they are as large as they were drawn.
    middle = shapely.box(*EXAMPLE).centroid
    distances = [scene.to_work(polygon).distance(middle) for polygon in table.geometry]
    x0, y0, x1, y1 = EXAMPLE
    example_area = table.area_m2[int(np.argmin(distances))]
    assert example_area == pytest.approx((x1 - x0) * (y1 - y0) * mpp**2, rel=0.03)


def test_centres_are_exact_so_nothing_is_shifted_by_half_a_pixel(scene, whole):
    shifts = [
        np.subtract(found.centroid.coords[0], truth.centroid.coords[0])
        for found, truth in matched(scene, whole[0])
    ]
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0, atol=0.15)
    assert np.abs(shifts).max() < 0.5


def test_an_object_across_a_seam_is_one_polygon_without_a_trace_of_it(scene, whole):
    across = [f for f, truth in matched(scene, whole[0]) if truth.bounds[0] in (868, 872)]
    assert len(across) == 2
    for polygon in across:
        assert polygon.geom_type == "Polygon" and not polygon.interiors
        assert not any(abs(x - 896) < 0.5 for x, _ in polygon.exterior.coords[1:-1])


# What is written


def test_attributes_are_complete_and_in_order(whole):
    table, summary = whole
    assert list(table.columns) == [*COLUMNS, "geometry"]
    assert list(table.id) == list(range(1, len(table) + 1)) and summary.count == len(table)
    assert set(table.target) == {"other"} and set(table.strategy) == {"random-point"}
    assert set(table.model) == {"bright"}
    assert table.score.is_monotonic_decreasing and table.score.between(0.8, 1).all()
    assert table.stability.between(0.8, 1).all() and np.allclose(table.iou_pred, 0.9)
    assert table.similarity.between(-1, 1.001).all()
    assert (table.length_m >= table.width_m).all() and table.angle_deg.between(0, 180).all()
    assert not table.isna().any().any() and (table.geometry.geom_type == "Polygon").all()
    assert table.crs.to_epsg() == 25832


def test_the_mask_is_the_detections_rasterised(scene, whole):
    with rasterio.open(scene.folder / "mask.tif") as mask, rasterio.open(scene.raster) as raster:
        assert mask.transform == raster.transform and mask.shape == raster.shape and mask.crs == raster.crs
        expected = rasterize(whole[0].geometry, mask.shape, transform=mask.transform)
        written = mask.read(1)
        np.testing.assert_array_equal(written, expected)
        bright = raster.read(1) == BRIGHT
        assert (written & bright).sum() / (written | bright).sum() > 0.95


def test_candidates_hold_at_least_the_detections(scene, whole):
    candidates = gpd.read_file(scene.folder / "all.gpkg")
    assert set(whole[0].geometry.to_wkb()) <= set(candidates.geometry.to_wkb())
    assert list(candidates.columns) == [*COLUMNS, "geometry"]


def test_a_higher_least_score_gives_the_better_part(scene, whole):
    table, _ = whole
    between = float(table.score.iloc[3] + table.score.iloc[4]) / 2
    better, summary = scene.run("better.gpkg", min_score=between)
    assert summary.min_score == between and 0 < len(better) < len(table)
    assert list(better.geometry.to_wkb()) == list(table.geometry[table.score >= between].to_wkb())


@pytest.mark.parametrize("ending", ["shp", "geojson", "parquet"])
def test_other_formats_hold_the_same(scene, whole, ending):
    path = scene.folder / f"other.{ending}"
    detect(
        DetectRequest(
            scene.raster, scene.example, str(path), target="other", strategy="random-point", runs=8,
            extent=list(scene.box_map(0, 0, 400, 300).bounds),
        ),
        segmenter=BrightSegmenter(),
    )  # fmt: skip
    table = gpd.read_parquet(path) if ending == "parquet" else gpd.read_file(path)
    same = [f for f, truth in matched(scene, whole[0]) if truth.bounds[0] < 400 and truth.bounds[1] < 300]
    assert len(table) == len(same) == 2
    for polygon in map(scene.to_work, table.geometry):
        assert min(shapely.hausdorff_distance(polygon, f) for f in same) < 0.05


# The extent


def overlapping_extents():
    return [
        (0, 0, 1300, 1100),
        (250, 50, 920, 260),
        (895, 985, 900, 990),  # five pixels inside one object that four tiles share
        (480, 480, 800, 1100),
    ]


@pytest.mark.parametrize("box", overlapping_extents())
def test_an_extent_gives_the_same_polygons_where_it_looks(scene, whole, box):
    table, _ = whole
    extent = scene.box_map(*box)
    part, _ = scene.run("part.gpkg", extent=list(extent.bounds))
    expected = table[table.intersects(extent)]
    assert len(expected) > 0 and part.intersects(extent).all()
    assert sorted(part.geometry.to_wkb()) == sorted(expected.geometry.to_wkb())
    np.testing.assert_array_equal(np.sort(part.score), np.sort(expected.score))


def test_an_extent_without_objects_gives_an_empty_file(scene):
    segmenter = BrightSegmenter()
    table, summary = scene.run("empty.gpkg", segmenter, extent=list(scene.box_map(300, 600, 310, 610).bounds))
    assert len(table) == summary.count == 0 and list(table.columns) == [*COLUMNS, "geometry"]
    assert segmenter.encoded == EMBEDDED.views  # and no tile is looked at that isn't needed


# What decides


def test_the_same_seed_gives_the_same_polygons_and_another_others(scene):
    options = {"extent": list(scene.box_map(0, 0, 1200, 900).bounds), "min_score": 0.0, "runs": 3}
    one, same, other = (
        scene.run(f"{name}.gpkg", FickleSegmenter(), seed=seed, **options)[0]
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert len(one) > 0
    assert list(one.geometry.to_wkb()) == list(same.geometry.to_wkb())
    assert one.drop(columns=["created", "geometry"]).equals(same.drop(columns=["created", "geometry"]))
    assert set(one.geometry.to_wkb()) != set(other.geometry.to_wkb())


def test_random_weights_repeat_themselves(embedded_sam, noisy_raster, write_polygons, tmp_path):
    example = write_polygons([shapely.box(500_020, 5_399_958, 500_032, 5_399_970)])
    results = []
    for name in ("a.gpkg", "b.gpkg"):
        request = DetectRequest(
            str(noisy_raster), str(example), str(tmp_path / name), target="building",
            strategy="random-point", runs=4, min_score=0.0,
        )  # fmt: skip
        detect(request, segmenter=Segmenter(embedded_sam, "embedded"))
        results.append(gpd.read_file(tmp_path / name))
    assert list(results[0].geometry.to_wkb()) == list(results[1].geometry.to_wkb())
    assert (
        results[0]
        .drop(columns=["created", "geometry"])
        .equals(results[1].drop(columns=["created", "geometry"]))
    )
    assert list(results[0].columns) == [*COLUMNS, "geometry"]


def test_the_targets_sizes_are_kept_to(tmp_path):
    # Next to the example: one tiny and one far too large patch.
    boxes = [EXAMPLE, (300, 60, 312, 72), (400, 40, 900, 560), (250, 300, 310, 340)]
    scene = make_scene("north-up", tmp_path, boxes, (920, 600))
    table, _ = scene.run(target="vehicle", resolution=0.5)  # a third to four times the example
    found = sorted(scene.to_work(polygon).centroid.x for polygon in table.geometry)
    assert found == pytest.approx([130, 280], abs=1)


def test_an_example_on_another_raster(tmp_path):
    (tmp_path / "other").mkdir()
    query = make_scene("north-up", tmp_path, [(300, 90, 360, 130), (500, 200, 560, 240)], (700, 400))
    other = make_scene("turned", tmp_path / "other", [(50, 60, 110, 100)], (200, 180))
    table, _ = query.run(example=other.example, example_raster=other.raster)
    for found, truth in matched(query, table, [(300, 90, 360, 130), (500, 200, 560, 240)]):
        assert within_a_pixel(found, truth)


def test_missing_image_is_not_searched(tmp_path):
    scene = make_scene("north-up", tmp_path, [EXAMPLE, (300, 90, 350, 150)], (500, 300))
    with rasterio.open(scene.raster, "r+") as dataset:
        image = dataset.read()
        image[:, :, 330:] = 0
        dataset.write(image)
        dataset.nodata = 0
    table, _ = scene.run()
    right = max(scene.to_work(polygon).bounds[2] for polygon in table.geometry)
    assert len(table) == 2 and right <= 330


# Progress and cancelling


def test_progress_rises_to_one(scene):
    seen = []
    detect(
        DetectRequest(
            scene.raster, scene.example, str(scene.folder / "progress.gpkg"), target="other",
            strategy="random-point", runs=4,
        ),
        segmenter=BrightSegmenter(),
        progress=lambda fraction, message: seen.append((fraction, message)),
    )  # fmt: skip
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    assert all(message for _, message in seen)


def test_a_cancelled_run_writes_nothing_and_leaves_what_was_there(scene, tmp_path):
    path = tmp_path / "found.gpkg"
    path.write_bytes(b"older result")
    request = DetectRequest(scene.raster, scene.example, str(path), target="other", strategy="random-point")
    answers = itertools.chain([False] * 4, itertools.repeat(True))
    with pytest.raises(CancelledError):
        detect(request, segmenter=BrightSegmenter(), cancelled=answers.__next__)
    assert path.read_bytes() == b"older result" and len(list(tmp_path.iterdir())) == 1
