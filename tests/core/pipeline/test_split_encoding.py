"""Example and query encoded apart: what lies where, and how coarse the steps are."""

import numpy as np
import pytest
import torch

from core.canvas.stitch import MAX_COLUMN, crop_side
from core.pipeline.split_encoding import STEP, in_steps, side_by_side
from core.sam.answers import Embedding


def embedding(value, shape_canvas, answers=True):
    """Every number says which embedding it is from, and in which place of a row it was."""

    def filled(channels, places):
        return np.broadcast_to(value + np.arange(places, dtype=np.float32), (channels, places, places)).copy()

    heads = {"classes": filled(3, 256), "borders": filled(1, 256)[0], "reach": filled(4, 128)}
    return Embedding(torch.from_numpy(filled(8, 64))[None], shape_canvas, **(heads if answers else {}))


@pytest.mark.parametrize(("side", "expected"), [(1, 64), (64, 64), (65, 128), (321, MAX_COLUMN), (337, 384)])
def test_lengths_come_in_coarse_steps_up_to_the_widest_column(side, expected):
    assert in_steps(side) == expected
    assert MAX_COLUMN % 16 == 0 and STEP % 16 == 0  # whole cells


def test_a_crop_never_becomes_smaller():
    sides = [crop_side(longer) for longer in range(12, 250)]
    assert all(side <= in_steps(side) <= MAX_COLUMN for side in sides if side <= MAX_COLUMN)


@pytest.mark.parametrize("answers", [True, False])
def test_the_query_lies_right_of_the_column(answers):
    example, query = embedding(1000, (512, 192), answers), embedding(2000, (512, 800), answers)
    whole = side_by_side(example, query, 192)
    assert whole.shape_canvas == (512, 992)
    row = whole.features[0, 0, 5].numpy()
    np.testing.assert_array_equal(row, np.r_[1000 + np.arange(12), 2000 + np.arange(52)])
    for name, places in (("classes", 48), ("borders", 48), ("reach", 24)):
        found = getattr(whole, name)
        if not answers:
            assert found is None
            continue
        assert found.shape == getattr(query, name).shape
        row = found.reshape(-1, *found.shape[-2:])[0, 5]
        total = found.shape[-1]
        np.testing.assert_array_equal(row, np.r_[1000 + np.arange(places), 2000 + np.arange(total - places)])
