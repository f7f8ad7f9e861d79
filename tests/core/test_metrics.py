"""The yardstick, against cases computed by hand."""

import math

import geopandas as gpd
import numpy as np
import pytest
import shapely

from core.errors import InputError
from core.metrics import evaluate, evaluate_files, read_polygons
from core.protocol import EvaluateRequest

UTM = "EPSG:25832"
EXTENT = (0.0, 0.0, 100.0, 100.0)


def layer(*boxes, crs=UTM):
    geometries = [box if isinstance(box, shapely.Geometry) else shapely.box(*box) for box in boxes]
    return gpd.GeoDataFrame(geometry=gpd.GeoSeries(geometries, dtype="geometry", crs=crs))


def test_a_case_by_hand():
    truth = layer((10, 10, 30, 20), (50, 50, 60, 60))
    found = layer((10, 10, 30, 15), (50, 50, 60, 60), (80, 80, 90, 90))
    result = evaluate(found, truth, EXTENT)
    # Union of truth 300, of detections 300, shared 200.
    assert result["iou"] == pytest.approx(200 / 400)
    assert (result["n_truth"], result["n_detected"], result["n_matched"]) == (2, 3, 2)  # 0.5 is enough
    assert result["precision"] == pytest.approx(2 / 3) and result["recall"] == 1
    assert result["f1"] == pytest.approx(0.8)
    assert result["coverage"] == pytest.approx(300 / 10_000)
    stricter = evaluate(found, truth, EXTENT, 0.6)
    assert stricter["n_matched"] == 1 and stricter["iou"] == result["iou"]


def test_matching_is_one_to_one_best_first():
    truth = layer((10, 10, 20, 20))
    found = layer((10, 10, 20, 19), (10, 10, 20, 20), (10, 10, 20, 18))  # three on one object
    result = evaluate(found, truth, EXTENT)
    assert (result["n_matched"], result["n_detected"]) == (1, 3)
    # Greedy, best IoU first: 0.9 takes the middle, so the outer two can't both match.
    truth = layer((10, 10, 20, 20), (10, 19, 20, 30))
    found = layer((10, 10, 20, 21), (10, 20, 20, 30))
    assert evaluate(found, truth, EXTENT)["n_matched"] == 2
    # One detection over two objects is one match at most.
    result = evaluate(layer((10, 10, 30, 20)), layer((10, 10, 20, 20), (20, 10, 30, 20)), EXTENT)
    assert result["n_matched"] == 1 and result["recall"] == 0.5


def test_truth_on_the_border_is_ignored_both_ways():
    cut, inside = (-10, 40, 10, 60), (50, 50, 60, 60)
    truth = layer(cut, inside)
    # Not found: not missed.
    assert evaluate(layer(inside), truth, EXTENT)["recall"] == 1
    # Found, whole or badly: not wrong.
    for border in (cut, (0, 40, 10, 60), (0, 40, 4, 44)):
        result = evaluate(layer(inside, border), truth, EXTENT)
        assert result["precision"] == result["recall"] == result["f1"] == 1, border
        assert (result["n_truth"], result["n_detected"], result["n_matched"]) == (1, 1, 1)
    # What touches the border from inside is cut, too: nobody knows whether it goes on.
    assert evaluate(layer(inside), layer((0, 0, 5, 5), inside), EXTENT)["n_truth"] == 1
    # A detection on the border where there is no truth is wrong.
    assert evaluate(layer(inside, (-5, 0, 5, 5)), truth, EXTENT)["precision"] == 0.5


def test_what_lies_outside_the_extent_does_not_count():
    truth = layer((50, 50, 60, 60), (200, 200, 210, 210))
    result = evaluate(layer((50, 50, 60, 60), (300, 300, 310, 310)), truth, EXTENT)
    assert (result["n_truth"], result["n_detected"]) == (1, 1) and result["iou"] == 1


def test_areas_are_cut_at_the_extent():
    result = evaluate(layer((90, 0, 120, 100)), layer((80, 0, 200, 100)), EXTENT)
    assert result["iou"] == pytest.approx(0.5) and result["coverage"] == pytest.approx(0.2)


