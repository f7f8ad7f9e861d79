"""The estimate of a drawn mask's quality: what it looks at, where it is applied, and how it is fitted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.best_masks import Keep
from core.quality import CLOSEST, QualityHead, looks
from core.sam import Segmenter

CANVAS = (256, 512)  # pixels


def masks(*sides, inside=3.0, outside=-3.0):
    """Squares of these sides in logits of 64 x 64."""
    logits = torch.full((len(sides), 64, 64), outside)
    for one, side in zip(logits, sides):
        one[:side, :side] = inside
    return logits


def test_what_is_looked_at():
    sure = looks(torch.tensor([0.8, 0.8]), masks(10, 20))
    share = torch.tensor([0.8, 1 - CLOSEST, torch.tensor(3.0).sigmoid()])
    assert torch.allclose(sure[:, :3], share.logit().expand(2, -1), atol=1e-5)
    assert torch.allclose(sure[:, 3], torch.tensor([101.0, 401.0]).log())
    rim = masks(20, outside=-3.0)
    rim[:, 10:20, :20] = 0.5  # half of the mask is above 0 but within 1 of it
    assert looks(torch.tensor([0.8]), rim)[0, 1] == pytest.approx(0, abs=1e-5)
    nothing = looks(torch.tensor([1.7]), masks(0))
    assert nothing.isfinite().all() and nothing[0, 0] == pytest.approx(torch.tensor(0.98).logit().item())


def test_a_new_head_says_what_sam_says():
    estimate = torch.tensor([0.1, 0.5, 0.9])
    assert torch.allclose(QualityHead()(estimate, masks(3, 9, 30)), estimate, atol=1e-6)


@pytest.fixture(scope="module")
def networks(embedded_sam):
    """The same network without the head, and with one that goes by the area inside the image."""
    head = QualityHead()
    with torch.no_grad():
        head.layer.weight.copy_(torch.tensor([[0.5, 0.1, 0.2, 0.3]]))
        head.layer.bias.fill_(-2)
    return Segmenter(embedded_sam, "embedded"), Segmenter(embedded_sam, "embedded", quality_head=head), head


@pytest.fixture(scope="module")
def asked(networks):
    """An embedding and eleven prompt sets: more than one batch."""
    rng = np.random.default_rng(0)
    embedding = networks[0].encode(rng.integers(0, 256, (*CANVAS, 3), np.uint8))
    points = rng.uniform(0, 256, (11, 2, 2))
    return embedding, points, np.ones((11, 2), int)


def judged(head, decoded):
    """What the head says of masks on the image's part of SAM's square."""
    logits = torch.from_numpy(decoded.logits)[..., : CANVAS[0] // 4, : CANVAS[1] // 4]
    with torch.no_grad():
        return head(torch.from_numpy(decoded.iou_pred), logits).numpy()


@pytest.mark.parametrize("multimask", [False, True])
def test_masks_drawn_whole_are_judged_by_their_looks(networks, asked, multimask):
    plain, judging, head = networks
    before, after = (network.decode(*asked, multimask=multimask) for network in (plain, judging))
    assert np.array_equal(before.logits, after.logits)
    assert np.allclose(after.iou_pred, judged(head, before), atol=1e-6)
    assert not np.allclose(after.iou_pred, before.iou_pred, atol=0.01)


def test_masks_that_are_kept_are_chosen_by_sams_estimate_and_judged_once_drawn(networks, asked):
    plain, judging, head = networks
    before, after = (network.decode(*asked, keep=Keep(5)) for network in (plain, judging))
    assert np.array_equal(before.kept, after.kept)
    assert np.allclose(after.iou_pred, judged(head, before), atol=1e-6)
    none = judging.decode(*asked, keep=Keep(5, least=9.0))
    assert none.iou_pred.shape == (0, 1)


def test_a_part_of_a_mask_is_not_judged(networks, asked):
    part = np.s_[0:128, 0:256]
    before, after = (network.decode(*asked, part_canvas=part) for network in networks[:2])
    assert np.array_equal(before.iou_pred, after.iou_pred)


def test_the_fit_finds_what_tells_the_quality():
    training = pytest.importorskip("training.quality", reason="OpenCV is not part of the plugin")
    rng = np.random.default_rng(1)
    figures = torch.from_numpy(rng.normal([1.5, 2, 2, 5], [1, 0.7, 0.5, 1.5], (4000, 4))).float()
    truth = QualityHead()
    with torch.no_grad():
        truth.layer.weight.copy_(torch.tensor([[0.1, 0.8, 0.0, 0.3]]))
        truth.layer.bias.fill_(-2.5)
        iou = truth.judge(figures)
    weight = torch.ones(4000)
    iou[::4], weight[::4] = 0, 0  # what weighs nothing must not count
    sample = training.Sample(figures, iou, weight, torch.arange(4000))
    head = training.fit(sample)
    with torch.no_grad():
        assert (head.judge(figures) - truth.judge(figures)).abs().max() < 0.05
    before, after = training.report(head, sample).split("; ")
    assert after.startswith("after: rank correlation 1.000, mean error 0.0")
    assert before.startswith("before: rank correlation 0.") and "mean error 0.0" not in before


def test_a_model_file_gets_the_head_and_loads_with_it(embedded_checkpoint, tmp_path):
    training = pytest.importorskip("training.quality", reason="OpenCV is not part of the plugin")
    path = tmp_path / "model.safetensors"
    path.write_bytes(embedded_checkpoint.read_bytes())
    assert Segmenter.load("embedded", str(path))._quality_head is None
    head = QualityHead()
    with torch.no_grad():
        head.layer.bias.fill_(0.25)
    training.add_head(path, head)
    loaded = Segmenter.load("embedded", str(path))._quality_head
    assert loaded.layer.bias.item() == 0.25
    training.add_head(path, QualityHead())  # again: it takes the old one's place
    assert Segmenter.load("embedded", str(path))._quality_head.layer.bias.item() == 0
