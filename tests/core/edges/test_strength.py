"""Edges of one canvas: the grid, duplicates, outlines, thinning, in the right place."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from core.edges.strength import MARGIN, distinct, edge_strength, grid_points, normalised, outlines
from core.edges.thinning import HALO, Crests, crests, thinned
from core.errors import CancelledError
from core.sam.answers import Decoded, Embedding
from core.sam.segmenter import Segmenter


class Answering:
    """A segmenter that answers each point with the same three masks, and counts what it is asked."""

    def __init__(self, *masks):
        self.logits = np.stack([*masks, *[np.full((256, 256), -9.0)] * (3 - len(masks))]).astype(np.float32)
        self.points, self.encoded = [], 0

    def encode(self, image):
        self.encoded += 1
        return Embedding(torch.zeros(1, 1, 64, 64), image.shape[:2])

    def decode(self, embedding, points, labels, *, multimask, cancelled):
        assert multimask and (labels == 1).all()
        self.points += points.reshape(-1, 2).tolist()
        scores = np.tile(np.float32([0.9, 0.5, 0.1]), (len(points), 1))
        return Decoded(np.repeat(self.logits[None], len(points), axis=0), scores)


def box_mask(top, left, bottom, right, size=256):
    """Logits of a box in SAM's low-resolution pixels, its outline half way between two pixels."""
    logits = np.full((size, size), -6.0)
    logits[top:bottom, left:right] = 6
    return logits


def all_valid(height=256, width=320):
    return np.zeros((height, width, 3), np.uint8), np.ones((height, width), bool)


# The grid


def test_the_grid_is_16_by_16_and_regular():
    points = grid_points(np.ones((1024, 512), bool))
    assert points.shape == (256, 2)
    assert sorted(set(points[:, 0])) == [16 + 32 * i for i in range(16)]
    assert sorted(set(points[:, 1])) == [32 + 64 * i for i in range(16)]


def test_no_point_lies_on_missing_data():
    valid = np.zeros((128, 256), bool)
    valid[40:90, 100:230] = True
    points = grid_points(valid)
    assert 0 < len(points) < 256
    assert all(valid[int(y), int(x)] for x, y in points)


def test_each_point_is_asked_once_and_duplicates_count_once():
    segmenter = Answering(box_mask(10, 20, 30, 50))
    strength = edge_strength(segmenter, *all_valid())
    assert segmenter.encoded == 1 and len(segmenter.points) == 256
    once = outlines(box_mask(10, 20, 30, 50)[None, :64, :80])
    np.testing.assert_allclose(strength, once, atol=1e-6)


def test_where_there_is_no_data_the_network_is_not_asked():
    segmenter = Answering(box_mask(10, 20, 30, 50))
    image, valid = all_valid()
    assert not edge_strength(segmenter, image, np.zeros_like(valid)).any()
    assert segmenter.encoded == 0


def test_a_cancel_is_seen_between_batches(embedded_sam):
    with pytest.raises(CancelledError):
        edge_strength(Segmenter(embedded_sam, "embedded"), *all_valid(64, 64), cancelled=lambda: True)


def test_a_network_with_random_weights_gives_strengths(embedded_sam):
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    strength = edge_strength(Segmenter(embedded_sam, "embedded"), image, np.ones((64, 96), bool))
    assert strength.shape == (64, 96) and strength.dtype == np.float32
    assert strength.min() >= 0 and strength.max() <= 1


# Duplicates


def test_of_two_masks_with_one_box_the_better_stays():
    masks = np.stack([box_mask(10, 10, 40, 40), box_mask(10, 10, 40, 41), box_mask(60, 60, 90, 90)])
    np.testing.assert_array_equal(distinct(masks, np.float32([0.2, 0.8, 0.5])), masks[[1, 2]])
    assert len(distinct(masks[:0], np.zeros(0, np.float32))) == 0


def test_a_part_is_no_duplicate_of_its_whole():
    masks = np.stack([box_mask(10, 10, 60, 60), box_mask(20, 20, 40, 40)])
    assert len(distinct(masks, np.float32([0.2, 0.8]))) == 2


# Outlines


def test_an_outline_lies_where_the_mask_ends_and_nowhere_else():
    strength = outlines(box_mask(10, 20, 30, 50)[None, :64, :80])
    assert strength.shape == (256, 320)
    # The box is canvas pixels 40 to 120 down and 80 to 200 across: one pixel on either side of that.
    rows, columns = np.nonzero(strength)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (39, 120, 79, 200)
    assert not strength[42:118, 82:198].any()
    np.testing.assert_allclose(strength[60:100, 79], strength[60:100, 80])  # centred


def test_strength_is_the_slope_of_the_probability():
    soft, sharp = (outlines(height / 6 * box_mask(10, 20, 30, 50)[None]).max() for height in (1, 60))
    assert 0 < soft < 0.5 < sharp <= 1


def test_the_border_of_the_canvas_is_no_outline():
    everything = np.full((1, 64, 80), 5.0)
    assert not outlines(everything).any()
    strength = outlines(box_mask(0, 0, 30, 40)[None, :64, :80])
    assert not strength[:100, :10].any() and not strength[:10, :100].any()
    assert strength[119:121, 5].all()


