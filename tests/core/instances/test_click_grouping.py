"""Parting the found pixels into objects, with a network that answers as it is told to."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from core.canvas.stitch import Crop, stitch
from core.instances.click_grouping import group_clicks, place_clicks, separate_by_clicks
from core.sam.answers import Decoded, Embedding


@dataclasses.dataclass
class Told:
    """A network that answers a click with the object of ``truth`` (in canvas pixels) that it hits."""

    truth: np.ndarray
    wrong: int = 0  # every so many clicks are answered with everything
    asked: int = 0

    def decode(self, embedding, points_canvas, labels, *, multimask, cancelled):
        assert multimask and (labels == 1).all() and points_canvas.shape[1] == 1
        columns, rows = np.floor(points_canvas[:, 0]).astype(int).T
        masks = self.truth[None] == self.truth[rows, columns][:, None, None]
        self.asked += len(masks)
        if self.wrong:
            masks[:: self.wrong] = self.truth > 0
        coarse = np.full((len(masks), 3, 256, 256), -9.0, np.float32)
        small = masks[:, 2::4, 2::4]
        coarse[:, 1, : small.shape[1], : small.shape[2]] = np.where(small, 9, -9)
        return Decoded(coarse, np.tile(np.float32([0.2, 0.9, 0.3]), (len(masks), 1)))


def canvas_for(shape):
    crop = Crop(np.zeros((64, 64, 3), np.uint8), np.pad(np.ones((32, 32), bool), 16), np.ones((64, 64), bool))
    return stitch([crop], np.zeros((*shape, 3), np.uint8), np.ones(shape, bool))


def parted(truth, found=None, *, example_area=1600.0, budget=60, wrong=0):
    canvas = canvas_for(truth.shape)
    told = Told(np.pad(truth, ((0, 0), (canvas.column, 0))), wrong)
    embedding = Embedding(torch.zeros(1, 1, 64, 64), canvas.image.shape[:2])
    found = truth > 0 if found is None else found
    return separate_by_clicks(told, embedding, canvas, found, example_area=example_area, budget=budget), told


def row_of_roofs(count=4, side=40):
    truth = np.zeros((128, 16 + count * side + 16), np.int32)
    for i in range(count):
        truth[40 : 40 + side, 16 + i * side : 16 + (i + 1) * side] = i + 1
    return truth


def overlaps(labels, truth):
    """Best IoU of a label with each object of the truth."""
    found = []
    for number in range(1, truth.max() + 1):
        own = truth == number
        ious = [
            (own & (labels == label)).sum() / (own | (labels == label)).sum()
            for label in np.unique(labels[own])
        ]
        found.append(max(ious))
    return found


def test_touching_roofs_come_apart():
    truth = row_of_roofs()
    labels, _ = parted(truth)
    assert len(np.unique(labels)) == 5
    assert min(overlaps(labels, truth)) > 0.9


def test_answers_that_run_over_the_borders_do_not_join_them():
    truth = row_of_roofs()
    labels, _ = parted(truth, wrong=6)
    assert min(overlaps(labels, truth)) > 0.85


def test_one_large_object_stays_whole():
    truth = np.zeros((256, 256), np.int32)
    truth[30:220, 40:230] = 1
    labels, told = parted(truth)
    assert told.asked > 10 and len(np.unique(labels)) == 2


def test_what_has_room_for_one_click_only_is_not_clicked():
    truth = np.zeros((128, 256), np.int32)
    truth[20:40, 20:40], truth[20:40, 100:120] = 1, 2
    labels, told = parted(truth, example_area=3600)
    assert told.asked == 0 and set(np.unique(labels)) == {0, 1, 2}


def test_nothing_found_is_nothing_parted():
    labels, told = parted(np.zeros((64, 64), np.int32))
    assert told.asked == 0 and not labels.any()


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(bool, (96, 128)), st.integers(0, 2**32 - 1), st.sampled_from([0, 3]))
def test_every_found_pixel_belongs_to_one_connected_object(noise, seed, wrong):
    rng = np.random.default_rng(seed)
    truth = (ndimage.gaussian_filter(rng.random((96, 128)), 6) > 0.5).astype(np.int32)
    truth *= ndimage.zoom(rng.integers(1, 5, (6, 8)), 16, order=0).astype(np.int32)
    found = ndimage.binary_opening(noise | (truth > 0))
    labels, _ = parted(truth, found, example_area=400.0, wrong=wrong)
    assert np.array_equal(labels > 0, found)
    for label in range(1, labels.max() + 1):
        assert ndimage.label(labels == label)[1] <= 1


@pytest.mark.parametrize("budget", [0, 1, 7, 40])
def test_clicks_keep_to_the_budget_and_inside_the_patches(budget):
    patches = np.zeros((300, 300), int)
    patches[10:290, 10:140], patches[10:290, 160:290] = 1, 2
    clicks, patch_of = place_clicks(patches, 20.0, budget)
    assert len(clicks) <= budget and (budget < 40 or len(clicks) > 20)
    columns, rows = np.floor(clicks).astype(int).T
    assert np.array_equal(patches[rows, columns], patch_of)


def test_clicks_are_grouped_by_whom_they_contain_and_who_contains_them():
    covered = np.float32(
        [[0.9, 0.9, 0.1, 0.1], [0.8, 0.9, 0.9, 0.0], [0.1, 0.1, 0.9, 0.8], [0.0, 0.1, 0.9, 0.9]]
    )
    groups = group_clicks(covered)  # the second runs over to the third, which does not contain it
    assert groups[0] == groups[1] != groups[2] == groups[3]