def test_overlapping_polygons_are_not_counted_twice():
    result = evaluate(layer((10, 10, 30, 30), (20, 10, 40, 30)), layer((10, 10, 40, 30)), EXTENT)
    assert result["iou"] == pytest.approx(1)
    assert evaluate(layer(), layer((0, 0, 60, 50), (30, 0, 100, 50)), EXTENT)["coverage"] == 0.5


def test_everything_scores_the_coverage():
    truth = layer((10, 10, 30, 20), (50, 50, 60, 60))
    result = evaluate(layer(EXTENT), truth, EXTENT)
    assert result["iou"] == pytest.approx(result["coverage"])


def test_boxes_compare_boxes():
    triangle = shapely.Polygon([(10, 10), (30, 10), (10, 30)])
    truth = layer((10, 10, 30, 30))
    assert evaluate(layer(triangle), truth, EXTENT, 0.6)["n_matched"] == 0
    result = evaluate(layer(triangle), truth, EXTENT, 0.6, boxes=True)
    assert result["n_matched"] == 1 and result["iou"] == 1


def test_nothing_found_and_nothing_there():
    nothing = evaluate(layer(), layer((10, 10, 20, 20)), EXTENT)
    assert nothing["iou"] == nothing["precision"] == nothing["recall"] == nothing["f1"] == 0
    assert (nothing["n_truth"], nothing["n_detected"]) == (1, 0)
    assert nothing["coverage"] == pytest.approx(0.01)
    nowhere = evaluate(layer((10, 10, 20, 20)), layer(), EXTENT)
    assert nowhere["precision"] == nowhere["recall"] == nowhere["coverage"] == 0
    assert (nowhere["n_truth"], nowhere["n_detected"]) == (0, 1)


def test_without_an_extent_and_without_truth_there_is_nothing_to_compare_on():
    with pytest.raises(InputError, match="Give the extent"):
        evaluate(layer((10, 10, 20, 20)), layer())


def test_without_an_extent_the_truths_bounds_are_taken():
    truth = layer((0, 0, 10, 10), (40, 40, 50, 50), (90, 90, 100, 100))
    result = evaluate(layer((40, 40, 50, 50), (500, 500, 510, 510)), truth)
    assert result["coverage"] == pytest.approx(0.03)
    assert (result["n_truth"], result["n_detected"], result["n_matched"]) == (1, 1, 1)


def test_another_crs_is_brought_to_the_truths():
    truth = layer((500_000, 5_400_000, 500_020, 5_400_010), crs=UTM)
    extent = (499_900, 5_399_900, 500_100, 5_400_100)
    result = evaluate(truth.to_crs("EPSG:4326"), truth, extent)
    assert result["n_matched"] == 1 and result["iou"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("boxes", [False, True])
def test_against_a_count_of_pixels(boxes):
    rng = np.random.default_rng(8)
    corners = rng.integers(2, 90, (2, 12, 2))
    sizes = rng.integers(2, 9, (2, 12, 2))
    found, true = (
        [(x, y, x + w, y + h) for (x, y), (w, h) in zip(c, s, strict=True)]
        for c, s in zip(corners, sizes, strict=True)
    )
    grids = []
    for boxes_of in (found, true):
        grid = np.zeros((100, 100), bool)
        for x0, y0, x1, y1 in boxes_of:
            grid[y0:y1, x0:x1] = True
        grids.append(grid)
    result = evaluate(layer(*found), layer(*true), EXTENT, boxes=boxes)
    assert result["iou"] == pytest.approx((grids[0] & grids[1]).sum() / (grids[0] | grids[1]).sum())
    assert result["coverage"] == pytest.approx(grids[1].mean())


# Reading


@pytest.mark.parametrize("ending", [".gpkg", ".shp", ".geojson", ".parquet"])
def test_polygons_are_read_from_every_format(tmp_path, ending):
    table = layer((0, 0, 1, 1), (2, 2, 3, 3))
    path = tmp_path / f"truth{ending}"
    if ending == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path)
    assert len(read_polygons(path)) == 2


def test_a_target_chooses_where_there_is_such_a_column(tmp_path):
    table = layer((0, 0, 1, 1), (2, 2, 3, 3)).assign(target=["building", "vehicle"])
    table.to_file(tmp_path / "truth.gpkg")
    assert len(read_polygons(tmp_path / "truth.gpkg", "vehicle")) == 1
    assert len(read_polygons(tmp_path / "truth.gpkg")) == 2
    table.drop(columns="target").to_file(tmp_path / "plain.gpkg")
    assert len(read_polygons(tmp_path / "plain.gpkg", "vehicle")) == 2


