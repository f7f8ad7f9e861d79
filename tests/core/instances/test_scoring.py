"""Objects are scored by how likely they are ones like the example: what speaks for it, and against it."""

import dataclasses

import numpy as np
import pytest

from core.instances import scoring
from core.sam.geometry import BOX_STRIDE
from core.vectors.polygonize import polygonize
from core.voting.score_map import ScoreMap, Segmentation
from core.voting.user_labels import apply_user_labels

SHAPE = 128, 192
SIDE = 32  # of an object
CORNERS = ((16, 16), (16, 80), (80, 16), (80, 80))  # rows and columns of four


def place(corner, height=SIDE, width=SIDE):
    return np.s_[corner[0] : corner[0] + height, corner[1] : corner[1] + width]


def boxes_seen(boxes):
    """What the network answers where each box (x0, y0, x1, y1) is that of the object there."""
    x, y = (
        (np.arange(SHAPE[1] // BOX_STRIDE) + 0.5) * BOX_STRIDE,
        (np.arange(SHAPE[0] // BOX_STRIDE) + 0.5)[:, None] * BOX_STRIDE,
    )
    reach = np.ones((4, SHAPE[0] // BOX_STRIDE, SHAPE[1] // BOX_STRIDE), np.float32)
    for (row, column), (x0, y0, x1, y1) in zip(CORNERS, boxes, strict=True):
        own = np.s_[
            :,
            row // BOX_STRIDE : (row + SIDE) // BOX_STRIDE,
            column // BOX_STRIDE : (column + SIDE) // BOX_STRIDE,
        ]
        reach[own] = np.stack(np.broadcast_arrays(x - x0, y - y0, x1 - x, y1 - y))[own]
    return reach


OWN_BOXES = [(column, row, column + SIDE, row + SIDE) for row, column in CORNERS]


@pytest.fixture
def objects():
    """Four objects."""
    numbers = np.zeros(SHAPE, np.int32)
    for number, corner in enumerate(CORNERS, start=1):
        numbers[place(corner)] = number
    return numbers


@pytest.fixture
def score_map(objects):
    """A score map of which the four objects are alike in everything."""
    sure = np.where(objects > 0, 0.8, 0.1).astype(np.float32)
    return ScoreMap(
        score=sure,
        on_example=0.9,
        similarity=np.zeros(SHAPE, np.float32),
        iou_pred=0.7,
        boundary=np.zeros(SHAPE, np.float32),
        reach=boxes_seen(OWN_BOXES),
        class_probability=sure.copy(),
    )


def told(objects, score_map, example_area=SIDE**2):
    found = scoring.match_probability(objects, score_map, "vehicle", example_area)
    assert found[0] == 0
    return found[1:]


def test_objects_that_are_alike_are_as_likely(objects, score_map):
    assert np.ptp(told(objects, score_map)) < 1e-6
    assert told(objects, score_map)[0] > 0.8


@pytest.mark.parametrize("map_name", ["score", "class_probability"])
def test_what_vote_or_class_are_less_sure_of_is_less_likely(objects, score_map, map_name):
    getattr(score_map, map_name)[place(CORNERS[2])] = 0.55
    likely = told(objects, score_map)
    assert likely[2] < likely[0] - 0.05
    np.testing.assert_allclose(likely[[1, 3]], likely[0])


def test_a_part_of_what_the_network_sees_there_is_less_likely(objects, score_map):
    boxes = list(OWN_BOXES)
    boxes[1] = (OWN_BOXES[1][0], 0, OWN_BOXES[1][0] + 3 * SIDE, 2 * SIDE)
    likely = told(objects, dataclasses.replace(score_map, reach=boxes_seen(boxes)))
    assert likely[1] < likely[0] - 0.02


def test_what_the_tile_cuts_is_no_part(score_map):
    row, column = CORNERS[2]
    objects = np.zeros(SHAPE, np.int32)
    objects[row : row + SIDE, : column + SIDE] = 1
    boxes = list(OWN_BOXES)
    boxes[2] = (-100, row, column + SIDE, row + SIDE)  # goes on beyond the tile
    reach = boxes_seen(boxes)
    whole = dataclasses.replace(score_map, reach=reach)
    cut = scoring.features(objects, whole, SIDE**2)[0, 2]
    assert cut > 2  # an IoU of nearly 1


def test_small_pieces_are_less_likely_but_not_because_one_example_is_large(objects, score_map):
    objects[place(CORNERS[3])] = 0
    objects[place(CORNERS[3], 12, 12)] = 4
    likely = told(objects, score_map)
    assert likely[3] < likely[0] - 0.1
    beside_a_hall = scoring.features(objects, score_map, 100 * SIDE**2)[0, 3]
    assert beside_a_hall == pytest.approx(-np.log(10), abs=0.01)  # not -log(100)
    assert (scoring.features(objects, score_map, 4.0)[:3, 3] == 0).all()  # what is larger is not doubted


def test_numbers_that_are_not_there_and_no_objects_at_all_are_no_trouble(objects, score_map):
    objects[place(CORNERS[1])] = 0
    assert len(told(objects, score_map)) == 4
    empty = np.zeros(SHAPE, np.int32)
    assert scoring.match_probability(empty, score_map, "building", SIDE**2).tolist() == [0]
    empty[0, 0] = 3
    assert len(told(empty, score_map)) == 3


@pytest.mark.parametrize("part", ["class_probability", "reach"])
def test_networks_that_do_not_answer_all_of_it_are_not_asked(score_map, part):
    assert scoring.can_score(score_map, "vehicle")
    assert not scoring.can_score(dataclasses.replace(score_map, **{part: None}), "vehicle")


def test_what_the_network_was_told_little_of_is_scored_by_the_vote(score_map):
    assert not scoring.can_score(score_map, "other")


class TestOnTheWayToADetection:
    @pytest.fixture
    def scored(self, objects, score_map):
        probability = np.array([0, 0.9, 0.6, 0.3, 0.2], np.float32)
        nowhere = np.zeros(SHAPE, np.float32)
        return Segmentation(score_map.score, objects > 0, nowhere, 0.7, objects, probability)

    def test_it_is_the_score(self, scored):
        pieces = polygonize(scored, np.s_[0 : SHAPE[0], 0 : SHAPE[1]], 0, 0)
        scores = {piece.polygon_work.bounds[:2]: piece.score_sum / piece.pixels for piece in pieces}
        expected = {
            (column, row): scored.match_probability[i] for i, (row, column) in enumerate(CORNERS, start=1)
        }
        assert scores == pytest.approx(expected)

    def test_a_cell_gives_the_score_of_the_whole_object(self, scored):
        (piece,) = polygonize(scored, np.s_[20:40, 90:100], 0, 0)
        assert piece.score_sum / piece.pixels == pytest.approx(0.6)

    def test_what_was_drawn_is_sure(self, scored):
        examples = np.zeros(SHAPE, np.int32)
        examples[place(CORNERS[3])] = 2  # the second of two polygons; the first lies elsewhere
        with_drawn = apply_user_labels(scored, examples)
        number = with_drawn.objects[place(CORNERS[3])]
        assert (with_drawn.match_probability[number] == 1).all()
        assert with_drawn.match_probability[1:4].tolist() == scored.match_probability[1:4].tolist()

    def test_a_negative_polygon_scores_what_it_lies_on(self, scored):
        polygon = np.zeros(SHAPE, bool)
        polygon[place(CORNERS[1])] = True
        assert scored.score_inside(polygon) == pytest.approx(0.6)
        polygon[place(CORNERS[0])] = True
        assert scored.score_inside(polygon) == pytest.approx(0.75)
        assert scored.score_inside(np.roll(polygon, 48, axis=0) & ~scored.found) == 0
