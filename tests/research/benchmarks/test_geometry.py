"""The measurement of clean outlines, on the sample town."""

import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from research.benchmarks.geometry import (
    as_markdown,
    corners,
    draw_figure,
    iou,
    noisy_masks,
    of_buildingregulariser,
    of_buildings,
    of_vehicles,
)


@pytest.fixture(scope="module")
def figures():
    return {"building": [of_buildings(0.05)], "vehicle": [of_vehicles(0.05)]}


def test_masks_are_their_objects_with_uneven_edges():
    pairs = noisy_masks("building", 0.05)
    assert len(pairs) > 60
    assert all(0.5 < iou(mask, true) < 1 for mask, true in pairs)
    assert all(corners(mask) > corners(true) for mask, true in pairs)
    assert [m.wkb for m, _ in noisy_masks("building", 0.05)] == [m.wkb for m, _ in pairs]


def test_clean_outlines_are_nearer_to_the_truth_with_fewer_corners(figures):
    (f,) = figures["building"]
    assert f["pixel_edges"]["iou"] < f["half_level"]["iou"] < f["regularized"]["iou"]
    assert f["pixel_edges"]["corners"] > f["half_level"]["corners"] > f["regularized"]["corners"]
    assert abs(f["half_level"]["length"] - 1) < abs(f["pixel_edges"]["length"] - 1) / 3
    assert f["share_regularized"] > 0.7 and f["worst_loss"] < 0.1
    assert f["those_after"]["iou"] > f["those_before"]["iou"]


def test_the_other_way_to_right_angles_is_measured_on_the_same_masks(figures):
    pytest.importorskip("buildingregulariser")
    by_default, *_ = theirs = of_buildingregulariser(0.05)
    assert all(0.7 < f["iou"] < figures["building"][0]["regularized"]["iou"] for f in theirs)
    assert by_default["corners"] < figures["building"][0]["half_level"]["corners"]
    page = as_markdown(figures | {"buildingregulariser": theirs})
    assert f"| 0.05 | 0.5 m | {by_default['iou']:.3f} |" in page


def test_fitted_rectangles_are_nearer_than_the_smallest(figures):
    (f,) = figures["vehicle"]
    assert f["n"] > 250
    assert f["fitted"]["iou"] > f["smallest"]["iou"] + 0.03
    assert f["fitted"]["width_error"] < f["smallest"]["width_error"]
    assert f["fitted"]["angle_error_deg"] <= f["smallest"]["angle_error_deg"] + 0.1


def test_the_tables_hold_every_row(figures):
    table = as_markdown(figures).splitlines()
    assert len(table) == 3 + 1 + 4
    for line in filter(None, table):
        assert line.count("|") in (8,)


@pytest.mark.filterwarnings(f"ignore::{NotGeoreferencedWarning.__module__}.NotGeoreferencedWarning")
def test_the_figure_shows_three_panels(tmp_path):
    draw_figure(tmp_path / "figure.jpg", 0.05, (575, 740, 60, 50), enlarged=2)
    with rasterio.open(tmp_path / "figure.jpg") as figure:
        assert (figure.width, figure.height) == (3 * 120 + 2 * 6, 100)
    assert [path.name for path in tmp_path.iterdir()] == ["figure.jpg"]
