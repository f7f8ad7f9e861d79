"""What the user drew on a tile: found or never found, and no slivers beside it."""

import numpy as np
import pytest
import shapely

from core.geo.raster import Raster
from core.voting.user_labels import known, pixels_of
from core.voting.vote import Vote

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


def vote(*roofs):
    """A vote that found these roofs, each an object."""
    objects = drawn(*roofs)
    share = np.where(objects > 0, np.float32(0.9), np.float32(0.1))
    return Vote(share, 0.9, objects > 0, share, 0.9, objects=objects)


def numbers_found(given):
    return set(np.unique(given.objects[given.found]).tolist())


@pytest.mark.parametrize(
    "outline",
    [np.s_[22:48, 22:58], np.s_[20:50, 20:52], np.s_[16:46, 16:56], np.s_[16:54, 16:64]],
    ids=["inside", "short", "shifted", "around"],
)
def test_an_outline_that_is_not_exact_leaves_no_second_object(outline):
    given = known(vote(ROOF), drawn(outline), smooth_px=SMOOTH)
    np.testing.assert_array_equal(given.found, drawn(outline) > 0)
    assert len(numbers_found(given)) == 1


def test_a_neighbour_that_reaches_into_the_outline_stays_without_its_slivers():
    neighbour = np.s_[20:50, 60:100]
    outline = np.s_[18:48, 18:64]  # 4 pixels of the neighbour, and not its lower edge
    given = known(vote(ROOF, neighbour), drawn(outline), smooth_px=SMOOTH)
    found = drawn(outline) > 0
    found[20:50, 64:100] = True
    found[48:50, 60:64] = True  # hangs on the broad rest
    np.testing.assert_array_equal(given.found, found)
    assert len(numbers_found(given)) == 2
    beside = known(vote(ROOF, neighbour), drawn(np.s_[18:52, 18:98]), smooth_px=SMOOTH)
    assert not beside.found[:, 98:].any()  # 2 pixels of the neighbour are none


def test_an_example_that_is_a_part_of_what_was_found_leaves_the_rest():
    row_of_roofs = np.s_[20:50, 20:110]
    given = known(vote(row_of_roofs), drawn(np.s_[20:50, 20:50]), smooth_px=SMOOTH)
    assert given.found[row_of_roofs].all() and len(numbers_found(given)) == 2


def test_the_rim_of_what_is_not_wanted_goes_with_it():
    given = known(vote(ROOF), empty(), drawn(np.s_[23:47, 23:57]), smooth_px=SMOOTH)
    assert not given.found.any()


def test_touching_examples_are_objects_of_their_own():
    given = known(vote(), drawn(np.s_[20:50, 20:60], np.s_[20:50, 60:100]))
    assert len(numbers_found(given)) == 2


def test_without_objects_nothing_else_changes():
    plain = vote(ROOF)
    plain = Vote(plain.share, 0.9, plain.found, plain.similarity, 0.9)
    given = known(plain, drawn(np.s_[22:48, 22:58]), smooth_px=SMOOTH)
    np.testing.assert_array_equal(given.found, plain.found)
    assert given.objects is None


def test_polygons_are_numbered_where_the_tile_has_data(noisy_raster):
    with Raster(noisy_raster) as raster:
        metres = min(raster.metres_per_pixel)
        valid = np.ones((32, 48), bool)
        valid[:12] = False
        polygons = [shapely.box(20, 30, 30, 40), shapely.box(30, 30, 36, 40)]
        numbers = pixels_of(polygons, raster, metres, (10, 20), valid)
        assert pixels_of([], raster, metres, (0, 0), valid).shape == valid.shape
    expected = np.zeros((32, 48), np.int32)
    expected[12:20, 10:20], expected[12:20, 20:26] = 1, 2
    np.testing.assert_array_equal(numbers, expected)
