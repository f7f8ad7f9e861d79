"""Dead channels are dropped from a model file, the network fits it, and its answers stay what they were."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("cv2")

from core.errors import InputError
from core.sam.networks.embedded import build_embedded
from core.sam.networks.widths import INNER, fit_widths, inverted_residuals
from core.sam.segmenter import Segmenter
from research.training.export import export
from research.training.prune import MULTIPLE, alive, prune
from research.training.quality import add_head, trainee_of
from research.training.state import State, weights_of

BLOCK = "image_encoder.backbone.blocks.5.1"
DEAD = 100  # of its channels


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(3)]


@pytest.fixture
def model_file(tmp_path):
    """An exported model, one block of which has channels that nothing gets through."""
    from core.sam.networks.quality import QualityHead

    state = State(1)
    block = state.model.sam.get_submodule(BLOCK)
    with torch.no_grad():
        block.bn2.bias[50 : 50 + DEAD] = -1e4
    state.ema = state._weights()
    state.save(tmp_path / "last.pt")
    path = tmp_path / "model.safetensors"
    export(tmp_path / "last.pt", path)
    add_head(path, QualityHead())
    return path


def test_what_never_fires_is_dropped_and_answers_stay_the_same(model_file):
    canvas = np.random.default_rng(1).integers(0, 256, (1024, 1024, 3), np.uint8)
    points, labels = np.full((1, 1, 2), 90.0), np.ones((1, 1))

    def answers():
        loaded = Segmenter.load("embedded", str(model_file), "cpu", "single")
        embedding = loaded.encode(canvas)
        return embedding.features, loaded.decode(embedding, points, labels)

    before, whole = load_file(model_file), answers()
    prune(model_file, [canvas])
    after, pruned = load_file(model_file), answers()
    width = len(before[f"{BLOCK}.conv_dw.weight"])
    assert len(after[f"{BLOCK}.conv_dw.weight"]) <= -(-(width - DEAD) // MULTIPLE) * MULTIPLE
    assert after.keys() == before.keys()  # the heads are all there
    assert whole[0].std() > 0.1
    np.testing.assert_allclose(pruned[0], whole[0], atol=1e-4)
    np.testing.assert_allclose(pruned[1].iou_pred, whole[1].iou_pred, atol=1e-4)


def test_only_dead_channels_are_dropped(model_file, images):
    model = trainee_of(model_file)
    live = alive(model, images)[BLOCK]
    assert not live[50 : 50 + DEAD].any() and live.any()
    before = load_file(model_file)
    prune(model_file, images)
    after = load_file(model_file)
    kept = {tuple(one.flatten().tolist()) for one in after[f"{BLOCK}.conv_pw.weight"]}
    for lives, weights in zip(live, before[f"{BLOCK}.conv_pw.weight"], strict=True):
        assert not lives or tuple(weights.flatten().tolist()) in kept
    prune(model_file, images)  # once is enough
    assert {name: value.shape for name, value in load_file(model_file).items()} == {
        name: value.shape for name, value in after.items()
    }


def test_a_training_that_begins_with_such_a_file_has_zeros_in_their_place(model_file, images):
    whole = trainee_of(model_file)
    prune(model_file, images)
    begun = State(2, [weights_of(model_file)]).model.eval()
    assert begun.sam.get_submodule(BLOCK).conv_dw.out_channels == 1152
    with torch.no_grad():
        for image in images:
            np.testing.assert_allclose(begun.encode([image]), whole.encode([image]), atol=1e-4)


def test_a_network_takes_the_widths_of_what_it_is_to_be_loaded_with():
    torch.manual_seed(0)
    narrow, network = build_embedded(), build_embedded()
    wanted = {name: 16 * (1 + number) for number, name in enumerate(inverted_residuals(narrow))}
    state = narrow.state_dict()
    for name, width in wanted.items():
        for part in INNER:
            state[f"{name}.{part}"] = state[f"{name}.{part}"][:width]
        state[f"{name}.conv_pwl.weight"] = state[f"{name}.conv_pwl.weight"][:, :width]
    fit_widths(network, state)
    network.load_state_dict(state)
    for name, block in inverted_residuals(network).items():
        assert block.conv_dw.groups == len(block.bn2.weight) == min(wanted[name], len(block.bn2.weight))
    with torch.inference_mode():
        assert network.image_encoder(torch.randn(1, 3, 64, 64)).isfinite().all()


@pytest.mark.parametrize("shape", [(), (7,), (8, 1, 3, 3), (0, 1, 3, 3)], ids=str)
def test_a_file_of_blocks_that_do_not_fit_together_is_refused(model_file, tmp_path, shape):
    state = load_file(model_file)
    state[f"{BLOCK}.conv_dw.weight"] = torch.zeros(shape)
    save_file(state, tmp_path / "torn.safetensors")
    with pytest.raises(InputError, match="is no checkpoint of the model 'embedded'"):
        Segmenter.load("embedded", str(tmp_path / "torn.safetensors"), "cpu")
