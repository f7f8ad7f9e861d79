"""Neighbours that are one object after all are joined: what speaks for it, and against it."""

import numpy as np
import pytest
from scipy import ndimage

from core.instances import merging
from core.instances.watershed import assign_to_markers
from core.sam.geometry import BOX_STRIDE

SIDE = 96  # of a roof
ROOFS = ((8, 8, 104, 104), (104, 8, 200, 104))  # touching; x0, y0, x1, y1


@pytest.fixture
def row():
    """Two touching roofs: what is found, and the border between them, 8 pixels wide, surely seen."""
    found = np.zeros((112, 208), bool)
    found[8:104, 8:200] = True
    border = np.zeros(found.shape, np.float32)
    border[:, 100:108] = 0.95
    return found, border


def boxes_seen(shape, boxes=ROOFS):
    """What the network answers where each box is that of the object there; beside them, the first."""
    x, y = (
        (np.arange(shape[1] // BOX_STRIDE) + 0.5) * BOX_STRIDE,
        (np.arange(shape[0] // BOX_STRIDE) + 0.5)[:, None] * BOX_STRIDE,
    )
    reach = np.zeros((4, shape[0] // BOX_STRIDE, shape[1] // BOX_STRIDE), np.float32)
    for x0, y0, x1, y1 in (boxes[0], *boxes):
        sides = np.stack(np.broadcast_arrays(x - x0, y - y0, x1 - x, y1 - y))
        there = (sides > 0).all(axis=0) if reach.any() else np.ones(sides.shape[1:], bool)
        reach[:, there] = sides[:, there]
    return reach


def joined(found, border, reach, example_px=SIDE**2):
    patches, _ = ndimage.label(found)
    cores, _ = ndimage.label(found & (border < 0.3))
    pieces = assign_to_markers(patches, cores)
    objects = merging.merge_regions(merging.Partition(pieces, cores, patches, border, reach, example_px))
    assert np.array_equal(objects > 0, found)
    assert {*np.unique(objects[found])} == {*range(1, objects.max() + 1)}
    for number in range(1, objects.max() + 1):
        assert ndimage.label(objects == number)[1] == 1
    return objects


def test_two_roofs_with_a_sure_border_and_boxes_of_their_own_stay_two(row):
    found, border = row
    assert joined(found, border, boxes_seen(found.shape)).max() == 2


def test_one_box_and_a_border_that_is_hardly_one_make_one_roof(row):
    found, border = row
    border[:, 100:108] = 0.4
    whole = ((8, 8, 200, 104),)
    assert joined(found, border, boxes_seen(found.shape, whole), 2 * SIDE**2).max() == 1


def test_one_weak_spot_is_enough(row):
    found, border = row
    border[40:60, 100:108] = 0.4
    whole = boxes_seen(found.shape, ((8, 8, 200, 104),))
    assert joined(found, border, whole, 2 * SIDE**2).max() == 1


@pytest.mark.parametrize(("examples", "count"), [(0.7, 1), (8, 2)])
def test_a_patch_no_larger_than_the_example_is_sooner_one_object_than_a_large_one(row, examples, count):
    found, border = row
    border[:, 100:108] = 0.75
    reach = boxes_seen(found.shape, ((8, 8, 170, 104), (60, 8, 200, 104)))  # overlap
    assert joined(found, border, reach, 2 * SIDE**2 / examples).max() == count


def test_pieces_of_two_patches_never_become_one(row):
    found, border = row
    found[:, 102:106] = False
    border[:] = 0
    assert joined(found, border, boxes_seen(found.shape, ((8, 8, 200, 104),)), 99 * SIDE**2).max() == 2


def test_joining_goes_on_over_a_third_piece(row):
    found, border = row
    border[:] = 0
    border[:, 68:76] = border[:, 132:140] = 0.4
    assert joined(found, border, boxes_seen(found.shape, ((8, 8, 200, 104),)), 2 * SIDE**2).max() == 1


def test_nothing_found_and_a_single_piece(row):
    found, border = row
    reach = boxes_seen(found.shape)
    assert not joined(np.zeros_like(found), border, reach).any()
    assert joined(found, np.zeros_like(border), reach).max() == 1


def test_a_piece_too_small_for_a_place_of_its_own_takes_its_own_box(row):
    found, border = row
    pieces = np.zeros(found.shape, int)
    pieces[9:11, 9:11], pieces[9:11, 11:13] = 1, 2  # no place of the network lies in them
    cores, patches = pieces.copy(), (pieces > 0).astype(int)
    reach = boxes_seen(found.shape)
    signs = merging.features(
        merging.neighbours(pieces), merging.Partition(pieces, cores, patches, border, reach, 8.0)
    )
    assert signs.shape == (1, 3)
    assert signs[0, 0] == 0  # the patch is as large as the example
    assert signs[0, 2] == 0  # boxes side by side
    assert np.isfinite(merging.merge_probability(signs)).all()


def test_signs_measure_patch_border_and_boxes(row):
    found, border = row
    border[50:60, 100:108] = 0.62
    reach = boxes_seen(found.shape, ((8, 8, 152, 104), (104, 8, 200, 104)))
    patches, _ = ndimage.label(found)
    cores, _ = ndimage.label(found & (border < 0.3))
    pieces = assign_to_markers(patches, cores)
    pairs = merging.neighbours(pieces)
    assert pairs.tolist() == [[1, 2]]
    signs = merging.features(pairs, merging.Partition(pieces, cores, patches, border, reach, SIDE**2))[0]
    assert signs[0] == pytest.approx(np.log(2))
    assert signs[1] == pytest.approx(0.65)  # the level above 0.62
    assert signs[2] == pytest.approx(0.5, abs=0.1)
