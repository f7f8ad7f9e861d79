"""The benchmarks' figures: spread, bootstrap interval, rank correlation, masks."""

from __future__ import annotations

import numpy as np
import pytest

from research.benchmarks.figures import paired_difference, rank_correlation, spread
from research.benchmarks.masks import bounds, canvas_masks, parted, smoothed


def test_spread_gives_median_worst_and_all_values():
    figures = spread("iou", [0.2, 0.8, 0.6])

    assert figures["iou_median"] == 0.6
    assert figures["iou_min"] == 0.2
    assert figures["iou_max"] == 0.8
    assert figures["iou"] == [0.2, 0.8, 0.6]


def test_interval_of_a_constant_difference_is_that_difference():
    theirs = np.array([0.1, 0.5, 0.3])

    assert paired_difference(theirs + 0.2, theirs) == {"mean": 0.2, "low": 0.2, "high": 0.2, "n": 3}


def test_interval_agrees_with_the_normal_one_for_many_cases():
    rng = np.random.default_rng(3)
    theirs = rng.uniform(size=400)
    ours = theirs + rng.normal(0.05, 0.2, 400)
    expected = 1.96 * np.std(ours - theirs, ddof=1) / np.sqrt(400)

    found = paired_difference(ours, theirs, seed=1)

    assert found["low"] == pytest.approx(found["mean"] - expected, abs=0.002)
    assert found["high"] == pytest.approx(found["mean"] + expected, abs=0.002)
    assert found["low"] > 0  # pairing sees the difference that the two spreads alone would hide
    assert found == paired_difference(ours, theirs, seed=1)


def test_rank_correlation_sees_order_only():
    values = [0.1, 0.2, 0.5, 0.9]

    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, [-v for v in values]) == pytest.approx(-1)
    assert rank_correlation(values, [0.5] * 4) == 0
    assert rank_correlation([1, 2, 2, 3], [1, 2, 2, 3]) == pytest.approx(1)


def test_logits_become_masks_in_place():
    logits = np.full((1, 256, 256), -5, np.float32)
    logits[0, 10:20, 30:50] = 5

    mask = canvas_masks(logits, (512, 1024))[0]

    assert mask.shape == (512, 1024)
    assert bounds(mask) == pytest.approx((120, 40, 200, 80), abs=1)
    assert bounds(np.zeros((4, 4), bool)) is None


def test_smoothing_a_part_is_smoothing_the_whole():
    rng = np.random.default_rng(0)
    mask = np.zeros((60, 80), bool)
    mask[:20, 30:60] = True
    mask[5:9, 60:70] = True  # a bridge to nowhere
    mask[40:50, 10:30] = rng.random((10, 20)) > 0.1

    opened = smoothed(mask, 3)

    assert opened[0, 40]  # the border is not eaten
    assert not opened[6, 66]  # the sliver is gone
    assert np.array_equal(smoothed(np.pad(mask, ((0, 0), (200, 200))), 3)[:, 200:-200], opened)


def test_touching_instances_get_a_gap():
    labels = np.zeros((6, 6), int)
    labels[:, :3], labels[:, 3:] = 1, 2

    found = parted(labels)

    assert found[:, :2].all() and not found[:, 2].any() and found[:, 3:].all()
