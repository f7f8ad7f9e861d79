"""Boxes that the network sees at every place: reading them, turning them."""

import numpy as np
import pytest

from core.sam.boxes import boxes_at, boxes_of, turned
from core.sam.geometry import BOX_STRIDE

HEIGHT, WIDTH = 160, 320
ROOFS = ((8, 16, 104, 120), (104, 16, 168, 120), (168, 16, 296, 96))  # touching; x0, y0, x1, y1


@pytest.fixture
def truth():
    """Numbers of three touching roofs."""
    numbers = np.zeros((HEIGHT, WIDTH), np.int32)
    for number, (x0, y0, x1, y1) in enumerate(ROOFS, start=1):
        numbers[y0:y1, x0:x1] = number
    return numbers


@pytest.fixture
def reach(truth):
    """What a perfect network answers; at the ground something else everywhere."""
    rng = np.random.default_rng(0)
    reach = rng.uniform(1, 300, (4, HEIGHT // BOX_STRIDE, WIDTH // BOX_STRIDE)).astype(np.float32)
    for row in range(reach.shape[1]):
        for column in range(reach.shape[2]):
            x, y = (column + 0.5) * BOX_STRIDE, (row + 0.5) * BOX_STRIDE
            if number := truth[int(y), int(x)]:
                x0, y0, x1, y1 = ROOFS[number - 1]
                reach[:, row, column] = x - x0, y - y0, x1 - x, y1 - y
    return reach


def test_a_point_on_an_object_gives_its_box(reach):
    points = np.array([[10.0, 20.0], [103.9, 119.9], [200.5, 50.5]])
    assert np.allclose(boxes_at(reach, points), [ROOFS[0], ROOFS[0], ROOFS[2]])


def test_a_point_outside_takes_the_nearest_place(reach):
    outside, inside = np.array([[-5.0, 4000.0]]), np.array([[0.0, HEIGHT - 1.0]])
    assert np.array_equal(boxes_at(reach, outside), boxes_at(reach, inside))


def test_boxes_of_places_are_those_of_points_there(reach):
    boxes = boxes_of(reach)
    for row, column in ((0, 0), (5, 7), (12, 30)):
        at = np.array([[(column + 0.5) * BOX_STRIDE, (row + 0.5) * BOX_STRIDE]])
        assert np.allclose(boxes[:, row, column], boxes_at(reach, at)[0])


@pytest.mark.parametrize("mirroring", [np.s_[:, :], np.s_[::-1, ::-1], np.s_[:, ::-1], np.s_[::-1, :]])
def test_what_is_seen_in_a_mirrored_tile_is_turned_back(reach, mirroring):
    rows, columns = mirroring
    seen = reach[:, rows, columns].copy()
    if columns.step == -1:
        seen = seen[[2, 1, 0, 3]]
    if rows.step == -1:
        seen = seen[[0, 3, 2, 1]]
    assert np.array_equal(turned(seen, mirroring), reach)
