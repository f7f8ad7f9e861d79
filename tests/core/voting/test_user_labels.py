"""What the user drew on a tile: found or never found, and no slivers beside it."""

import numpy as np
import pytest
import shapely

from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid
from core.voting.score_map import Segmentation
from core.voting.user_labels import apply_user_labels

SHAPE = (80, 120)
ROOF = np.s_[20:50, 20:60]
SMOOTH = 3


def empty():
    return np.zeros(SHAPE, np.int32)


def drawn(*places):
    """Numbers of polygons on these rows and columns."""
    numbers = empty()
    for number, place in enumerate(places, start=1):
        numbers[place] = number
    return numbers


def segmentation(*roofs):
    """A segmentation that found these roofs, each an object."""
    objects = drawn(*roofs)
    share = np.where(objects > 0, np.float32(0.9), np.float32(0.1))
    return Segmentation(share, objects > 0, share, 0.9, objects=objects)


def numbers_found(given):
    return set(np.unique(given.objects[given.found]).tolist())


@pytest.mark.parametrize(
    "outline",
    [np.s_[22:48, 22:58], np.s_[20:50, 20:52], np.s_[16:46, 16:56], np.s_[16:54, 16:64]],
    ids=["inside", "short", "shifted", "around"],
)
def test_an_outline_that_is_not_exact_leaves_no_second_object(outline):
    given = apply_user_labels(segmentation(ROOF), drawn(outline), radius=SMOOTH)
    np.testing.assert_array_equal(given.found, drawn(outline) > 0)
    assert len(numbers_found(given)) == 1


def test_a_neighbour_that_reaches_into_the_outline_stays_without_its_slivers():
    neighbour = np.s_[20:50, 60:100]
    outline = np.s_[18:48, 18:64]  # 4 pixels of the neighbour, and not its lower edge
    given = apply_user_labels(segmentation(ROOF, neighbour), drawn(outline), radius=SMOOTH)
    found = drawn(outline) > 0
    found[20:50, 64:100] = True
    found[48:50, 60:64] = True  # hangs on the broad rest
    np.testing.assert_array_equal(given.found, found)
    assert len(numbers_found(given)) == 2
    beside = apply_user_labels(segmentation(ROOF, neighbour), drawn(np.s_[18:52, 18:98]), radius=SMOOTH)
    assert not beside.found[:, 98:].any()  # 2 pixels of the neighbour are none


def test_an_example_that_is_a_part_of_what_was_found_leaves_the_rest():
    row_of_roofs = np.s_[20:50, 20:110]
    given = apply_user_labels(segmentation(row_of_roofs), drawn(np.s_[20:50, 20:50]), radius=SMOOTH)
    assert given.found[row_of_roofs].all() and len(numbers_found(given)) == 2


def test_the_rim_of_what_is_not_wanted_goes_with_it():
    given = apply_user_labels(segmentation(ROOF), empty(), drawn(np.s_[23:47, 23:57]), radius=SMOOTH)
    assert not given.found.any()


def test_touching_examples_are_objects_of_their_own():
    given = apply_user_labels(segmentation(), drawn(np.s_[20:50, 20:60], np.s_[20:50, 60:100]))
    assert len(numbers_found(given)) == 2


def test_without_objects_nothing_else_changes():
    plain = segmentation(ROOF)
    plain = Segmentation(plain.score, plain.found, plain.similarity, 0.9)
    given = apply_user_labels(plain, drawn(np.s_[22:48, 22:58]), radius=SMOOTH)
    np.testing.assert_array_equal(given.found, plain.found)
    assert given.objects is None


def test_polygons_are_numbered_in_their_box_of_the_working_grid(noisy_raster):
    with Raster(noisy_raster) as raster:
        grid = WorkGrid(raster, min(raster.metres_per_pixel))
        polygons = [grid.work_from_px(shapely.box(*box)) for box in ((20, 30, 30, 40), (30, 30, 36, 40))]
        numbers = grid.rasterize(polygons, 10, 20, (32, 48))
        assert grid.rasterize([], 0, 0, (32, 48)).shape == (32, 48)
    expected = np.zeros((32, 48), np.int32)
    expected[10:20, 10:20], expected[10:20, 20:26] = 1, 2
    np.testing.assert_array_equal(numbers, expected)
