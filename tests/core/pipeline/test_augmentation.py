"""A tile's mirrored showings: each is turned back before they are averaged."""

import numpy as np
import pytest

from core.voting.augmentation import MIRRORINGS, average
from core.voting.score_map import ScoreMap, Segmentation
from core.voting.thresholding import threshold
from core.voting.user_labels import apply_user_labels
from core.weights.catalogue import CATALOGUE


def seen(share, on_example=0.8):
    return ScoreMap(share, on_example, share / 2, 0.7)


def test_each_mirroring_undoes_itself_and_they_differ():
    tile = np.arange(12).reshape(3, 4)
    seen = [tile[mirroring] for mirroring in MIRRORINGS]
    for shown, mirroring in zip(seen, MIRRORINGS, strict=True):
        np.testing.assert_array_equal(shown[mirroring], tile)
    assert (
        len({shown.tobytes() for shown in seen})
        == len(MIRRORINGS)
        >= max(model.views for model in CATALOGUE.values())
    )


def test_what_all_showings_see_comes_back_in_place():
    share = np.zeros((40, 60), np.float32)
    share[5:20, 30:50] = 0.9  # nowhere near symmetric
    score_maps = [seen(np.ascontiguousarray(share[mirroring])) for mirroring in MIRRORINGS]
    mean = average(score_maps, MIRRORINGS)
    np.testing.assert_allclose(mean.score, share, atol=1e-6)
    found = threshold(mean.score, np.ones(share.shape, bool), 0)
    np.testing.assert_array_equal(found, share > 0.5)
    np.testing.assert_allclose(mean.similarity, share / 2, atol=1e-6)


def test_what_one_showing_imagines_is_outvoted_and_nodata_is_never_found():
    sure, imagined = np.zeros((30, 30), np.float32), np.zeros((30, 30), np.float32)
    sure[:10, :10] = 1
    imagined[:10, :10] = imagined[20:, 20:] = 1
    valid = np.ones((30, 30), bool)
    valid[:3] = False
    score_maps = [seen(imagined), seen(sure, 0.6), seen(sure, 0.7)]
    mean = average(score_maps, [MIRRORINGS[0]] * 3)
    found = threshold(mean.score, valid, 0)
    assert found[3:10, :10].all() and found.sum() == 70
    assert mean.score[25, 25] == pytest.approx(1 / 3)
    assert mean.on_example == pytest.approx(0.7)


def test_the_example_itself_counts_as_found_and_nothing_else_changes():
    share = np.full((20, 20), 0.1, np.float32)
    example = np.zeros((20, 20), bool)
    example[4:9, 5:12] = True
    given = apply_user_labels(Segmentation(share, share > 0.5, share / 2, 0.7), example)
    np.testing.assert_array_equal(given.found, example)
    assert (given.score[example] == 1).all() and (given.score[~example] == share[0, 0]).all()