def test_what_sam_says_of_the_padding_beyond_the_canvas_does_not_matter():
    inside = box_mask(10, 20, 64, 50)  # the object goes on to the canvas's lower border
    segmenter = Answering(inside)
    image, valid = all_valid()
    strength = edge_strength(segmenter, image, valid)
    assert not strength[250:, 100:180].any()


def test_the_maximum_over_masks_is_kept_and_order_does_not_matter():
    masks = np.stack([box_mask(10, 20, 30, 50), 0.1 * box_mask(20, 30, 50, 60), box_mask(12, 22, 40, 44)])
    both = outlines(masks)
    np.testing.assert_array_equal(both, outlines(masks[::-1]))
    np.testing.assert_array_equal(both, np.maximum.reduce([outlines(mask[None]) for mask in masks]))


def test_where_the_data_end_there_is_no_edge():
    image, valid = all_valid()
    valid[:, 200:] = False
    strength = edge_strength(Answering(box_mask(10, 20, 30, 50)), image, valid)
    assert not strength[:, 200 - MARGIN :].any()
    assert strength[60:100, 79:81].all()


def test_the_papers_scale():
    strength = np.float32([[0, 0.2], [0.1, 0.4]])
    np.testing.assert_allclose(normalised(strength), [[0, 0.5], [0.25, 1]])
    assert not normalised(np.full((3, 3), 0.4, np.float32)).any()


# Thinning


def band(angle, offset, width=2.0, shape=(80, 90)):
    """A straight ridge through the middle; gives it and each pixel centre's distance to it."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    distance = (x - shape[1] / 2) * np.cos(angle) + (y - shape[0] / 2) * np.sin(angle) - offset
    return np.clip(width / 2 + 0.5 - np.abs(distance), 0, 1).astype(np.float32), distance


ON_THE_LIMIT = -1.9748975072357904  # beside it two pixels read the crest on either side of their limit
ON_THE_LIMIT_TOO = 0.0251024927642096


@given(st.floats(0, np.pi), st.floats(-3, 3))
@example(0.0, ON_THE_LIMIT)
@example(0.0, ON_THE_LIMIT_TOO)
@example(np.pi / 2, ON_THE_LIMIT)
@example(np.pi / 2, ON_THE_LIMIT_TOO)
def test_a_straight_edge_becomes_one_pixel_wide_and_stays_in_place(angle, offset):
    strength, _ = band(angle, offset)
    found = crests(strength).within(20, 15, 50, 50)
    x, y = found.x + 20 - 45, found.y + 15 - 40
    assert np.abs(x * np.cos(angle) + y * np.sin(angle) - offset).max() < 0.2
    # Along the axis that it crosses more steeply there is one pixel, seldom two.
    steps = found.rows if abs(np.cos(angle)) >= abs(np.sin(angle)) else found.columns
    counts = np.bincount(steps, minlength=50)[8:-8]  # the line may leave the box at its ends
    assert counts.min() >= 1 and counts.mean() < 1.1


@pytest.mark.parametrize("angle", [0.0, np.pi / 2])
def test_an_upright_or_level_edge_leaves_exactly_one_pixel_at_any_offset(angle):
    for offset in np.linspace(0, 0.05, 101):
        found = crests(band(angle, offset)[0]).within(20, 15, 50, 50)
        assert len(found.rows) == 50, offset


def test_an_even_ridge_leaves_one_of_its_two_pixels_and_runs_between_them():
    strength = np.zeros((40, 40), np.float32)
    strength[:, 19:21] = 0.5
    found = crests(strength).within(0, 10, 40, 20)
    assert len(found.rows) == 20 and len(set(found.columns)) == 1
    np.testing.assert_allclose(found.x, 20, atol=1e-3)
    np.testing.assert_allclose(found.strength, 0.5)


def test_thinning_keeps_strengths_and_adds_none():
    rng = np.random.default_rng(3)
    strength = np.maximum.reduce([band(a, o)[0] * s for a, o, s in rng.random((6, 3)) * [3, 20, 1]])
    thin = thinned(strength)
    assert ((thin == strength) | (thin == 0)).all()
    assert 0 < (thin > 0).sum() < 0.7 * (strength > 0).sum()
    assert not thinned(np.zeros((20, 30), np.float32)).any()


def test_a_pixel_depends_on_its_halo_only():
    rng = np.random.default_rng(5)
    strength = (rng.random((120, 130)) * (rng.random((120, 130)) > 0.6)).astype(np.float32)
    whole = thinned(strength)
    part = thinned(strength[20:100, 30:120])
    inner = np.s_[HALO:-HALO, HALO:-HALO]
    np.testing.assert_array_equal(part[inner], whole[20:100, 30:120][inner])


def test_pieces_are_moved_cut_and_joined():
    one = Crests(
        np.array([1, 5]), np.array([2, 6]), np.float32([0.1, 0.9]), np.array([2.5, 6.4]), np.array([1.5, 5.6])
    )
    moved = one.moved(10, 100)
    assert moved.rows.tolist() == [101, 105] and moved.x.tolist() == [12.5, 16.4]
    back = moved.within(14, 103, 5, 5)
    assert (back.rows.tolist(), back.columns.tolist(), back.x.tolist()) == ([2], [2], pytest.approx([2.4]))
    both = Crests.joined([one, moved])
    assert both.strength.tolist() == pytest.approx([0.1, 0.9, 0.1, 0.9])
    assert len(Crests.joined([]).rows) == 0
