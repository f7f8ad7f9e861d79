"""Objects are scored by how likely they are ones like the example: what speaks for it, and against it."""

import dataclasses

import numpy as np
import pytest

from core.instances import scoring
from core.sam.geometry import BOX_STRIDE
from core.vectors.polygonize import trace
from core.voting.user_labels import known
from core.voting.vote import Vote, score_of

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
def vote():
    """Four objects that are alike in everything."""
    objects = np.zeros(SHAPE, np.int32)
    for number, corner in enumerate(CORNERS, start=1):
        objects[place(corner)] = number
    found = objects > 0
    return Vote(
        share=np.where(found, 0.8, 0.1).astype(np.float32),
        on_example=0.9,
        found=found,
        similarity=np.zeros(SHAPE, np.float32),
        iou_pred=0.7,
        border=np.zeros(SHAPE, np.float32),
        reach=boxes_seen(OWN_BOXES),
        kind=np.where(found, 0.8, 0.1).astype(np.float32),
        objects=objects,
    )


def told(vote, example_px=SIDE**2):
    found = scoring.likeness(vote, "vehicle", example_px)
    assert found[0] == 0
    return found[1:]


def test_objects_that_are_alike_are_as_likely(vote):
    assert np.ptp(told(vote)) < 1e-6
    assert told(vote)[0] > 0.8


@pytest.mark.parametrize("map_name", ["share", "kind"])
def test_what_vote_or_class_are_less_sure_of_is_less_likely(vote, map_name):
    getattr(vote, map_name)[place(CORNERS[2])] = 0.55
    likely = told(vote)
    assert likely[2] < likely[0] - 0.05
    np.testing.assert_allclose(likely[[1, 3]], likely[0])


def test_a_part_of_what_the_network_sees_there_is_less_likely(vote):
    boxes = list(OWN_BOXES)
    boxes[1] = (OWN_BOXES[1][0], 0, OWN_BOXES[1][0] + 3 * SIDE, 2 * SIDE)
    likely = told(dataclasses.replace(vote, reach=boxes_seen(boxes)))
    assert likely[1] < likely[0] - 0.02


def test_what_the_tile_cuts_is_no_part(vote):
    row, column = CORNERS[2]
    objects = np.zeros(SHAPE, np.int32)
    objects[row : row + SIDE, : column + SIDE] = 1
    boxes = list(OWN_BOXES)
    boxes[2] = (-100, row, column + SIDE, row + SIDE)  # goes on beyond the tile
    reach = boxes_seen(boxes)
    whole = dataclasses.replace(vote, objects=objects, reach=reach)
    cut = scoring.signs(whole, SIDE**2)[0, 2]
    assert cut > 2  # an IoU of nearly 1


def test_small_pieces_are_less_likely_but_not_because_one_example_is_large(vote):
    vote.objects[place(CORNERS[3])] = 0
    vote.objects[place(CORNERS[3], 12, 12)] = 4
    likely = told(vote)
    assert likely[3] < likely[0] - 0.1
    beside_a_hall = scoring.signs(vote, 100 * SIDE**2)[0, 3]
    assert beside_a_hall == pytest.approx(-np.log(10), abs=0.01)  # not -log(100)
    assert (scoring.signs(vote, 4.0)[:3, 3] == 0).all()  # what is larger is not doubted


def test_numbers_that_are_not_there_and_no_objects_at_all_are_no_trouble(vote):
    vote.objects[place(CORNERS[1])] = 0
    assert len(told(vote)) == 4
    empty = dataclasses.replace(vote, objects=np.zeros(SHAPE, np.int32))
    assert scoring.likeness(empty, "building", SIDE**2).tolist() == [0]
    emptied = vote.objects * 0
    emptied[0, 0] = 3
    assert len(told(dataclasses.replace(vote, objects=emptied))) == 3


@pytest.mark.parametrize("part", ["objects", "kind", "reach"])
def test_networks_that_do_not_answer_all_of_it_are_not_asked(vote, part):
    assert scoring.is_told(vote, "vehicle")
    assert not scoring.is_told(dataclasses.replace(vote, **{part: None}), "vehicle")


def test_what_the_network_was_told_little_of_is_scored_by_the_vote(vote):
    assert not scoring.is_told(vote, "other")


class TestOnTheWayToADetection:
    @pytest.fixture
    def scored(self, vote):
        return dataclasses.replace(vote, likeness=np.array([0, 0.9, 0.6, 0.3, 0.2], np.float32))

    def test_it_is_the_score(self, scored):
        pieces = trace(scored, np.s_[0 : SHAPE[0], 0 : SHAPE[1]], 0, 0)
        scores = {piece.polygon_work.bounds[:2]: piece.score_sum / piece.pixels for piece in pieces}
        expected = {(column, row): scored.likeness[i] for i, (row, column) in enumerate(CORNERS, start=1)}
        assert scores == pytest.approx(expected)

    def test_a_cell_gives_the_score_of_the_whole_object(self, scored):
        (piece,) = trace(scored, np.s_[20:40, 90:100], 0, 0)
        assert piece.score_sum / piece.pixels == pytest.approx(0.6)

    def test_what_was_drawn_is_sure(self, scored):
        examples = np.zeros(SHAPE, np.int32)
        examples[place(CORNERS[3])] = 2  # the second of two polygons; the first lies elsewhere
        with_drawn = known(scored, examples)
        number = with_drawn.objects[place(CORNERS[3])]
        assert (with_drawn.likeness[number] == 1).all()
        assert with_drawn.likeness[1:4].tolist() == scored.likeness[1:4].tolist()

    def test_a_negative_polygon_scores_what_it_lies_on(self, scored):
        polygon = np.zeros(SHAPE, bool)
        polygon[place(CORNERS[1])] = True
        assert score_of(scored, polygon) == pytest.approx(0.6)
        polygon[place(CORNERS[0])] = True
        assert score_of(scored, polygon) == pytest.approx(0.75)
        assert score_of(scored, np.roll(polygon, 48, axis=0) & ~scored.found) == 0
