"""Negative polygons, "not this", from the example's file to the detections.

A stand-in for the network is the surer the brighter a pixel is, so that every score is known.
"""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine

from core.canvas.example import cut_crops, read_example
from core.errors import InputError
from core.geo.raster import Raster
from core.pipeline.detect import detect
from core.pipeline.search import MIN_SCORE, STRICTEST
from core.protocol import DetectRequest
from core.sam.answers import Decoded, Embedding
from core.voting.score_map import Segmentation
from core.voting.user_labels import apply_user_labels

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
    beside = shapely.box(500_050, 5_399_960, 500_056, 5_399_965)
    path = write_polygons([LARGE, SQUARE, beside], name, role=["negative", "positive", None])
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


def test_crops_are_those_of_what_is_wanted(raster, write_polygons):
    alone = cut_crops(read_example(write_polygons([SQUARE]), raster), 0.5, None)
    path = write_polygons([LARGE, SQUARE, SMALL], role=["negative", "positive", "negative"])
    crops = cut_crops(read_example(path, raster), 0.5, None)
    assert len(crops) == 1
    np.testing.assert_array_equal(crops[0].image, alone[0].image)
    np.testing.assert_array_equal(crops[0].mask, alone[0].mask)


# What it scores


def test_a_negative_polygon_scores_as_a_detection_there_would():
    share = np.zeros((20, 20), np.float32)
    share[:, :10], share[:, 10:15] = 0.7, 0.4
    segmentation = Segmentation(share, share > 0.5, share, 0.9)
    polygon = np.zeros((20, 20), bool)
    polygon[5:10, 5:20] = True
    assert segmentation.score_inside(polygon) == pytest.approx(0.7)  # only what lies above the cut
    polygon[:, :10] = False
    assert segmentation.score_inside(polygon) == 0


def test_what_is_negative_is_not_found_and_wins_over_the_example():
    share = np.full((20, 20), 0.8, np.float32)
    example, negative = np.zeros((2, 20, 20), bool)
    example[:10], negative[5:15] = True, True
    found = apply_user_labels(Segmentation(share, share > 0.5, share, 0.9), example, negative).found
    np.testing.assert_array_equal(found, ~negative)


# The whole way

DARK, BRIGHT = 60, 220
WANTED = [(100, 80, 160, 120), (300, 90, 350, 150), (700, 500, 740, 560), (880, 300, 930, 340)]
SURE = 0.98
DOUBTFUL = {  # boxes and how sure the network is of them
    (420, 90, 480, 130): 0.68,
    (600, 200, 650, 260): 0.65,
    (870, 600, 920, 650): 0.71,
    (100, 500, 160, 560): 0.9,
}
TRANSFORM = Affine(0.5, 0, 5e5, 0, -0.5, 5.4e6)


class BrightnessSegmenter:
    """Answers every prompt with how bright each pixel is."""

    name = "brightness"
    knows_borders = False

    def encode(self, image):
        share = np.zeros((1024, 1024), np.float32)
        share[: image.shape[0], : image.shape[1]] = (image.mean(axis=-1) - DARK) / (BRIGHT - DARK) * SURE
        coarse = share.reshape(256, 4, 256, 4).mean((1, 3))
        return Embedding(torch.as_tensor(coarse)[None, None], image.shape[:2])

    def decode(self, embedding, points_canvas, labels, **_):
        share = np.clip(embedding.features[0, 0].numpy(), 1e-3, 1 - 1e-3)
        logits = np.broadcast_to(np.log(share / (1 - share)), (len(points_canvas), 1, 256, 256))
        return Decoded(logits.astype(np.float32), np.full((len(logits), 1), 0.9, np.float32))


