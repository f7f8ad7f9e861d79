"""The benchmarks on a small raster of bright squares, with a network that knows what is bright."""

from __future__ import annotations

import argparse
import dataclasses
import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from scipy import ndimage

from core.canvas.example import Example, read_example
from core.canvas.prompts import STRATEGIES
from core.geo.raster import Raster
from core.pipeline.plan import SearchPlan, SearchSettings
from core.sam.answers import Decoded, Embedding
from core.sam.geometry import LOGIT_STRIDE
from core.sam.segmenter import Segmenter
from research.benchmarks import accuracy, baselines, canvas, model
from research.benchmarks.clicks import correction, cut_view, middle
from research.benchmarks.layouts import LAYOUTS, Lecture
from research.benchmarks.masks import bounds
from research.benchmarks.separation import prototype, separation
from research.benchmarks.tiles import search_with, voting
from research.common.cases import draw_cases, read_place

QUARTER = Affine(0.25, 0, 500_000, 0, -0.25, 5_400_000)  # a quarter of a metre per pixel
SQUARES = [(40, 40), (150, 60), (60, 180), (220, 220), (190, 140)]  # column, row of the upper left corner
SIDE = 48  # pixels of a square


@dataclasses.dataclass(frozen=True)
class Seen(Embedding):
    """An embedding that remembers which pixels were bright."""

    bright: np.ndarray = None


class BrightSegmenter:
    """Up to three points: the bright patch under the first; more: all that is bright; a box: its inside."""

    name = "bright"
    knows_borders = False
    identity = None

    def click(self, embedding, points, labels):
        return self.decode(embedding, points, labels)

    def encode(self, image):
        bright = np.zeros((1024, 1024), bool)
        bright[: image.shape[0], : image.shape[1]] = image.mean(axis=2) > 128
        share = bright.reshape(64, 16, 64, 16).mean((1, 3))
        features = torch.as_tensor(np.stack([share, 1 - share]), dtype=torch.float32)[None]
        return Seen(features, image.shape[:2], bright=bright)

    def decode(self, embedding, points, labels, *, boxes_canvas=None, multimask=False, **_):
        patches, _ = ndimage.label(embedding.bright)
        logits = np.full((len(points), 1, 256, 256), -8, np.float32)
        for run in range(len(points)):
            mask = np.zeros_like(embedding.bright)
            if boxes_canvas is not None:
                x0, y0, x1, y1 = boxes_canvas[run].round().astype(int)
                mask[y0:y1, x0:x1] = embedding.bright[y0:y1, x0:x1]
            elif len(points[run]) > 3:
                mask = embedding.bright
            else:
                x, y = points[run][labels[run] == 1][0].astype(int)
                mask = (patches == patches[y, x]) & (patches > 0)
            coarse = mask.reshape(256, LOGIT_STRIDE, 256, LOGIT_STRIDE).mean((1, 3))
            logits[run, 0] = np.where(coarse >= 0.5, 8, -8)
        return Decoded(logits, np.full((len(points), 1), 0.9, np.float32))


@pytest.fixture
def squares(make_raster, write_polygons):
    """A raster of bright squares on dark ground, and their outlines; paths of both."""
    rng = np.random.default_rng(1)
    image = rng.integers(40, 90, (3, 320, 320), np.uint8)
    outlines = []
    for column, row in SQUARES:
        image[:, row : row + SIDE, column : column + SIDE] = rng.integers(200, 250, (3, SIDE, SIDE), np.uint8)
        corners = [QUARTER * (column, row), QUARTER * (column + SIDE, row + SIDE)]
        (x0, y1), (x1, y0) = corners
        outlines.append(shapely.box(x0, y0, x1, y1))
    raster = make_raster(image, "squares.tif", transform=QUARTER)
    return str(raster), str(write_polygons(outlines, "squares_truth.gpkg"))


@pytest.fixture
def bright(monkeypatch):
    """Makes every benchmark load the network that knows what is bright."""
    segmenter = BrightSegmenter()
    monkeypatch.setattr(Segmenter, "load", classmethod(lambda cls, *_: segmenter))
    return segmenter


def search_of(squares, tmp_path, segmenter, stack):
    place = read_place(*squares, None)
    case = draw_cases([place], tmp_path, examples=1, seed=0)[0]
    raster = stack.enter_context(Raster(squares[0]))
    example = read_example(case.example_path, raster)
    settings = SearchSettings(resolution=0.25, extent=place.extent_map)
    return SearchPlan(example, raster, settings), segmenter, place


