"""The network's own class in guided's vote: it helps a vote that is too narrow, and finds nothing alone."""

import dataclasses

import numpy as np
import pytest
import torch

from core.canvas.stitch import Crop, stitch
from core.sam.answers import Decoded, Embedding
from core.voting.augmentation import MIRRORINGS, average
from core.voting.class_prior import CLASS_WEIGHT
from core.voting.thresholding import THRESHOLD, WEAK_THRESHOLD, threshold
from core.voting.vote import combine

SIDE, HEIGHT, WIDTH = 64, 192, 256
SEEN, UNLIKE = np.s_[40:80, 40:100], np.s_[120:170, 150:220]  # rows and columns of two objects in the tile


@pytest.fixture(scope="module")
def canvas():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:44, 16:48] = True
    crop = Crop(np.zeros((SIDE, SIDE, 3), np.uint8), mask, np.ones((SIDE, SIDE), bool))
    return stitch([crop], np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.ones((HEIGHT, WIDTH), bool))


def coarse(canvas, on_example, *parts):
    """A map of 256 x 256: a value on the example and one for each part of the tile."""
    full = np.zeros((1024, 1024), np.float32)
    full[: canvas.image.shape[0], : canvas.image.shape[1]][canvas.example] = on_example
    for part, value in parts:
        full[: canvas.image.shape[0], canvas.column : canvas.image.shape[1]][part] = value
    return full.reshape(256, 4, 256, 4).mean((1, 3))


def voted(canvas, building, *parts, on_example=0.95, **options):
    """The vote where runs answer with these probabilities, and the network's classes are as given."""
    probability = np.clip(coarse(canvas, on_example, *parts), 1e-4, 1 - 1e-4)
    logits = np.log(probability / (1 - probability)).astype(np.float32)
    decoded = Decoded(np.stack([logits] * 4)[:, None], np.ones((4, 1), np.float32))
    classes = np.stack([1 - building, building, np.zeros_like(building)]).astype(np.float32)
    seen = Embedding(torch.rand(1, 4, 64, 64), canvas.image.shape[:2], classes=classes)
    return combine(decoded, seen, canvas, **options)


def found(score_map):
    return threshold(score_map.score, np.ones((HEIGHT, WIDTH), bool), 0)


def test_the_class_finds_what_the_vote_alone_doubts(canvas):
    building = coarse(canvas, 0.9, (SEEN, 0.9), (UNLIKE, 0.9))
    parts = (SEEN, 0.9), (UNLIKE, 0.32)
    assert not found(voted(canvas, building, *parts))[UNLIKE].any()
    assert found(voted(canvas, building, *parts, target="other"))[UNLIKE].mean() > 0.8


def test_the_class_alone_finds_nothing(canvas):
    assert CLASS_WEIGHT < WEAK_THRESHOLD < THRESHOLD
    building = coarse(canvas, 0.9, (SEEN, 0.9), (UNLIKE, 1.0))
    score_map = voted(canvas, building, (SEEN, 0.9), target="other")
    assert found(score_map)[SEEN].mean() > 0.8
    assert not found(score_map)[UNLIKE].any()


def test_an_example_of_no_class_is_voted_on_alone(canvas):
    building = coarse(canvas, 0.3, (SEEN, 0.9), (UNLIKE, 0.9))  # rather something else
    parts = (SEEN, 0.9), (UNLIKE, 0.32)
    with_class, alone = (voted(canvas, building, *parts, target=asked) for asked in ("other", None))
    np.testing.assert_array_equal(with_class.score, alone.score)


def test_runs_that_do_not_give_back_the_example_are_no_evidence(canvas):
    building = coarse(canvas, 0.1, (SEEN, 0.9))  # a ruin among buildings, taken for ground
    parts = (SEEN, 0.1), (UNLIKE, 0.9)  # the runs find ground, and the example as little as a roof
    options = {"on_example": 0.1}
    assert found(voted(canvas, building, *parts, target="other", **options))[UNLIKE].mean() > 0.8
    score_map = voted(canvas, building, *parts, target="building", **options)
    assert found(score_map)[SEEN].mean() > 0.8
    assert not found(score_map)[UNLIKE].any()


def test_runs_that_give_back_the_example_outweigh_a_target_that_it_is_not(canvas):
    building = coarse(canvas, 0.1, (UNLIKE, 0.9))  # a pool, and the target still says building
    other, told = (voted(canvas, building, (SEEN, 0.9), target=t) for t in ("other", "building"))
    np.testing.assert_array_equal(other.score, told.score)
    assert found(told)[SEEN].mean() > 0.8 and not found(told)[UNLIKE].any()


def test_a_network_without_classes_is_voted_on_alone(canvas):
    logits = np.where(coarse(canvas, 1, (SEEN, 1)) > 0.5, 4.0, -4.0).astype(np.float32)
    decoded = Decoded(logits[None, None], np.ones((1, 1), np.float32))
    seen = Embedding(
        torch.rand(1, 4, 64, 64, generator=torch.Generator().manual_seed(0)), canvas.image.shape[:2]
    )
    one, other = (combine(decoded, seen, canvas, target=asked) for asked in ("other", None))
    np.testing.assert_array_equal(one.score, other.score)


def test_the_box_of_a_mirrored_tile_is_turned_back(canvas):
    building = coarse(canvas, 0.9, (SEEN, 0.9))
    reach = np.exp(np.random.default_rng(0).normal(3, 1, (4, HEIGHT // 8, WIDTH // 8))).astype(np.float32)
    score_maps = []
    for rows, columns in MIRRORINGS:
        seen = reach[:, rows, columns]
        seen = seen[[2, 1, 0, 3]] if columns.step == -1 else seen
        seen = seen[[0, 3, 2, 1]] if rows.step == -1 else seen
        score_maps.append(dataclasses.replace(voted(canvas, building, (SEEN, 0.9)), reach=seen))
    np.testing.assert_allclose(average(score_maps, MIRRORINGS).reach, reach, rtol=1e-4)
