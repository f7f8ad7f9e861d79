"""Parting what was found along the borders that the network answers."""

import numpy as np
import pytest
from safetensors.torch import save_file
from scipy import ndimage

from core.instances.merging import merge_regions
from core.instances.watershed import watershed
from core.sam.geometry import BOX_STRIDE
from core.sam.networks.embedded import SEMANTIC_HEAD, SemanticHead
from core.sam.segmenter import Segmenter

SIDE = 100
EXAMPLE_AREA = 40.0**2


@pytest.fixture
def row():
    """Three touching roofs of 40 x 40 pixels, and the borders around each, 8 pixels wide on either side."""
    found = np.zeros((60, 140), bool)
    found[10:50, 10:130] = True
    border = np.zeros(found.shape, np.float32)
    for left in (10, 50, 90):
        inside = np.zeros(found.shape, bool)
        inside[10:50, left : left + 40] = True
        depth = ndimage.distance_transform_edt(inside)
        border[inside & (depth <= 8)] = 0.9
    return found, border


def parted(found, boundary, **options):
    """The objects that watershed and region merging make of found pixels."""
    return merge_regions(watershed(found, boundary, **options))


def test_touching_objects_are_parted_where_the_border_runs(row):
    found, border = row
    objects = parted(found, border, example_area=EXAMPLE_AREA)
    assert objects.max() == 3
    assert np.array_equal(objects > 0, found)
    for left in (10, 50, 90):
        truth = np.zeros(found.shape, bool)
        truth[10:50, left : left + 40] = True
        mine = objects == objects[30, left + 20]
        assert (mine & truth).sum() / (mine | truth).sum() > 0.94


def test_without_borders_every_patch_is_one_object(row):
    found, border = row
    found[:, 60:64] = False
    objects = parted(found, np.zeros_like(border), example_area=EXAMPLE_AREA)
    assert np.array_equal(objects > 0, found)
    assert {*np.unique(objects[:, :60])} == {0, 1}
    assert {*np.unique(objects[:, 64:])} == {0, 2}


def test_a_patch_that_is_all_border_stays_one_object(row):
    found, border = row
    found[:] = False
    found[2:6, 2:30] = found[20:24, 2:30] = True  # narrower than any border
    objects = parted(found, np.ones_like(border), example_area=EXAMPLE_AREA)
    assert objects.max() == 2
    assert np.array_equal(objects > 0, found)
    assert len(np.unique(objects[2:6, 2:30])) == 1


def test_a_small_core_is_texture_and_no_object(row):
    found, border = row
    border[:] = 0
    border[:, 48:52] = 0.9
    border[20:40, 70:90] = 0.9  # a chimney and its outline
    border[26:34, 76:84] = 0
    assert parted(found, border, example_area=EXAMPLE_AREA).max() == 2


def dark_roof(border, sureness):
    """Leave a core of 18 x 18 pixels in the second roof of the row, with a border around it."""
    border[10:50, 50:90] = sureness
    border[21:39, 61:79] = 0


def test_a_small_object_with_a_sure_border_is_one_beside_a_large_example(row):
    found, border = row
    dark_roof(border, 0.9)
    for example_area in (4 * EXAMPLE_AREA, 40 * EXAMPLE_AREA):
        objects = parted(found, border, example_area=example_area)
        assert objects.max() == 3
    assert (objects == objects[30, 70]).sum() == pytest.approx(EXAMPLE_AREA, rel=0.15)


def test_a_small_core_whose_border_is_not_sure_belongs_to_its_neighbour(row):
    found, border = row
    dark_roof(border, 0.9)
    border[21:39, 79:90] = border[21:39, 90:98] = 0.4  # nothing sure between it and the third roof
    objects = parted(found, border, example_area=4 * EXAMPLE_AREA)
    assert objects.max() == 2
    assert (objects == objects[30, 110]).sum() > 1.4 * EXAMPLE_AREA


def test_everything_may_be_found(row):
    _, border = row
    objects = parted(np.ones(border.shape, bool), border, example_area=EXAMPLE_AREA)
    assert objects.min() == 1


def test_nothing_may_be_found(row):
    _, border = row
    assert not parted(np.zeros(border.shape, bool), border, example_area=EXAMPLE_AREA).any()


def test_cores_that_see_the_same_box_are_one_object(row):
    found, border = row
    border[:, 69:71] = np.maximum(border[:, 69:71], 0.5)  # a ridge in the middle of the second roof
    assert parted(found, border, example_area=EXAMPLE_AREA).max() == 4
    x, y = (np.arange(18) + 0.5) * BOX_STRIDE, ((np.arange(8) + 0.5) * BOX_STRIDE)[:, None]
    left = np.select([x < 50, x < 90], [10, 50], 90)
    reach = np.stack(np.broadcast_arrays(x - left, y - 10, left + 40 - x, 50 - y)).astype(np.float32)
    objects = parted(found, border, example_area=EXAMPLE_AREA, reach=reach)
    assert objects.max() == 3
    assert len(np.unique(objects[20:40, 55:85])) == 1


def test_a_model_file_with_the_head_answers_borders_and_one_without_does_not(
    embedded_sam, embedded_checkpoint, tmp_path
):
    canvas = np.random.default_rng(0).integers(0, 255, (208, 320, 3), np.uint8)
    without = Segmenter.load("embedded", str(embedded_checkpoint), "cpu").encode(canvas)
    assert without.borders is None

    state = {name: value.contiguous().clone() for name, value in embedded_sam.state_dict().items()}
    head = {f"{SEMANTIC_HEAD}{name}": value for name, value in SemanticHead().state_dict().items()}
    save_file(state | head, tmp_path / "with.safetensors")
    embedding = Segmenter.load("embedded", str(tmp_path / "with.safetensors"), "cpu").encode(canvas)
    assert embedding.borders.shape == (256, 256)
    assert 0 <= embedding.borders.min() < embedding.borders.max() <= 1
    assert np.array_equal(embedding.features, without.features)
