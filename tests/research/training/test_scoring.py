"""Which detections count as right when the weights of the score are fitted."""

from pathlib import Path

import geopandas as gpd
import pytest
import shapely

pytest.importorskip("cv2")

from research.common.cases import Case, Place
from research.training.scoring import right

ROOFS = [
    shapely.box(10, 10, 20, 20),
    shapely.box(20, 10, 30, 20),
    shapely.box(90, 40, 110, 60),  # the extent cuts it
]


@pytest.fixture
def case():
    return Case(Place("", gpd.GeoDataFrame(geometry=ROOFS), (0, 0, 100, 100)), Path())


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (shapely.box(10, 10, 20, 20), (True, True)),
        (shapely.box(10, 10, 30, 20), (True, True)),  # two roofs as one: not nothing
        (shapely.box(12, 12, 15, 15), (True, True)),  # a piece of one
        (shapely.box(10, 10, 20, 32), (False, True)),  # more than half of it is ground
        (shapely.box(50, 50, 60, 60), (False, True)),
        (shapely.box(90, 40, 99, 60), (True, False)),  # what the extent cuts can't be told
    ],
)
def test_what_lies_on_objects_by_half_is_right(case, found, expected):
    true, is_judged = right(gpd.GeoDataFrame(geometry=[found]), case, boxes=False)
    assert (true[0], is_judged[0]) == expected
