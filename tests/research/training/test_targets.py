# ruff: noqa: E402 (OpenCV is not part of the plugin: without it these tests are skipped)
"""What training asks of the heads, and what it adds to a click."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")
torch = pytest.importorskip("torch")

from core.sam.boxes import boxes_of
from research.training import steps
from research.training.network import Trainee, box_loss
from research.training.plates import Plate
from research.training.prompting import empty_task, put_points
from research.training.scenes import BUILDING, VEHICLE
from research.training.views import View

TREE = VEHICLE + 1


def view_of(instances, kinds, unknown=None):
    shape = instances.shape
    return View(
        np.zeros((*shape, 3), np.uint8),
        instances,
        np.array(kinds),
        (BUILDING, VEHICLE),
        np.zeros(shape, bool) if unknown is None else unknown,
        True,
    )


@pytest.fixture
def view():
    """Two touching buildings, a lone one, and a tree."""
    instances = np.zeros((128, 160), np.int32)
    instances[16:64, 8:48] = 1
    instances[16:64, 48:96] = 2
    instances[80:120, 16:64] = 3
    instances[80:112, 112:144] = 4
    return view_of(instances, [0, BUILDING, BUILDING, BUILDING, TREE])


def test_places_answer_with_the_box_of_their_object(view):
    reach, _ = steps.box_targets(view)
    boxes = boxes_of(reach)
    assert np.allclose(boxes[:, 4, 2], [8, 16, 48, 64])
    assert np.allclose(boxes[:, 4, 8], [48, 16, 96, 64])
    assert np.allclose(boxes[:, 13, 7], [16, 80, 64, 120])


def test_objects_count_the_same_whatever_their_size_and_trees_less(view):
    _, weight = steps.box_targets(view)
    ids = view.instances[4::8, 4::8]
    sums = [weight[ids == number].sum() for number in range(5)]
    assert np.allclose(sums, [0, 1, 1, 1, 0.25])


def test_what_is_unknown_asks_for_nothing(view):
    view.unknown[:] = True
    assert not steps.box_targets(view)[1].any()
    assert not steps.semantic_targets(view)[3].any()


def test_borders_between_touching_objects_are_told_from_others(view):
    _, boundary, between, _ = steps.semantic_targets(view)
    assert boundary[10, 2] and not between[10, 2]  # the first building's outer wall
    assert boundary[10, 12] and between[10, 12]  # the wall that two share
    assert not between[20:].any()
    assert (boundary >= between).all()


def test_an_alley_is_border_as_a_whole_and_a_wide_street_at_its_sides_only():
    for gap, closed in ((steps.ALLEY_PX - 2, True), (4 * steps.ALLEY_PX, False)):
        instances = np.zeros((128, 160), np.int32)
        instances[16:112, 16:64], instances[16:112, 64 + gap : 152] = 1, 2
        _, boundary, between, _ = steps.semantic_targets(view_of(instances, [0, BUILDING, BUILDING]))
        middle = (64 + gap // 2) // 4
        assert bool(boundary[16, middle]) == bool(between[16, middle]) == closed
        assert boundary[16, 16] and not between[16, 4]


def test_now_and_then_a_large_object_is_shown_at_a_small_ones_scale():
    instances = np.zeros((900, 900), np.int32)
    instances[40:64, 40:64], instances[200:800, 200:800] = 1, 2
    plate = Plate(
        np.zeros((900, 900, 3), np.uint8), instances, np.array([0, BUILDING, BUILDING]), (BUILDING,)
    )
    covered = [
        steps.random_view(np.random.default_rng(seed), plate, 512, 120, 200).of_kind(BUILDING).mean()
        for seed in range(60)
    ]
    assert 1 <= sum(share > 0.99 for share in covered) <= 20  # nothing but roof


def test_a_perfect_box_costs_nothing_and_a_wrong_one_more_than_a_near_one(view):
    reach, weight = (torch.from_numpy(part)[None] for part in steps.box_targets(view))
    losses = [box_loss(reach * factor, reach, weight) for factor in (1.0, 1.1, 2.0)]
    assert losses[0][0] == pytest.approx(0, abs=1e-6)
    assert losses[0][1] == pytest.approx(1, abs=1e-3)
    assert losses[0][0] < losses[1][0] < losses[2][0]
    assert losses[1][1] > losses[2][1]


def test_a_click_in_a_crop_gets_the_box_at_its_place_of_the_canvas():
    model = Trainee().eval()
    features = torch.randn(1, 128, 16, 16)
    points = torch.tensor([[40.0, 100.0]])
    here = model.boxes_at(features, points)
    shift = torch.tensor([5 * 16.0, 3 * 16.0])
    there = model.boxes_at(features, points + shift, (3, 5))
    assert torch.allclose(there, here + torch.cat([shift, shift]))


def test_a_wrong_answer_to_one_click_is_corrected_by_more_clicks(monkeypatch):
    model, seen = Trainee().train(), []

    def decode(features, prompts, origin=(0, 0)):
        seen.append(prompts)
        count = len(prompts.points)
        return torch.full((count, 4, 16, 16), -5.0, requires_grad=True), torch.zeros(count, 4)

    monkeypatch.setattr(model, "decode", decode)
    task = empty_task(2, 64, 64)
    task.target[:, 20:50, 20:50] = 1
    for row in range(2):
        put_points(task, row, np.array([[30.0, 30.0]]), np.zeros((0, 2)))
    features, rng = torch.zeros(1, 128, 4, 4), np.random.default_rng(0)
    steps._decode(model, features, task, {}, "crop", rng, corrected=True)
    first, second = seen
    assert first.points.shape[1] == 1
    assert second.points.shape[1] > 1
    assert (second.labels[:, 1] == 1).all()  # all of it was missed
    inside = second.points[:, 1]
    assert ((inside >= 20) & (inside < 50)).all()
    assert (second.boxes is None) == (first.boxes is None)
