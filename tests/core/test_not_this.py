"""Negative polygons, "not this", from the example's file to the detections.

A stand-in for the network compares every pixel's brightness with what the
positive and the negative points lie on, so that the truth is known.
"""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine

from core.candidates import recovery
from core.canvas import Crop, stitch
from core.errors import InputError
from core.example import cut_crops, read_example
from core.pipeline import detect
from core.prompts import EXAMPLE_POINTS, STRATEGIES
from core.protocol import DetectRequest
from core.raster import Raster
from core.sam import Decoded, Embedding

SQUARE = shapely.box(500_020, 5_399_958, 500_032, 5_399_970)  # pixels 40 to 64, 60 to 84
SMALL = shapely.box(500_050, 5_399_950, 500_056, 5_399_955)
LARGE = shapely.box(500_010, 5_399_930, 500_078, 5_399_957)


@pytest.fixture
def raster(noisy_raster):
    with Raster(noisy_raster) as opened:
        yield opened


# Reading


@pytest.mark.parametrize("name", ["example.geojson", "example.gpkg", "example.shp"])
def test_the_column_role_says_what_is_not_wanted(raster, write_polygons, name):
    path = write_polygons([LARGE, SQUARE, SMALL], name, role=["negative", "positive", None])
    example = read_example(path, raster)
    assert [p.area for p in example.polygons_px] == pytest.approx([24 * 24, 12 * 10])
    assert [p.area for p in example.negatives_px] == pytest.approx([136 * 54])
    # sizes are those of what is wanted
    assert example.longer_side_m == pytest.approx(12) and example.area_m2 == pytest.approx((144 + 30) / 2)


@pytest.mark.parametrize(
    ("column", "role", "negatives"),
    [
        ("role", "NEGATIVE", 1),
        ("Role", " Negative ", 1),
        ("role", "Positive", 0),
        ("role", "", 0),
        ("kind", "x", 0),
    ],
)
def test_letters_case_and_blanks_do_not_matter(raster, write_polygons, column, role, negatives):
    example = read_example(write_polygons([SQUARE, SMALL], **{column: ["positive", role]}), raster)
    assert len(example.negatives_px) == negatives and len(example.polygons_px) == 2 - negatives


@pytest.mark.parametrize("roles", [[None, None], [np.nan, np.nan], ["", " "]])
def test_an_empty_column_is_as_none(raster, write_polygons, roles):
    example = read_example(write_polygons([SQUARE, SMALL], role=roles), raster)
    assert len(example.polygons_px) == 2 and example.negatives_px == []


@pytest.mark.parametrize(
    ("geometries", "roles", "says"),
    [
        ([SQUARE, SMALL], ["positive", "roof"], "column role of .* says 'roof'"),
        ([SQUARE, SMALL], [1, 2], "column role of .* says '1'"),
        ([SQUARE, SMALL], ["negative", "negative"], "only what not to find"),
        ([shapely.Polygon(), SMALL], ["positive", "negative"], "only what not to find"),
        ([SQUARE, shapely.box(600_000, 5_399_958, 600_012, 5_399_970)], ["positive", "negative"],
         "A negative polygon lies outside the raster"),
    ],
)  # fmt: skip
def test_roles_that_cannot_be_used_get_a_sentence(raster, write_polygons, geometries, roles, says):
    with pytest.raises(InputError, match=says) as caught:
        read_example(write_polygons(geometries, role=roles), raster)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


# Crops and column


def test_crops_have_the_size_that_the_positive_ones_ask_for(raster, write_polygons):
    alone = cut_crops(read_example(write_polygons([SQUARE]), raster), 0.5, None)
    path = write_polygons([LARGE, SQUARE, SMALL], role=["negative", "positive", "negative"])
    crops = cut_crops(read_example(path, raster), 0.5, None)
    assert [crop.negative for crop in crops] == [False, True, True]
    assert {crop.image.shape for crop in crops} == {alone[0].image.shape}
    np.testing.assert_array_equal(crops[0].mask, alone[0].mask)
    # the large one's middle fills the crop's height; the small one is seen whole
    assert crops[1].mask.any(axis=0).all() and crops[2].mask.sum() == 12 * 10


def test_of_a_large_bent_polygon_the_crop_shows_a_part(raster, write_polygons):
    bent = shapely.box(500_000, 5_399_930, 500_079, 5_399_999).difference(
        shapely.box(500_004, 5_399_934, 500_080, 5_400_000)
    )
    path = write_polygons([SQUARE, bent], role=["positive", "negative"])
    assert cut_crops(read_example(path, raster), 0.5, None)[1].mask.any()


