"""Fitting what tells whether neighbours are one object."""

import numpy as np
import pytest
from scipy.optimize import minimize

pytest.importorskip("cv2")

from research.training.logistic import fit, loss, together
from research.training.merging import judged

PAIRS = np.array([[1, 2], [2, 3], [3, 4]])


@pytest.fixture
def pieces():
    """Four pieces of 10 x 10 pixels side by side."""
    return np.repeat(np.repeat([[1, 2, 3, 4]], 10, axis=0), 10, axis=1)


def test_two_pieces_on_one_object_are_one(pieces):
    truth = np.where(pieces <= 2, 7, np.where(pieces == 3, 2, 0))
    truth[:, 19:21] = 0  # outlines never meet to the pixel
    same, weights = judged(pieces, truth, PAIRS, example_area=100.0)
    assert same.tolist() == [True, False, False]
    assert (weights > 0).all()


def test_pieces_on_mere_ground_say_nothing(pieces):
    truth = np.where(pieces == 1, 1, 0)
    same, weights = judged(pieces, truth, PAIRS, example_area=100.0)
    assert not same.any()
    assert weights[0] > 0 and not weights[1:].any()


def test_a_sliver_counts_less_than_half_a_roof(pieces):
    pieces[:, 10:19] = 1
    _, weights = judged(pieces, np.ones_like(pieces), PAIRS, example_area=100.0)
    assert weights[0] < weights[2]


def test_the_fit_finds_the_weights_that_made_the_answers():
    rng, wanted = np.random.default_rng(0), np.array([-0.5, -4.0, 2.0, 1.0])
    places = []
    for size in (4000, 400):
        features = rng.uniform((-1, 0.35, 0), (3, 1, 1), (size, 3))
        likely = 1 / (1 + np.exp(-(features @ wanted[:3] + wanted[3])))
        places.append(together([(features, rng.random(size) < likely, np.full(size, 0.3))]))
    found = fit(places[:1])
    assert np.allclose([*found.coef_[0], *found.intercept_], wanted, atol=0.6)
    assert loss(found, places[1]) < np.log(2)  # what knowing nothing costs
    assert np.abs(fit(places[:1], ridge=0.1).coef_).max() < np.abs(found.coef_).max()


def test_the_fit_is_the_least_of_the_loss_and_the_ridge():
    rng, ridge = np.random.default_rng(2), 0.01
    features = rng.uniform(0, 1, (300, 2))
    place = together([(features, rng.random(300) < features[:, 0], rng.uniform(0.1, 0.5, 300))])

    def total(x):
        score = place.features @ x[:2] + x[2]
        return place.weights @ np.logaddexp(0, np.where(place.true, -score, score)) + ridge * x[:2] @ x[:2]

    found = fit([place], ridge)
    assert np.allclose([*found.coef_[0], *found.intercept_], minimize(total, np.zeros(3)).x, atol=2e-4)


def test_each_place_counts_alike_however_large():
    rng = np.random.default_rng(1)

    def place(size, sign):
        features = rng.uniform(0, 1, (size, 3))
        return together([(features, sign * (features[:, 1] - 0.5) > 0, np.ones(size))])

    assert abs(fit([place(5000, 1), place(50, -1)]).coef_[0, 1]) < 1  # they contradict each other