@dataclasses.dataclass
class Place:
    """A raster with bright and less bright boxes, in pixels."""

    folder: object
    raster: str
    least: float = 0.0

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
        request = DetectRequest(self.raster, example, output, **request)
        summary = detect(request, segmenter=BrightnessSegmenter())
        self.least = summary.min_score
        return gpd.read_file(output)

    def hits(self, table, boxes):
        return [int(table.intersects(self.polygon(box)).sum()) for box in boxes]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    image = np.full((3, 700, 1000), DARK, np.uint8)
    for (x0, y0, x1, y1), sure in (dict.fromkeys(WANTED, SURE) | DOUBTFUL).items():
        image[:, y0:y1, x0:x1] = round(DARK + sure / SURE * (BRIGHT - DARK))
    profile = {"driver": "GTiff", "count": 3, "width": 1000, "height": 700, "dtype": "uint8"}
    with rasterio.open(folder / "r.tif", "w", crs="EPSG:25832", transform=TRANSFORM, **profile) as dataset:
        dataset.write(image)
    return Place(folder, str(folder / "r.tif"))


def drawn(place, *negatives):
    roles = ["positive", *["negative"] * len(negatives)]
    return place.example("drawn.gpkg", [WANTED[0], *negatives], role=roles)


def test_what_is_no_surer_than_the_negative_polygon_is_no_longer_found(place):
    boxes = list(DOUBTFUL)
    before = place.find(place.example("one.gpkg", [WANTED[0]]))
    assert place.least == MIN_SCORE
    assert place.hits(before, WANTED) == [1] * 4 and place.hits(before, boxes) == [1] * 4
    after = place.find(drawn(place, boxes[0]))
    assert 0.66 < place.least < 0.72
    assert place.hits(after, WANTED) == [1] * 4 and place.hits(after, boxes) == [0, 0, 1, 1]
    both = place.find(drawn(place, boxes[0], boxes[2]))  # the surest one counts
    assert place.hits(both, WANTED) == [1] * 4 and place.hits(both, boxes) == [0, 0, 0, 1]


def test_a_negative_polygon_on_something_sure_takes_itself_and_does_not_empty_the_map(place):
    boxes = list(DOUBTFUL)
    table = place.find(drawn(place, boxes[3]))
    assert place.least == STRICTEST
    assert place.hits(table, WANTED) == [1] * 4 and place.hits(table, boxes) == [0] * 4


def test_a_negative_polygon_where_nothing_is_found_changes_nothing(place):
    before = place.find(place.example("one.gpkg", [WANTED[0]]))
    after = place.find(drawn(place, (400, 400, 450, 450)))
    assert place.least == MIN_SCORE
    assert list(before.geometry.to_wkb()) == list(after.geometry.to_wkb())


def test_a_least_score_that_was_asked_for_is_kept_to(place):
    table = place.find(drawn(place, next(iter(DOUBTFUL))), min_score=0.3)
    assert place.least == 0.3 and place.hits(table, list(DOUBTFUL)) == [0, 1, 1, 1]


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
def test_an_extent_gives_the_same_polygons_where_it_looks(place, box):
    path = drawn(place, next(iter(DOUBTFUL)))  # which lies outside of both extents
    whole, least = place.find(path), place.least
    assert least > MIN_SCORE
    extent = place.polygon(box)
    part = place.find(path, extent=list(extent.bounds))
    assert place.least == least
    expected = whole[whole.intersects(extent)]
    assert len(expected) > 0
    assert sorted(part.geometry.to_wkb()) == sorted(expected.geometry.to_wkb())


@pytest.mark.parametrize("bands", [None, [3, 2, 1]])
def test_naming_the_raster_as_the_examples_own_changes_nothing(place, bands):
    path = place.example("both.gpkg", [WANTED[0], WANTED[2]], role=["positive", "negative"])
    plain = place.find(path)
    said = place.find(path, example_raster=place.raster, example_bands=bands)
    assert list(plain.geometry.to_wkb()) == list(said.geometry.to_wkb())


def test_examples_of_very_different_size_are_all_found(place):
    small = (210, 300, 222, 310)
    table = place.find(place.example("sizes.gpkg", [WANTED[0], small]), target="vehicle")
    assert place.hits(table, [WANTED[0], small]) == [1, 1]


def test_a_role_that_is_a_list_is_told_as_none(raster, tmp_path):
    path = tmp_path / "roles.geojson"
    path.write_text(
        '{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": "EPSG:25832"}}, '
        '"features": [{"type": "Feature", "properties": {"role": ["negative", "x"]}, "geometry": '
        f"{shapely.to_geojson(SQUARE)}}}]}}"
    )
    with pytest.raises(InputError, match=r"The column role of .* says"):
        read_example(path, raster)