@pytest.fixture
def search(squares, tmp_path, bright):
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield search_of(squares, tmp_path, bright, stack)


def test_persam_finds_every_object_as_its_own(search):
    plan, segmenter, place = search

    found = search_with(plan, segmenter, baselines.persam)

    assert len(found) == len(SQUARES)
    assert shapely.union_all(found.geometry).symmetric_difference(
        shapely.union_all(place.truth.geometry)
    ).area < (0.1 * place.truth.area.sum())


def test_automatic_keeps_what_is_like_the_example_and_of_its_size(search, monkeypatch):
    plan, segmenter, place = search

    class Generator:
        def __init__(self, *_, point_grids, **__):
            assert point_grids[0].min() >= 0 and point_grids[0].max() <= 1

        def generate(self, image):
            bright_pixels = image.mean(axis=2) > 128
            patches, count = ndimage.label(bright_pixels)
            masks = [patches == label for label in range(1, count + 1)]
            dark = np.zeros_like(bright_pixels)
            dark[0:48, 260:300] = True
            return [
                {"segmentation": mask, "area": int(mask.sum()), "predicted_iou": 0.9}
                for mask in [*masks, *masks, dark, np.ones_like(dark)]
            ]

    monkeypatch.setattr(baselines, "SamAutomaticMaskGenerator", Generator)
    segmenter.sam = None

    found = search_with(plan, segmenter, baselines.automatic)

    assert len(found) == len(SQUARES)
    assert found.intersects(shapely.union_all(place.truth.geometry)).all()


def test_automatic_runs_on_a_real_network(search, embedded_sam, monkeypatch):
    plan, _, _ = search
    monkeypatch.setattr(baselines, "LEAST_SPACING", 256)
    monkeypatch.setattr(baselines, "MOST_SPACING", 256)
    monkeypatch.setattr(baselines, "LEAST_IOU", -10)
    monkeypatch.setattr(baselines, "LEAST_STABILITY", 0)
    real = Segmenter(embedded_sam, "random")

    found = search_with(plan, real, baselines.automatic)

    assert {"score", "area_m2"} <= set(found.columns)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_every_layout_shows_example_and_query_and_finds_the_squares(search, name):
    plan, segmenter, place = search
    layout = LAYOUTS[name]
    crops = layout.crops(plan)
    stitched = layout.canvas(crops, plan.work_grid, next(layout.tiling(plan, crops).tiles()))

    assert max(stitched.image.shape) <= 1024
    assert stitched.image[stitched.example].mean() > 200
    assert stitched.image[stitched.ring].mean() < 100
    assert not (stitched.query & (stitched.example | stitched.ring)).any()
    assert not stitched.query[:, : stitched.column].any()
    shown = stitched.image[:320, stitched.column : stitched.column + 320]
    with rasterio.open(plan.work_grid.raster.path) as dataset:
        assert np.array_equal(shown, dataset.read().transpose(1, 2, 0)[: shown.shape[0], : shown.shape[1]])

    found = search_with(plan, segmenter, voting(STRATEGIES["random-point"], 4), layout=layout)
    assert shapely.union_all(found.geometry).symmetric_difference(
        shapely.union_all(place.truth.geometry)
    ).area < (0.15 * place.truth.area.sum())


def test_lecture_layout_gives_all_objects_and_negatives_from_all_the_rest(search):
    plan, _, place = search
    px_from_map = (~plan.work_grid.raster.map_from_px).to_shapely()
    objects = [shapely.affinity.affine_transform(each, px_from_map) for each in place.truth.geometry]
    layout = Lecture(objects)
    crops = layout.crops(plan)
    stitched = layout.canvas(crops, plan.work_grid, next(layout.tiling(plan, crops).tiles()))

    assert stitched.example.sum() == sum(each.area for each in objects)
    assert (stitched.example | stitched.ring).sum() == crops[0].valid.sum()


