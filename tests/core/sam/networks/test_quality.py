"""The estimate of a drawn mask's quality: what it looks at, where it is applied, and how it is fitted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.sam.mask_selection import Keep
from core.sam.networks.embedded import WIDTH, BoxHead, SemanticHead
from core.sam.networks.quality import CLOSEST, N_FEATURES, QualityHead, Scene, mask_features
from core.sam.segmenter import Segmenter

CANVAS = (256, 512)  # pixels


def masks(*sides, inside=3.0, outside=-3.0):
    """Squares of these sides in logits of 64 x 64."""
    logits = torch.full((len(sides), 64, 64), outside)
    for one, side in zip(logits, sides):
        one[:side, :side] = inside
    return logits


def scene_of(side):
    """An object of ``side`` x ``side`` logit pixels, as the heads see it; its boxes are a tenth too long."""
    objects, borders = torch.full((64, 64), 0.1), torch.full((64, 64), 0.2)
    objects[:side, :side] = 0.9
    borders[side - 1 : side + 1, : side + 1] = borders[: side + 1, side - 1 : side + 1] = 0.7
    boxes = torch.zeros(4, 32, 32)
    boxes[2], boxes[3] = side * 4, side * 4 * 1.1
    return Scene(objects, borders, boxes)


def test_what_is_looked_at():
    scene = scene_of(20)
    sure = mask_features(torch.tensor([0.8, 0.8]), masks(10, 20), scene)
    assert sure.shape == (2, N_FEATURES)
    assert torch.allclose(sure[:, 0], torch.tensor([101.0, 401.0]).log())
    share = torch.tensor([0.8, 1 - CLOSEST, torch.tensor(3.0).sigmoid()])
    assert torch.allclose(sure[:, 1:4], share.logit().expand(2, -1), atol=1e-5)
    objects_inside, objects_around, outline, deep, box = sure[:, 4:].sigmoid().unbind(-1)
    assert torch.allclose(objects_inside, torch.tensor([0.9, 0.9]))
    assert torch.allclose(objects_around, torch.tensor([0.9, 0.1]))  # a part of it, and the whole
    assert outline[0] == pytest.approx(0.2) and outline[1] > 0.45  # two of its sides are the image's edge
    assert torch.allclose(deep, torch.tensor([0.2, 0.2]))
    assert torch.allclose(box, torch.tensor([1 / 4.4, 1 / 1.1]))
    rim = masks(20, outside=-3.0)
    rim[:, 10:20, :20] = 0.5  # half of the mask is above 0 but within 1 of it
    assert mask_features(torch.tensor([0.8]), rim, scene)[0, 2] == pytest.approx(0, abs=1e-5)


def test_an_empty_mask_and_a_full_one_have_figures_too():
    for one in (masks(0), masks(64)):
        figures = mask_features(torch.tensor([1.7]), one, scene_of(20))
        assert figures.isfinite().all() and figures[0, 1] == pytest.approx(torch.tensor(0.98).logit().item())


def test_the_scene_is_cut_to_uneven_images():
    classes, borders, reach = torch.rand(3, 64, 64), torch.rand(64, 64), torch.rand(4, 32, 32) * 50
    scene = Scene.of(classes, borders, reach, (33, 47))
    assert scene.objects.shape == scene.borders.shape == (33, 47) and scene.boxes.shape == (4, 17, 24)
    assert torch.allclose(scene.objects, 1 - classes[0, :33, :47])
    assert scene.boxes[0, 2, 5].item() == pytest.approx(44 - reach[0, 2, 5].item(), abs=1e-4)
    assert mask_features(torch.rand(2, 3), torch.randn(2, 3, 33, 47), scene).shape == (2, 3, N_FEATURES)


@pytest.fixture(scope="module")
def networks(embedded_sam):
    """The same network without the quality head, and with one that goes by all figures."""
    torch.manual_seed(4)
    heads = {"semantic_head": SemanticHead(WIDTH), "box_head": BoxHead(WIDTH)}
    head = QualityHead()
    judging = Segmenter(embedded_sam, "embedded", quality_head=head, **heads)
    return Segmenter(embedded_sam, "embedded", **heads), judging, head


@pytest.fixture(scope="module")
def asked(networks):
    """An embedding and eleven prompt sets: more than one batch."""
    rng = np.random.default_rng(0)
    embedding = networks[0].encode(rng.integers(0, 256, (*CANVAS, 3), np.uint8))
    points = rng.uniform(0, 256, (11, 2, 2))
    return embedding, points, np.ones((11, 2), int)


def judged(head, decoded, embedding):
    """What the head says of masks on the image's part of SAM's square."""
    shape = CANVAS[0] // 4, CANVAS[1] // 4
    logits = torch.from_numpy(decoded.logits)[..., : shape[0], : shape[1]]
    answers = (torch.from_numpy(one) for one in (embedding.classes, embedding.borders, embedding.reach))
    with torch.no_grad():
        return head(torch.from_numpy(decoded.iou_pred), logits, Scene.of(*answers, shape)).numpy()


@pytest.mark.parametrize("multimask", [False, True])
def test_masks_drawn_whole_are_judged_by_their_features(networks, asked, multimask):
    plain, judging, head = networks
    before, after = (network.decode(*asked, multimask=multimask) for network in (plain, judging))
    assert np.array_equal(before.logits, after.logits)
    assert np.allclose(after.iou_pred, judged(head, before, asked[0]), atol=1e-6)
    assert not np.allclose(after.iou_pred, before.iou_pred, atol=0.01)


def test_masks_that_are_kept_are_chosen_by_sams_estimate_and_judged_once_drawn(networks, asked):
    plain, judging, head = networks
    before, after = (network.decode(*asked, keep=Keep(5)) for network in (plain, judging))
    assert np.array_equal(before.kept, after.kept)
    assert np.allclose(after.iou_pred, judged(head, before, asked[0]), atol=1e-6)
    none = judging.decode(*asked, keep=Keep(5, least=9.0))
    assert none.iou_pred.shape == (0, 1)


def test_a_part_of_a_mask_is_not_judged(networks, asked):
    part = np.s_[0:128, 0:256]
    before, after = (network.decode(*asked, part_canvas=part) for network in networks[:2])
    assert np.array_equal(before.iou_pred, after.iou_pred)


def test_a_network_without_the_other_heads_keeps_sams_estimate(embedded_sam, asked):
    lone = Segmenter(embedded_sam, "embedded", quality_head=QualityHead())
    plain = Segmenter(embedded_sam, "embedded")
    embedding = plain.encode(np.full((*CANVAS, 3), 90, np.uint8))
    before, after = (network.decode(embedding, *asked[1:]) for network in (plain, lone))
    assert np.array_equal(before.iou_pred, after.iou_pred)


def test_the_fit_finds_what_tells_the_quality():
    training = pytest.importorskip("research.training.quality", reason="OpenCV is not part of the plugin")
    rng = np.random.default_rng(1)
    figures = torch.from_numpy(rng.normal(1.5, 1, (4000, N_FEATURES))).float()
    iou = (0.8 * figures[:, 2] + 0.3 * figures[:, 0] * figures[:, 8] - 1).sigmoid()
    weight, told = torch.ones(4000), iou.clone()
    told[::4], weight[::4] = 0, 0  # what weighs nothing must not count
    sample = training.Sample(figures, told, weight, torch.arange(4000))
    head = training.fit(sample)
    with torch.no_grad():
        assert (head.judge(figures) - iou).abs().mean() < 0.02
    before, after = training.report(head, sample).split("; ")
    assert "rank correlation 0.99" in after or "rank correlation 1.0" in after
    assert "rank correlation 0.9" not in before and "rank correlation 1.0" not in before


def test_a_model_file_gets_the_head_and_loads_with_it(embedded_checkpoint, tmp_path):
    training = pytest.importorskip("research.training.quality", reason="OpenCV is not part of the plugin")
    path = tmp_path / "model.safetensors"
    path.write_bytes(embedded_checkpoint.read_bytes())
    assert Segmenter.load("embedded", str(path))._quality_head is None
    for bias in (0.25, 0.5):  # the second takes the first one's place
        head = QualityHead()
        with torch.no_grad():
            head.layers[-1].bias.fill_(bias)
        training.add_head(path, head)
        assert Segmenter.load("embedded", str(path))._quality_head.layers[-1].bias.item() == bias


@pytest.mark.filterwarnings("error")
def test_what_comes_read_only_from_the_cache_is_judged_without_a_warning(networks, asked):
    _, judging, _ = networks
    answers = {name: getattr(asked[0], name).copy() for name in ("classes", "borders", "reach")}
    for array in answers.values():
        array.setflags(write=False)
    stored = judging.embedding_of(asked[0].features.numpy(), asked[0].shape_canvas, **answers)
    assert np.array_equal(judging.decode(stored, *asked[1:]).iou_pred, judging.decode(*asked).iou_pred)
