"""MobileSAM: the published network with random weights, saved, loaded here, gives the same figures."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from core.sam.networks.mobile_sam import build_mobile_sam, from_published
from core.sam.segmenter import Segmenter, read_state_dict

HEIGHT, WIDTH = 768, 1024  # canvas pixels; not square: the rest of SAM's square is padding
RUNS = 2
CLOSE = {"atol": 1e-4, "rtol": 0}
HEAD = {f"image_encoder.{layer}.{kind}" for layer in ("norm_head", "head") for kind in ("weight", "bias")}


class EncodedOnce(torch.nn.Module):
    """The published encoder, asked once: another image is an error."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.img_size = encoder, encoder.img_size
        self.image = self.answer = None

    def forward(self, image):
        if self.image is None:
            self.image, self.answer = image.clone(), self.encoder(image)
        torch.testing.assert_close(image, self.image, rtol=0, atol=0)
        return self.answer


def randomise(network):
    """Give every tensor its own random content: what is 0 or 1 as built would hide a wrong place."""
    random = torch.Generator().manual_seed(7)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=random)
        elif name.endswith("attention_biases"):
            tensor.normal_(generator=random)
        elif tensor.ndim > 1:  # queries and keys large enough for attention to matter
            tensor.normal_(std=(tensor.numel() / len(tensor)) ** -0.5, generator=random)
        elif tensor.is_floating_point():
            tensor += torch.empty_like(tensor).normal_(std=0.2, generator=random)
    return network.eval()  # again: the published encoder looks its attention biases up here


@pytest.fixture(scope="module")
def published():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports timm by its former names
        from segment_anything_hq import sam_model_registry_baseline

        return randomise(sam_model_registry_baseline["vit_tiny"]())


@pytest.fixture(scope="module")
def checkpoint(published, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobile_sam.pt"
    torch.save(published.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def segmenter(checkpoint):
    return Segmenter.load("mobile_sam", str(checkpoint), "cpu")


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (HEIGHT // 32, WIDTH // 32, 3)).repeat(32, axis=0).repeat(32, axis=1)
    return np.clip(coarse + rng.integers(-30, 30, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def embedding(segmenter, image):
    return segmenter.encode(image)


@pytest.fixture(scope="module")
def reference(published, checkpoint):
    """The published network with one encoding shared by all prompts; after it was saved."""
    published.image_encoder = EncodedOnce(published.image_encoder)
    return published


def prompts(kind):
    """Point indices, labels, boxes and mask inputs of each run; None for what is not given."""
    rng = np.random.default_rng(3)
    points = rng.integers(0, [WIDTH, HEIGHT], (RUNS, 3, 2)).astype(float)
    corners = np.sort(rng.integers(0, HEIGHT, (RUNS, 2, 2)), axis=1).astype(float)
    masks = rng.normal(0, 4, (RUNS, 256, 256)).astype(np.float32)
    return {
        "points": (points, np.array([[1, 1, 0]] * RUNS), None, None),
        "boxes": (None, None, corners.reshape(RUNS, 4), None),
        "masks": (points[:, :1], np.array([[1]] * RUNS), None, masks),
    }[kind]


def test_the_embedding_is_the_published_encoders(reference, segmenter, embedding, image):
    with torch.no_grad():
        prepared = reference.preprocess(torch.as_tensor(image).permute(2, 0, 1).float())[None]
        theirs = reference.image_encoder(prepared)[0]  # second: what HQ-SAM alone needs
    assert embedding.features.shape == theirs.shape == (1, 256, 64, 64)
    assert theirs.std() > 0.5  # there is something to be equal
    np.testing.assert_allclose(embedding.features.numpy(), theirs.numpy(), **CLOSE)


@pytest.mark.parametrize("multimask", [False, True], ids=["one", "three"])
@pytest.mark.parametrize("kind", ["points", "boxes", "masks"])
def test_the_masks_are_the_published_networks(reference, segmenter, embedding, image, kind, multimask):
    points, labels, boxes, masks = prompts(kind)
    ours = segmenter.decode(
        embedding,
        np.zeros((RUNS, 0, 2)) if points is None else points + 0.5,  # ours are continuous
        np.zeros((RUNS, 0)) if labels is None else labels,
        boxes_canvas=None if boxes is None else boxes + 0.5,
        mask_logits=masks,
        multimask=multimask,
    )
    asked = {"image": torch.as_tensor(image).permute(2, 0, 1), "original_size": (HEIGHT, WIDTH)}
    if points is not None:
        asked |= {"point_coords": torch.as_tensor(points).float(), "point_labels": torch.as_tensor(labels)}
    if boxes is not None:
        asked["boxes"] = torch.as_tensor(boxes).float()
    if masks is not None:
        asked["mask_inputs"] = torch.as_tensor(masks)[:, None]
    with torch.no_grad():
        theirs = reference([asked], multimask_output=multimask)[0]
    logits, quality = theirs["low_res_logits"].numpy(), theirs["iou_predictions"].numpy()
    assert ours.logits.shape == logits.shape == (RUNS, 3 if multimask else 1, 256, 256)
    assert logits.std() > 0.1 and np.abs(logits[0] - logits[1]).max() > 1e-2  # the prompts matter
    np.testing.assert_allclose(ours.logits, logits, **CLOSE)
    np.testing.assert_allclose(ours.iou_pred, quality, **CLOSE)
    assert (segmenter.masks(embedding, ours) == theirs["masks"].numpy()).mean() > 0.9999


def test_every_tensor_of_the_checkpoint_has_its_place_but_the_classifiers(checkpoint):
    state, network = torch.load(checkpoint, weights_only=True), build_mobile_sam()
    renamed = from_published(state)
    assert state.keys() > HEAD and len(renamed) == len(state) - len(HEAD)
    assert renamed.keys() == network.state_dict().keys()
    network.load_state_dict(from_published(state))
    here = network.state_dict()
    assert all(torch.equal(here[name], value) for name, value in renamed.items())


def change(state, kind):
    name = "image_encoder.layers.2.downsample.conv2.bn.weight"
    if kind == "incomplete":
        state.pop(name)
    elif kind == "more in it":
        state["image_encoder.layers.4.blocks.0.attn.attention_biases"] = torch.zeros(10, 49)
    elif kind == "another width":
        state[name] = torch.zeros(448)  # TinyViT-11M's
    return state


@pytest.mark.parametrize("kind", ["incomplete", "more in it", "another width", "of the embedded model"])
def test_what_is_not_mobile_sams_is_refused(checkpoint, embedded_checkpoint, tmp_path, kind):
    path = tmp_path / "wrong.safetensors"
    if kind == "of the embedded model":
        path = embedded_checkpoint
    else:
        save_file(change(read_state_dict(checkpoint), kind), path)
    with pytest.raises(InputError, match="no checkpoint of the model 'mobile_sam'") as caught:
        Segmenter.load("mobile_sam", str(path), "cpu")
    assert "\n" not in str(caught.value)


def test_a_mobile_sam_is_no_other_model(checkpoint):
    with pytest.raises(InputError, match="no checkpoint of the model 'embedded'"):
        Segmenter.load("embedded", str(checkpoint), "cpu")