def test_accuracy_prints_the_promised_keys(squares, bright, tmp_path, capsys):
    asked = f"--raster {squares[0]} --truth {squares[1]} --examples 2 --runs 4 --json"
    asked += f" --strategies random-point persam everything nothing --pictures {tmp_path / 'pictures'}"
    status = accuracy.main(asked.split())
    result = json.loads(capsys.readouterr().out)

    assert status == 0
    strategies = result["strategies"]
    for figures in strategies.values():
        assert {"iou_median", "iou_min", "f1_median", "f1_min"} <= figures.keys()
        assert len(figures["iou"]) == 2
    assert result["coverage"] == pytest.approx(len(SQUARES) * SIDE**2 / 320**2, rel=1e-3)
    assert strategies["everything"]["iou_median"] == pytest.approx(result["coverage"], abs=1e-4)
    assert strategies["nothing"]["iou_median"] == strategies["nothing"]["f1_median"] == 0
    assert strategies["persam"]["f1_min"] == 1
    assert strategies["random-point"]["iou_min"] > 0.85
    assert result["reference"] == "random-point"
    assert result["causes"]["found"] == sum(result["causes"].values()) == 2 * len(SQUARES)
    assert result["differences"]["nothing"]["iou"]["low"] > 0.85
    assert len(result["pictures"]) == 2
    for which in ("best", "worst"):
        (path,) = (tmp_path / "pictures").glob(f"random-point_{which}_*.png")
        with rasterio.open(path) as picture:
            colours = {tuple(c) for c in picture.read().reshape(3, -1).T.tolist()}
        assert {(60, 235, 60), (255, 0, 190), (255, 230, 0)} & colours


def test_a_costly_strategy_can_be_run_on_fewer_examples(squares, bright, capsys):
    asked = f"--raster {squares[0]} --truth {squares[1]} --examples 3 --runs 4 --json --few persam"
    asked += " --few-examples 1 --strategies random-point persam"
    assert accuracy.main(asked.split()) == 0
    result = json.loads(capsys.readouterr().out)
    strategies = result["strategies"]
    assert [len(strategies[name]["iou"]) for name in ("random-point", "persam")] == [3, 1]
    difference = strategies["random-point"]["iou"][0] - strategies["persam"]["iou"][0]
    assert result["differences"]["persam"]["iou"]["mean"] == pytest.approx(difference, abs=2e-4)


def test_errors_of_each_cause_are_drawn(squares, bright, tmp_path, capsys):
    asked = f"--raster {squares[0]} --truth {squares[1]} --examples 1 --runs 4 --json --iou 0.9999"
    asked += f" --strategies random-point --pictures {tmp_path}"
    assert accuracy.main(asked.split()) == 0
    result = json.loads(capsys.readouterr().out)

    assert result["causes"]["outline"] + result["causes"]["split"] + result["causes"]["partial"] > 0
    drawn = {name.split("_")[1] for name in result["cause_pictures"]}
    assert drawn == {cause for cause, count in result["causes"].items() if count and cause != "found"}
    with rasterio.open(tmp_path / result["cause_pictures"][0]) as picture:
        tiles = (picture.width + 6) / 246
        assert picture.height == 240 and tiles == int(tiles) >= 1
        middle = picture.read()[:, 60:180, 60:180].reshape(3, -1).T.tolist()
    assert (255, 0, 190) in {tuple(colour) for colour in middle}


def test_accuracy_says_what_is_wrong_with_its_input(squares, bright, capsys):
    assert accuracy.main(["--raster", squares[0], squares[0], "--truth", squares[1]]) == 2
    assert "one --truth for each --raster" in capsys.readouterr().err