def test_a_negative_polygon_of_which_nothing_is_seen_gets_a_sentence(raster, write_polygons):
    dot = shapely.Point(500_050.2, 5_399_950.2).buffer(0.05)
    path = write_polygons([SQUARE, dot], role=["positive", "negative"])
    with pytest.raises(InputError, match="nothing can be seen: it is too small"):
        cut_crops(read_example(path, raster), 0.5, None)


def crop_of(value, *, negative=False, side=32):
    mask = np.zeros((side, side), bool)
    mask[10:22, 8:20] = True
    return Crop(np.full((side, side, 3), value, np.uint8), mask, np.ones((side, side), bool), negative)


def column_of(crops, height):
    return stitch(crops, np.zeros((height, 16, 3), np.uint8), np.ones((height, 16), bool))


@pytest.mark.parametrize(
    ("positive", "negative", "slots", "expected"),
    [
        (1, 1, 4, [0, 1, 0, 1]),
        (1, 1, 3, [0, 1, 0]),
        (1, 3, 5, [0, 1, 0, 2, 0]),
        (3, 1, 5, [0, 3, 1, 3, 2]),
        (2, 2, 1, [0]),
    ],
)
def test_what_is_wanted_keeps_half_of_the_column_or_more(positive, negative, slots, expected):
    crops = [crop_of(10 + i, negative=i >= positive) for i in range(positive + negative)]
    canvas = column_of(crops, 32 * slots)
    assert [copy.crop for copy in canvas.copies] == expected
    for number, index in enumerate(expected):
        rows = slice(32 * number, 32 * number + 32)
        here, other = (canvas.example, canvas.negative)[:: -1 if crops[index].negative else 1]
        assert here[rows].sum() == 144 and not other[rows].any()
        assert canvas.ring[rows].any() != crops[index].negative
        assert (canvas.image[rows, :32] == 10 + index).all()


# Prompts and vote


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_design_has_negative_points_on_what_is_not_wanted(name):
    canvas = column_of([crop_of(10), crop_of(20, negative=True)], 128)
    prompts = STRATEGIES[name].place(canvas, 20, np.random.default_rng(0))
    columns, rows = np.moveaxis(prompts.points_canvas.astype(int), -1, 0)
    on_negative = canvas.negative[rows, columns]
    assert (on_negative.sum(axis=1) == EXAMPLE_POINTS).all() and (prompts.labels[on_negative] == 0).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_negative_polygons_the_points_are_those_of_before(name):
    canvas = column_of([crop_of(10), crop_of(20)], 128)
    assert canvas.negative is None
    prompts = STRATEGIES[name].place(canvas, 20, np.random.default_rng(3))
    rng, expected = np.random.default_rng(3), []
    query_points = {"example-only": 0, "random-points": 4}.get(name, 1)
    for mask, count in ((canvas.example, 4), (canvas.ring, 4), (canvas.query, query_points)):
        if count and not (mask is canvas.ring and name == "random-point-positive"):
            rows, columns = np.nonzero(mask)
            chosen = rng.integers(len(rows), size=(20, count))
            expected.append(np.stack([columns[chosen], rows[chosen]], axis=-1) + 0.5)
    np.testing.assert_array_equal(prompts.points_canvas, np.concatenate(expected, axis=1))


def test_a_run_that_takes_in_what_is_not_wanted_is_distrusted():
    canvas = column_of([crop_of(10), crop_of(20, negative=True)], 128)
    both = np.full((2, 256, 256), -5.0, np.float32)
    coarse = np.zeros((1024, 1024), bool)
    coarse[:128, :48] = canvas.example
    both[0][coarse.reshape(256, 4, 256, 4).any((1, 3))] = 5
    coarse[:128, :48] |= canvas.negative
    both[1][coarse.reshape(256, 4, 256, 4).any((1, 3))] = 5
    good, bad = recovery(both, canvas)
    assert good > 0.8 and bad < 0.6


# The whole way

DARK, MIDDLE, BRIGHT = 60, 160, 220
WANTED = [(100, 80, 160, 120), (300, 90, 350, 150), (700, 500, 740, 560), (880, 300, 930, 340)]
UNWANTED = [(420, 90, 480, 130), (600, 200, 650, 260), (870, 600, 920, 650)]
TRANSFORM = Affine(0.5, 0, 5e5, 0, -0.5, 5.4e6)


