"""SAM's whole contract, against segment-anything's two ways in: Sam.forward and SamPredictor.

Points, boxes, mask inputs and all together; one mask and three; every network that can be loaded.
"""

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from core.sam.networks import vit
from core.sam.networks.vit import build_vit
from core.sam.segmenter import Segmenter

HEIGHT, WIDTH = 768, 1024  # canvas pixels; the longer side is SAM's own, so the predictor does not resize
RUNS = 2
CLOSE = {"atol": 1e-4, "rtol": 0}


class EncodedOnce(torch.nn.Module):
    """One slow encoding shared by all ways in; another image is an error."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.img_size = encoder, encoder.img_size
        self.image = self.answer = None

    def forward(self, image):
        if self.image is None:
            self.image, self.answer = image.clone(), self.encoder(image)
        torch.testing.assert_close(image, self.image, rtol=0, atol=0)
        return self.answer


def randomised(network):
    """Fill what is built as zeros, which would hide wrong wiring; share the encoding."""
    torch.manual_seed(5)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    network.image_encoder = EncodedOnce(network.image_encoder)
    return network


@pytest.fixture(scope="module", params=["vit_b", "vit_l", "vit_h", "embedded"])
def network(request, embedded_sam):
    if request.param == "embedded":
        encoder = embedded_sam.image_encoder
        yield randomised(embedded_sam)
        embedded_sam.image_encoder = encoder
        return
    width, _, heads, _ = vit.VIT[request.param]
    # The network's own widths and heads, two blocks of its many: one windowed, one global.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vit.VIT, request.param, (width, 2, heads, (1,)))
        yield randomised(build_vit(request.param))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def prompts(kind):
    """Point indices, labels, boxes and mask inputs of each run; None for what is not given."""
    rng = np.random.default_rng(3)
    points = rng.integers(0, [WIDTH, HEIGHT], (RUNS, 3, 2)).astype(float)
    labels = np.array([[1, 1, 0]] * RUNS)
    corners = np.sort(rng.integers(0, HEIGHT, (RUNS, 2, 2)), axis=1).astype(float)
    masks = rng.normal(0, 4, (RUNS, 256, 256)).astype(np.float32)
    chosen = {"points": (1, 0, 0), "boxes": (0, 1, 0), "masks": (1, 0, 1), "all": (1, 1, 1)}[kind]
    given = ((points, labels), corners.reshape(RUNS, 4), masks)
    (with_points, boxes, masks) = (one if wanted else None for one, wanted in zip(given, chosen, strict=True))
    points, labels = with_points or (None, None)
    return points, labels, boxes, masks


@pytest.mark.parametrize("multimask", [False, True], ids=["one", "three"])
@pytest.mark.parametrize("kind", ["points", "boxes", "masks", "all"])
def test_same_as_forward_and_predictor(network, image, kind, multimask):
    points, labels, boxes, masks = prompts(kind)
    segmenter = Segmenter(network, "any")
    embedding = segmenter.encode(image)
    ours = segmenter.decode(
        embedding,
        np.zeros((RUNS, 0, 2)) if points is None else points + 0.5,  # ours are continuous
        np.zeros((RUNS, 0)) if labels is None else labels,
        boxes_canvas=None if boxes is None else boxes + 0.5,
        mask_logits=masks,
        multimask=multimask,
    )
    assert ours.logits.shape == (RUNS, 3 if multimask else 1, 256, 256)
    assert ours.iou_pred.shape == ours.logits.shape[:2]
    full = segmenter.masks(embedding, ours)
    assert full.shape == (*ours.iou_pred.shape, HEIGHT, WIDTH)

    asked = {"image": torch.as_tensor(image).permute(2, 0, 1), "original_size": (HEIGHT, WIDTH)}
    if points is not None:
        asked |= {"point_coords": torch.as_tensor(points).float(), "point_labels": torch.as_tensor(labels)}
    if boxes is not None:
        asked["boxes"] = torch.as_tensor(boxes).float()
    if masks is not None:
        asked["mask_inputs"] = torch.as_tensor(masks)[:, None]
    with torch.no_grad():
        forward = network([asked], multimask_output=multimask)[0]
    np.testing.assert_allclose(ours.logits, forward["low_res_logits"].numpy(), **CLOSE)
    np.testing.assert_allclose(ours.iou_pred, forward["iou_predictions"].numpy(), **CLOSE)
    assert (full == forward["masks"].numpy()).mean() > 0.9999  # a logit of 0 may fall either way

    predictor = SamPredictor(network)
    predictor.set_image(image)
    for run in range(RUNS):
        given = (None if one is None else one[run] for one in (points, labels, boxes))
        given_mask = None if masks is None else masks[run][None]
        _, quality, low = predictor.predict(*given, given_mask, multimask_output=multimask)
        np.testing.assert_allclose(ours.logits[run], low, **CLOSE)
        np.testing.assert_allclose(ours.iou_pred[run], quality, **CLOSE)
