"""Causes of errors: each situation by itself, and all together."""

import geopandas as gpd
import pytest
from shapely import box
from shapely.affinity import translate

from core.metrics import evaluate
from research.benchmarks.causes import FALSE, MISSES, counts, errors

EXTENT = (0, 0, 100, 100)
A, B, C = box(10, 10, 30, 30), box(30, 10, 50, 30), box(50, 10, 70, 30)  # touching roofs


def causes(*given, **options):
    return counts(*errors(*given, **options))


def table(*shapes):
    return gpd.GeoDataFrame(geometry=list(shapes), crs="EPSG:32633")


@pytest.mark.parametrize(
    "found, truth, expected",
    [
        ([A, B], [A, B], {"found": 2}),
        ([box(10, 10, 70, 30)], [A, B, C], {"merged": 3, "several": 1}),
        ([box(10, 10, 18, 30), box(22, 10, 30, 30)], [A], {"split": 1, "pieces": 2}),
        ([box(5, 5, 40, 40)], [A], {"outline": 1, "ground": 1}),
        ([box(10, 10, 16, 30)], [A], {"partial": 1, "pieces": 1}),
        ([box(60, 60, 80, 80)], [A], {"missed": 1, "ground": 1}),
        ([], [A, B], {"missed": 2}),
        ([A], [], {"ground": 1}),
        ([], [A, box(-10, 10, 10, 30)], {"missed": 1}),  # what the border cuts is not missed either
        ([box(0, 10, 8, 30)], [box(-10, 10, 10, 30)], {}),  # cut by the border: nobody's fault
    ],
)
def test_each_error_has_its_cause(found, truth, expected):
    counted = causes(table(*found), table(*truth), EXTENT, 0.5)
    assert {name: number for name, number in counted.items() if number} == expected


def test_one_detection_finds_one_object_only():
    """As ``core.metrics`` counts: at an IoU of 0.3 a box over two cars is not both of them."""
    counted = causes(table(box(10, 10, 50, 30)), table(A, B), EXTENT, 0.3)
    assert {name: number for name, number in counted.items() if number} == {"found": 1, "merged": 1}
    judged = evaluate(table(box(10, 10, 50, 30)), table(A, B), EXTENT, 0.3)
    assert judged["n_matched"] == 1
    twice = causes(table(A, A.buffer(-1)), table(A), EXTENT, 0.3)
    assert (twice["found"], twice["pieces"]) == (1, 1)


def test_every_truth_is_counted_once():
    truth = [translate(box(5, 5, 14, 14), 12 * i, 12 * j) for i in range(7) for j in range(7)]
    found = [translate(shape, 3 * (i % 4), 2 * (i % 3)) for i, shape in enumerate(truth)]
    counted = causes(table(*found), table(*truth), EXTENT, 0.5)
    assert counted["found"] + sum(counted[name] for name in MISSES) == len(truth)
    assert sum(counted[name] for name in FALSE) <= len(found)


def test_boxes_are_compared_with_boxes():
    slanted = box(40, 40, 60, 60).buffer(-4).union(box(40, 40, 41, 60)).union(box(59, 40, 60, 60))
    truth = table(box(40, 40, 60, 60))
    thin = table(slanted.intersection(box(40, 40, 60, 44)).union(box(40, 40, 40.5, 60)))
    assert causes(thin, truth, EXTENT, 0.5)["found"] == 0
    assert causes(table(slanted), truth, EXTENT, 0.9, boxes=True)["found"] == 1


def test_every_error_has_its_place():
    found, made = errors(table(A, box(60, 60, 80, 80)), table(A, B), EXTENT, 0.5)
    assert found == 1
    assert {(error.cause, error.shape_map.bounds) for error in made} == {
        ("missed", B.bounds), ("ground", (60, 60, 80, 80)),
    }  # fmt: skip