class ComparingSegmenter:
    """Finds what is nearer in brightness to what the positive points lie on than to any negative point's."""

    name = "comparing"

    def encode(self, image):
        grey = np.zeros((1024, 1024), np.float32)
        grey[: image.shape[0], : image.shape[1]] = image.mean(axis=-1)
        coarse = grey.reshape(256, 4, 256, 4).mean((1, 3))
        return Embedding(torch.as_tensor(coarse)[None, None], image.shape[:2])

    def decode(self, embedding, points_canvas, labels, **_):
        grey = embedding.features[0, 0].numpy()
        logits = np.empty((len(points_canvas), 1, 256, 256), np.float32)
        for run, points in enumerate(points_canvas):
            columns, rows = (points // 4).astype(int).T
            seen = grey[rows, columns]
            wanted = np.abs(grey - np.median(seen[labels[run] == 1]))
            unwanted = np.min([np.abs(grey - value) for value in seen[labels[run] == 0]], axis=0)
            logits[run, 0] = (unwanted - wanted) / 4
        return Decoded(logits, np.full((len(logits), 1), 0.9, np.float32))


@dataclasses.dataclass
class Place:
    """A raster with bright and less bright boxes, in pixels."""

    folder: object
    raster: str

    def polygon(self, box):
        x0, y0, x1, y1 = box
        return shapely.box(5e5 + x0 / 2, 5.4e6 - y1 / 2, 5e5 + x1 / 2, 5.4e6 - y0 / 2)

    def example(self, name, boxes, **columns):
        path = self.folder / name
        gpd.GeoDataFrame(columns, geometry=[self.polygon(b) for b in boxes], crs="EPSG:25832").to_file(path)
        return str(path)

    def find(self, example, **fields):
        output = str(self.folder / "found.gpkg")
        request = {"target": "other", "strategy": "random-point", "runs": 8} | fields
        detect(DetectRequest(self.raster, example, output, **request), segmenter=ComparingSegmenter())
        return gpd.read_file(output)

    def hits(self, table, boxes):
        return [int(table.intersects(self.polygon(box)).sum()) for box in boxes]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    image = np.full((3, 700, 1000), DARK, np.uint8)
    for value, boxes in ((BRIGHT, WANTED), (MIDDLE, UNWANTED)):
        for x0, y0, x1, y1 in boxes:
            image[:, y0:y1, x0:x1] = value
    profile = {"driver": "GTiff", "count": 3, "width": 1000, "height": 700, "dtype": "uint8"}
    with rasterio.open(folder / "r.tif", "w", crs="EPSG:25832", transform=TRANSFORM, **profile) as dataset:
        dataset.write(image)
    return Place(folder, str(folder / "r.tif"))


@pytest.fixture(scope="module")
def with_negative(place):
    path = place.example("both.gpkg", [WANTED[0], UNWANTED[0]], role=["positive", "negative"])
    return path, place.find(path)


def test_what_looks_like_the_negative_polygon_is_no_longer_found(place, with_negative):
    before = place.find(place.example("one.gpkg", [WANTED[0]]))
    assert place.hits(before, WANTED) == [1] * 4 and place.hits(before, UNWANTED) == [1] * 3
    _, after = with_negative
    assert place.hits(after, WANTED) == [1] * 4 and place.hits(after, UNWANTED) == [0] * 3


def test_a_column_that_says_positive_changes_nothing(place):
    boxes = WANTED[:2]
    plain = place.find(place.example("plain.gpkg", boxes))
    said = place.find(place.example("said.gpkg", boxes, role=["positive", None]))
    assert len(plain) > 4
    assert list(plain.geometry.to_wkb()) == list(said.geometry.to_wkb())
    assert plain.drop(columns=["created", "geometry"]).equals(said.drop(columns=["created", "geometry"]))


def test_nothing_is_found_under_a_negative_polygon_though_it_looks_like_the_example(place):
    path = place.example("under.gpkg", [WANTED[0], WANTED[2]], role=["positive", "negative"])
    table = place.find(path)
    shared = table.intersection(place.polygon(WANTED[2])).area.sum()
    assert shared < 0.02 * place.polygon(WANTED[2]).area


@pytest.mark.parametrize("box", [(560, 150, 900, 420), (840, 250, 1000, 700)])
def test_an_extent_gives_the_same_polygons_where_it_looks(place, with_negative, box):
    path, whole = with_negative
    extent = place.polygon(box)
    part = place.find(path, extent=list(extent.bounds))
    expected = whole[whole.intersects(extent)]
    assert len(expected) > 0
    assert sorted(part.geometry.to_wkb()) == sorted(expected.geometry.to_wkb())