def test_model_measures_clicks_and_boxes(squares, bright, capsys):
    assert model.main(["--raster", squares[0], "--truth", squares[1], "--objects", "3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)

    figures = result["building"]
    assert figures["n"] == 3
    assert figures["truth"] == "boxes"  # squares along the axes can't be told from boxes
    assert figures["click_1"] == figures["click_3"] == figures["box"] == 1
    assert figures["click_1_mean"] > 0.85
    assert figures["faults"] == {"too much": 0, "too little": 0, "elsewhere": 0}
    assert {"rank_correlation", "iou_error"} <= result.keys()
    assert figures["separation"] > 0.95  # bright squares on dark ground, seen by a network of brightness


def test_model_measures_again_at_other_resolutions(squares, bright, capsys):
    asked = ["--objects", "2", "--by-resolution", "0.4", "0.8", "--json"]
    assert model.main(["--raster", squares[0], "--truth", squares[1], *asked]) == 0
    by_resolution = json.loads(capsys.readouterr().out)["building"]["by_resolution"]

    assert list(by_resolution) == ["0.4", "0.8"]
    assert all(figures["n"] == 2 for figures in by_resolution.values())
    # the same squares in half as many pixels: their outlines can only be coarser
    assert by_resolution["0.4"]["click_1_mean"] > by_resolution["0.8"]["click_1_mean"] > 0.5


def test_outlines_are_told_from_boxes():
    boxes = np.array([shapely.box(0, 0, 2, 1), shapely.box(3, 3, 4, 5)])
    turned = np.array([shapely.affinity.rotate(box, 20) for box in boxes])

    assert model.are_boxes(boxes)
    assert not model.are_boxes(turned)
    assert not model.are_boxes(np.array([]))


def test_objects_lie_whole_and_anywhere_in_their_view(squares):
    centres = []
    with Raster(squares[0]) as raster:
        truth = read_place(*squares, None).truth.geometry
        px_from_map = (~raster.map_from_px).to_shapely()
        outline = shapely.affinity.affine_transform(truth.iloc[0], px_from_map)
        for seed in range(4):
            view = cut_view(raster, outline, 0.125, np.random.default_rng(seed), is_box=False)
            assert bounds(view.inside) == pytest.approx(view.box_canvas)
            assert view.inside.sum() == (2 * SIDE) ** 2
            assert np.array_equal(view.outside, ~view.inside)
            assert view.image[view.inside].mean() > 200
            centres.append(middle(view.inside))
    assert len(set(centres)) == 4


def test_box_truth_knows_its_middle_and_its_outside(squares):
    with Raster(squares[0]) as raster:
        view = cut_view(raster, shapely.box(40, 40, 88, 88), 0.25, np.random.default_rng(0), is_box=True)

    assert view.inside.sum() == (SIDE / 2) ** 2
    assert (~view.outside).sum() == SIDE**2
    assert view.true_iou(~view.outside) == 1
    assert correction(~view.outside, view) is None
    assert view.true_iou(np.zeros_like(view.inside)) == 0


def test_other_objects_are_no_surroundings(squares):
    outline, other = shapely.box(40, 40, 88, 88), shapely.box(96, 40, 144, 88)
    rng = np.random.default_rng(0)
    with Raster(squares[0]) as raster:
        view = cut_view(raster, outline, 0.25, rng, is_box=False, others_px=[other])
    assert view.others.sum() == SIDE**2 and not (view.others & view.inside).any()
    features = torch.zeros(1, 2, 64, 64)
    features[0, 0] = 1  # ground
    cells = (view.inside | view.others)[::16, ::16]
    features[0, :, torch.from_numpy(cells)] = torch.tensor([[0.0], [1.0]])
    embedding = Embedding(features, (1024, 1024))
    own = prototype(embedding, view)
    alone = separation(own, embedding, dataclasses.replace(view, others=None))
    assert separation(own, embedding, view) > 0.98 > 0.95 > alone


def test_canvas_table_compares_layouts_on_the_same_ground(search, tmp_path):
    _, segmenter, place = search
    case = draw_cases([place], tmp_path, examples=1, seed=0)[0]
    options = argparse.Namespace(sizes=[24, 48], layouts=["column", "corner"], area=None, seed=0)

    measured = canvas.measure_case(
        case, "building", voting(STRATEGIES["random-point"], 4), segmenter, options
    )
    page = canvas.table("building", [measured] * 2, options.layouts, options.sizes, 0)

    assert set(measured) == {("column", 24), ("corner", 24), ("column", 48), ("corner", 48)}
    assert min(measured.values()) > 0.7
    assert page.count("\n| ") == 3
    assert "column less corner" in page


def test_ground_area_stays_on_the_raster(squares):
    with Raster(squares[0]) as raster:
        example = Example(raster, [shapely.box(0, 0, 40, 20)])
        x0, y0, x1, y1 = canvas.ground_area(example, 3)
        assert (x1 - x0, y1 - y0) == pytest.approx((30, 30))
        assert shapely.box(*raster.bounds_map).covers(shapely.box(x0, y0, x1, y1))
        assert canvas.ground_area(example, 1000) == pytest.approx(raster.bounds_map)


def test_examples_are_drawn_by_the_seed(squares, tmp_path):
    place = read_place(*squares, None)
    first, again, other = (
        [case.name for case in draw_cases([place], tmp_path, examples=3, seed=seed)] for seed in (0, 0, 1)
    )

    assert first == again != other
    assert len(gpd.read_file(tmp_path / f"{first[0]}.geojson")) == 1