def test_crossed_outlines_are_mended_and_empty_ones_left_out(tmp_path):
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    layer(bow_tie, shapely.Polygon(), (20, 20, 30, 30)).to_file(tmp_path / "truth.gpkg")
    table = read_polygons(tmp_path / "truth.gpkg")
    assert len(table) == 2 and table.geometry.is_valid.all() and table.area.iloc[0] == pytest.approx(50)


def test_files_without_polygons_are_refused(tmp_path):
    (tmp_path / "text.gpkg").write_text("hello")
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    for name in ("absent.gpkg", "text.gpkg", "text.parquet", "table.csv", "."):
        with pytest.raises(InputError):
            read_polygons(tmp_path / name)


def test_what_cannot_be_compared_is_said(tmp_path):
    points = gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)], crs=UTM)
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(InputError, match="points or lines, but no polygons"):
        read_polygons(tmp_path / "points.gpkg")
    named = layer((10, 10, 30, 20), (50, 50, 60, 60)).assign(target=["vehicle", "building"])
    named.to_file(tmp_path / "named.gpkg")
    assert len(read_polygons(tmp_path / "named.gpkg", "vehicle")) == 1
    with pytest.raises(InputError, match="no target 'boat'"):
        read_polygons(tmp_path / "named.gpkg", "boat")
    with pytest.raises(InputError, match="lie in the extent"):
        evaluate(named, named, (1000.0, 0.0, 1001.0, 1.0))
    nothing = evaluate(layer(), layer(), EXTENT)  # a tile with nothing on it, rightly so
    assert nothing["n_truth"] == nothing["n_detected"] == 0


def test_the_one_layer_of_polygons_is_read_and_of_several_none(tmp_path):
    path = tmp_path / "layers.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)], crs=UTM).to_file(path, layer="a_notes")
    layer((10, 10, 30, 20)).to_file(path, layer="roofs")
    assert len(read_polygons(path)) == 1
    layer((50, 50, 60, 60)).to_file(path, layer="sheds")
    with pytest.raises(InputError, match=r"several layers: roofs, sheds\. Save the one"):
        read_polygons(path)


@pytest.mark.filterwarnings("error")
def test_measures_along_an_outline_are_left_out_without_a_word(tmp_path):
    (tmp_path / "measured.csv").write_text('WKT\n"POLYGON ZM ((0 0 1 5,9 0 1 5,9 9 1 5,0 0 1 5))"\n')
    assert len(read_polygons(tmp_path / "measured.csv")) == 1


def test_shapes_in_a_column_of_another_name_are_read(tmp_path):
    """As GeoParquet from a database has it."""
    layer((0, 0, 1, 1)).rename_geometry("geom").to_parquet(tmp_path / "found.parquet")
    assert read_polygons(tmp_path / "found.parquet").geometry.name == "geometry"


@pytest.mark.parametrize("extent", [[math.nan, 0, 1, 1], [0, 0, math.inf, math.inf], [1, 1, 0, 0]])
def test_an_extent_that_is_none_is_refused(tmp_path, extent):
    layer((0, 0, 1, 1)).to_file(tmp_path / "a.gpkg")
    with pytest.raises(InputError, match="extent"):
        evaluate_files(EvaluateRequest(str(tmp_path / "a.gpkg"), str(tmp_path / "a.gpkg"), extent=extent))


@pytest.mark.parametrize("mislabelled", ["detections", "truth"])
def test_metres_in_a_layer_that_names_degrees_are_told_instead_of_zeros(mislabelled):
    square = shapely.box(500_000, 5_400_000, 500_010, 5_400_010)
    tables = {name: gpd.GeoDataFrame(geometry=[square], crs="EPSG:25832") for name in ("detections", "truth")}
    tables[mislabelled] = tables[mislabelled].set_crs("EPSG:4326", allow_override=True)
    with pytest.raises(InputError, match=f"of the {mislabelled} are no degrees.*fit.*ETRS89 / UTM zone 32N"):
        evaluate(tables["detections"], tables["truth"])
