"""Strategies: of which sign the points are, and on what they lie."""

import numpy as np
import pytest

from core.canvas.prompts import DEFAULT, EXAMPLE_POINTS, SEVERAL, STRATEGIES, strategy_named
from core.canvas.stitch import Crop, stitch
from core.errors import InputError

RUNS = 40
LECTURE = {  # name: (negative points, query points) of the four designs
    "example-only": (True, 0),
    "random-point": (True, 1),
    "random-point-positive": (False, 1),
    "random-points": (True, SEVERAL),
}


@pytest.fixture(scope="module")
def canvas():
    rng = np.random.default_rng(4)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 24:44] = True
    crop = Crop(rng.integers(0, 256, (64, 64, 3), np.uint8), mask, np.ones((64, 64), bool))
    valid = np.zeros((200, 180), bool)
    valid[50:120, 30:160] = True
    return stitch([crop], rng.integers(0, 256, (200, 180, 3), np.uint8), valid)


def at(mask, points):
    columns, rows = np.moveaxis(points.astype(int), -1, 0)
    return mask[rows, columns]


def place(name, canvas, runs=RUNS, seed=0):
    return STRATEGIES[name].place(canvas, runs, np.random.default_rng(seed))


def test_the_four_designs_are_there_and_the_default_is_listed():
    assert set(LECTURE) <= set(STRATEGIES) and DEFAULT in STRATEGIES
    for name, strategy in STRATEGIES.items():
        assert strategy_named(name) is strategy and strategy.name == name and strategy.title
    with pytest.raises(InputError, match="Choose one of: "):
        strategy_named("telepathy")


def test_guided_keeps_a_share_of_its_runs_for_clicks():
    for name, strategy in STRATEGIES.items():
        for runs in (1, 2, 5, 64):
            voting, clicks = strategy.split(runs)
            assert voting + clicks == runs and voting >= 1
            assert strategy.separates == (name == "guided") and (clicks == 0 or strategy.separates)
    assert STRATEGIES["guided"].split(64) == (16, 48)
    assert STRATEGIES["guided"].split(64, by_borders=True) == (64, 0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_shapes_signs_and_places_that_all_strategies_share(canvas, name):
    prompts = place(name, canvas)
    assert prompts.points_canvas.shape == (*prompts.labels.shape, 2) and len(prompts.labels) == RUNS
    assert set(np.unique(prompts.labels)) <= {-1, 0, 1}
    positive, negative = (
        prompts.points_canvas[prompts.labels == 1],
        prompts.points_canvas[prompts.labels == 0],
    )
    assert (at(canvas.example, positive) | at(canvas.query, positive)).all()
    assert at(canvas.example, positive).any()
    in_column = negative[:, 0] < canvas.column
    assert not at(canvas.example, negative).any()  # nothing denies the example
    assert at(canvas.ring, negative[in_column]).all()
    np.testing.assert_array_equal(prompts.points_canvas % 1, 0.5)  # pixel centres


@pytest.mark.parametrize("name", LECTURE)
def test_the_lectures_designs_count_their_points(canvas, name):
    negatives, query_points = LECTURE[name]
    prompts = place(name, canvas)
    in_query = at(canvas.query, prompts.points_canvas)
    np.testing.assert_array_equal((in_query & (prompts.labels == 1)).sum(1), query_points)
    np.testing.assert_array_equal(
        (at(canvas.example, prompts.points_canvas) & (prompts.labels == 1)).sum(1), EXAMPLE_POINTS
    )
    np.testing.assert_array_equal((prompts.labels == 0).sum(1), EXAMPLE_POINTS if negatives else 0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_seed_decides(canvas, name):
    one, same, other = place(name, canvas), place(name, canvas), place(name, canvas, seed=1)
    np.testing.assert_array_equal(one.points_canvas, same.points_canvas)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert (
        one.points_canvas.shape != other.points_canvas.shape
        or (one.points_canvas != other.points_canvas).any(axis=-1).mean() > 0.1
    )


@pytest.mark.parametrize("name", LECTURE)
def test_points_are_drawn_from_the_whole_part_in_all_copies(canvas, name):
    prompts = place(name, canvas, runs=4000)
    inside = at(canvas.example, prompts.points_canvas)
    drawn = prompts.points_canvas[inside].astype(int)
    hit = np.zeros(canvas.example.shape, int)
    np.add.at(hit, (drawn[:, 1], drawn[:, 0]), 1)
    copies = [hit[top : top + 64, :64].sum() for top in range(0, 192, 64)]
    assert min(copies) > 0.9 * len(drawn) / 3
    assert (hit[canvas.example] > 0).mean() > 0.99
    if LECTURE[name][1]:
        x, y = prompts.points_canvas[at(canvas.query, prompts.points_canvas)].T
        assert (x.min(), x.max()) == (64 + 30.5, 64 + 159.5)
        assert (y.min(), y.max()) == (50.5, 119.5)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_single_run_and_a_canvas_without_ring(name):
    mask = np.zeros((48, 48), bool)
    mask[8:40, 8:40] = True
    crop = Crop(np.zeros((48, 48, 3), np.uint8), mask, mask)  # image only where the example is
    bare = stitch([crop], np.zeros((48, 60, 3), np.uint8), np.ones((48, 60), bool))
    assert not bare.ring.any()
    prompts = STRATEGIES[name].place(bare, 1, np.random.default_rng(0))
    assert len(prompts.labels) == 1 and (prompts.labels == 1).any()
