"""A simulated user's clicks: where the next one lies, and that they correct what is wrong."""

from types import SimpleNamespace

import numpy as np
import pytest

from core.sam.answers import Decoded
from core.sam.geometry import LOGIT_STRIDE
from research.benchmarks.clicks import View, click, correction


def view_of(inside):
    return View(np.zeros((1024, 1024, 3), np.uint8), inside, ~inside, (0, 0, 1, 1), False)


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((1024, 1024), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_the_next_click_lies_in_the_middle_of_the_largest_error():
    view = view_of(rectangle(100, 100, 200, 200))

    spilt = correction(rectangle(100, 100, 400, 200), view)
    missed = correction(rectangle(100, 100, 120, 200), view)
    both = correction(rectangle(90, 100, 140, 200), view)  # 10 wide too much, 60 wide too little

    assert spilt[1] == 0 and 200 < spilt[0][0] < 400 and spilt[0][1] == pytest.approx(150, abs=1)
    assert missed[1] == 1 and missed[0] == pytest.approx((160, 150), abs=11)
    assert both[1] == 1 and 140 < both[0][0] < 200
    assert correction(view.inside, view) is None


@pytest.mark.parametrize("is_box", [False, True])
def test_a_wrong_answer_has_a_fault(is_box):
    truth = (100, 100, 200, 200)
    view = View(np.zeros((1024, 1024, 3), np.uint8), rectangle(*truth), ~rectangle(*truth), truth, is_box)

    assert view.fault(rectangle(100, 100, 200, 180)) is None
    assert view.fault(rectangle(90, 100, 310, 200)) == "too much"
    assert view.fault(rectangle(100, 100, 140, 200)) == "too little"
    assert view.fault(rectangle(190, 100, 300, 200)) == "elsewhere"
    assert view.fault(rectangle(0, 0, 0, 0)) == "elsewhere"


def test_clicks_correct_errors():
    class Discs:
        """Each positive point adds a disc of 60 pixels around it, each negative one takes it away."""

        def __init__(self):
            self.asked = []

        def click(self, embedding, points, labels):
            self.asked.append((points[0], labels[0]))
            y, x = np.mgrid[0:256, 0:256] * LOGIT_STRIDE + LOGIT_STRIDE / 2
            mask = np.zeros((256, 256), bool)
            for point, label in zip(points[0], labels[0], strict=True):
                mask[np.hypot(x - point[0], y - point[1]) < 60] = label
            return Decoded(np.where(mask, 8, -8)[None, None].astype(np.float32), np.ones((1, 1), np.float32))

    view = view_of(rectangle(300, 400, 620, 480))
    segmenter = Discs()
    answers = click(segmenter, SimpleNamespace(shape_canvas=view.inside.shape), view, 5)
    ious = [view.true_iou(answer.mask) for answer in answers]

    assert len(answers) == 5
    assert ious[2] > ious[0]
    assert [len(points) for points, _ in segmenter.asked] == [1, 2, 3, 4, 5]
    assert view.inside[tuple(int(v) for v in segmenter.asked[0][0][0][::-1])]
    for points, labels in segmenter.asked:
        for point, label in zip(points[1:], labels[1:], strict=True):
            assert view.inside[int(point[1]), int(point[0])] == bool(label)
