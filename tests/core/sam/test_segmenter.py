"""SAM on a canvas: the same figures as the published predictor, and weights read safely."""

import hashlib
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

from core.errors import CancelledError, InputError
from core.sam.device import choose_device
from core.sam.networks import vit
from core.sam.networks.embedded import SEMANTIC_HEAD, SemanticHead
from core.sam.networks.vit import build_vit
from core.sam.segmenter import BATCH, Segmenter, read_state_dict

CLOSE = {"atol": 1e-4, "rtol": 0}


class EncodeOnce(torch.nn.Module):
    """An image encoder that answers an image it has seen before from memory."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.img_size = encoder, encoder.img_size
        self.seen, self.answer, self.asked = None, None, 0

    def forward(self, image):
        self.asked += 1
        if self.seen is None or not torch.equal(self.seen, image):
            self.seen, self.answer = image, self.encoder(image)
        else:
            self.asked -= 1
        return self.answer


def photo(height, width):
    """Smooth colours with sharp shapes in them."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 32, width // 32, 3), np.uint8)
    image = coarse.repeat(32, axis=0).repeat(32, axis=1)
    return np.clip(image.astype(int) + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)


def prompt_sets(runs, points, height, width, seed=1):
    rng = np.random.default_rng(seed)
    places = np.stack([rng.integers(0, width, (runs, points)), rng.integers(0, height, (runs, points))], -1)
    labels = np.ones((runs, points), np.int64)
    labels[:, points // 2 :] = 0
    return places + 0.5, labels  # continuous: centres of pixels


def published(predictor, points_canvas, labels, *, multimask):
    """Logits and predicted IoU of each run by the published predictor, which takes pixel indices."""
    logits, quality = [], []
    for points, kinds in zip(points_canvas - 0.5, labels, strict=True):
        _, iou, low = predictor.predict(points, kinds, multimask_output=multimask, return_logits=True)
        logits.append(low)
        quality.append(iou)
    return np.stack(logits), np.stack(quality)


def build_random(name):
    """A ViT with random weights whose one slow encoding is shared."""
    torch.manual_seed(3)
    network = build_vit(name)
    for parameter in network.parameters():  # zeros would hide what is wired wrongly
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    network.image_encoder = EncodeOnce(network.image_encoder)
    return network


def compare(network, image, runs, *, multimask=False):
    segmenter, predictor = Segmenter(network, "any"), SamPredictor(network)
    predictor.set_image(image)
    points, labels = prompt_sets(runs, 6, *image.shape[:2])
    ours = segmenter.decode(segmenter.encode(image), points, labels, multimask=multimask)
    logits, quality = published(predictor, points, labels, multimask=multimask)
    assert ours.logits.shape == (runs, 3 if multimask else 1, 256, 256)
    assert np.ptp(logits) > 1e-2  # there is something to be equal
    np.testing.assert_allclose(ours.logits, logits, **CLOSE)
    np.testing.assert_allclose(ours.iou_pred, quality, **CLOSE)


# The same as the published predictor


def test_a_vit_gives_the_published_predictors_figures(monkeypatch):
    # ViT-B's width, windows and global attention, but two blocks of its twelve: quick.
    monkeypatch.setitem(vit.VIT, "vit_b", (768, 2, 12, (1,)))
    network = build_random("vit_b")
    compare(network, photo(768, 1024), 2)  # not square: the rest of SAM's square is padding
    assert network.image_encoder.asked == 1  # both prepared the very same input


@pytest.mark.slow
def test_the_whole_vit_b_gives_the_published_predictors_figures():
    network = build_random("vit_b")
    compare(network, photo(1024, 1024), 2, multimask=True)
    assert network.image_encoder.asked == 1


@pytest.mark.parametrize("shape", [(1024, 1024), (640, 1024)])
@pytest.mark.parametrize("multimask", [False, True])
def test_the_embedded_model_gives_the_published_predictors_figures(embedded_sam, shape, multimask):
    compare(embedded_sam, photo(*shape), 3, multimask=multimask)


def test_several_batches_are_one_answer(embedded_sam):
    segmenter = Segmenter(embedded_sam, "embedded")
    embedding = segmenter.encode(photo(256, 320))
    assert embedding.shape_canvas == (256, 320) and embedding.features.shape[-2:] == (64, 64)
    runs = BATCH + 3
    points, labels = prompt_sets(runs, 2, 256, 320)
    whole = segmenter.decode(embedding, points, labels)
    assert whole.logits.shape == (runs, 1, 256, 256) and whole.iou_pred.shape == (runs, 1)
    for run in (0, BATCH - 1, BATCH, runs - 1):
        alone = segmenter.decode(embedding, points[run : run + 1], labels[run : run + 1])
        np.testing.assert_allclose(alone.logits[0], whole.logits[run], **CLOSE)
        np.testing.assert_allclose(alone.iou_pred[0], whole.iou_pred[run], **CLOSE)


def test_a_point_of_no_kind_is_no_point(embedded_sam):
    segmenter = Segmenter(embedded_sam, "embedded")
    embedding = segmenter.encode(photo(256, 256))
    points = np.array([[[100.5, 80.5], [30.5, 40.5]]])
    two = segmenter.decode(embedding, points, np.array([[1, 0]]))
    moved = segmenter.decode(embedding, points + np.array([[0, 0], [50, 90]]), np.array([[1, -1]]))
    without = segmenter.decode(embedding, points, np.array([[1, -1]]))
    np.testing.assert_allclose(moved.logits, without.logits, **CLOSE)
    assert np.abs(two.logits - without.logits).max() > 1e-3


def test_a_cancel_is_heard_between_two_batches(embedded_sam):
    segmenter = Segmenter(embedded_sam, "embedded")
    embedding = segmenter.encode(photo(256, 256))
    points, labels = prompt_sets(3 * BATCH, 1, 256, 256)
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) == 2

    with pytest.raises(CancelledError):
        segmenter.decode(embedding, points, labels, cancelled=cancelled)
    assert len(asked) == 2


# The embedded model keeps SAM's interface


def test_the_published_predictor_takes_a_box_on_the_embedded_model(embedded_sam):
    predictor = SamPredictor(embedded_sam)
    predictor.set_image(photo(384, 512))
    masks, iou, low = predictor.predict(box=np.array([100, 80, 220, 200]), multimask_output=False)
    assert masks.shape == (1, 384, 512) and masks.dtype == bool
    assert low.shape == (1, 256, 256) and np.isfinite(iou).all()
    other = predictor.predict(box=np.array([300, 200, 420, 320]), multimask_output=False)[2]
    assert np.abs(low - other).max() > 1e-3  # the box matters


def test_the_published_mask_generator_runs_on_the_embedded_model(embedded_sam):
    generator = SamAutomaticMaskGenerator(
        embedded_sam, points_per_side=2, pred_iou_thresh=-9, stability_score_thresh=-9, box_nms_thresh=1.0
    )
    found = generator.generate(photo(192, 256))
    assert len(found) > 0
    assert all(mask["segmentation"].shape == (192, 256) for mask in found)
    assert all(mask["area"] == mask["segmentation"].sum() for mask in found)


# Weights


def load(name, path):
    return Segmenter.load(name, str(path), "cpu", "single")


def test_the_embedded_weights_come_back_as_they_were(embedded_sam, embedded_checkpoint):
    loaded = load("embedded", embedded_checkpoint)
    assert loaded.name == "embedded" and not loaded.sam.training
    expected = embedded_sam.state_dict()
    for key, value in loaded.sam.state_dict().items():
        if not key.startswith("image_encoder."):  # that one has its batch norms folded in
            assert torch.equal(value, expected[key]), key
    image = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(loaded.sam.image_encoder(image), embedded_sam.image_encoder(image), atol=1e-4)


def test_a_vit_b_checkpoint_comes_back_as_it_was(tmp_path):
    state = build_vit("vit_b").state_dict()
    torch.save(state, tmp_path / "sam_vit_b.pth")
    loaded = load("vit_b", tmp_path / "sam_vit_b.pth").sam.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_half_precision_weights_are_computed_in_single(embedded_sam, tmp_path):
    save_file(
        {k: v.half().contiguous() for k, v in embedded_sam.state_dict().items()}, tmp_path / "h.safetensors"
    )
    state = load("embedded", tmp_path / "h.safetensors").sam.state_dict()
    assert all(value.dtype == torch.float32 for value in state.values() if value.is_floating_point())


class Bomb:
    """A pickle that would write a file when it is opened."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


@pytest.mark.parametrize("kind", ["pickle", "torch.save", "state dict"])
def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path, kind):
    target, path = tmp_path / "exploded", tmp_path / "weights.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(target)))
    elif kind == "torch.save":
        torch.save(Bomb(target), path)
    else:
        torch.save({"weight": torch.zeros(2), "extra": Bomb(target)}, path)
    with pytest.raises(InputError, match="no weights that can be read safely"):
        load("vit_b", path)
    assert not target.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_files_that_hold_no_weights_are_refused(embedded_sam, embedded_checkpoint, tmp_path, name):
    path = tmp_path / name
    if name.endswith("pth"):
        torch.save(embedded_sam.state_dict(), path)
        whole = path.read_bytes()
    else:
        whole = embedded_checkpoint.read_bytes()
    rng = np.random.default_rng(0)
    contents = [b"", b"hello, these are words\n" * 20, whole[: len(whole) // 2], whole[:100], rng.bytes(5000)]
    contents += [bytes([first]) + rng.bytes(50) for first in range(0, 256, 5)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(InputError):
            read_state_dict(path)


def test_other_things_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.pth", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "nested.pth")
    torch.save({1: torch.zeros(2)}, tmp_path / "numbered.pth")
    torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "complex.pth")
    torch.save(
        {"weight": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)}, tmp_path / "quantized.pth"
    )
    for name in ("archive", "list", "nested", "numbered", "complex", "quantized"):
        with pytest.raises(InputError, match=r"no weights that can be read safely\. Choose"):
            load("embedded", tmp_path / f"{name}.pth")
    with pytest.raises(InputError, match="no weights file"):
        load("embedded", tmp_path)
    with pytest.raises(InputError, match="no weights file"):
        load("embedded", tmp_path / "absent.pth")


@pytest.mark.parametrize("lost", ["image_encoder.neck.0.weight", SEMANTIC_HEAD + "layers.0.weight"])
def test_a_checkpoint_of_another_network_is_refused(lost, embedded_checkpoint, tmp_path):
    with pytest.raises(InputError, match="no checkpoint of the model 'vit_b'"):
        load("vit_b", embedded_checkpoint)
    state = read_state_dict(embedded_checkpoint)
    state |= {SEMANTIC_HEAD + name: value for name, value in SemanticHead().state_dict().items()}
    del state[lost]  # by name: torch does without a batch norm's counter
    save_file(state, tmp_path / "incomplete.safetensors")
    with pytest.raises(InputError, match="no checkpoint of the model 'embedded'"):
        load("embedded", tmp_path / "incomplete.safetensors")


def test_the_weights_file_is_not_kept_open(embedded_checkpoint, tmp_path):
    path = tmp_path / "copy.safetensors"
    path.write_bytes(embedded_checkpoint.read_bytes())
    segmenter = load("embedded", path)
    before = next(segmenter.sam.parameters()).clone()
    path.write_bytes(b"\0" * path.stat().st_size)  # mapped memory would change now
    assert torch.equal(next(segmenter.sam.parameters()), before)


def test_an_open_file_is_read_whatever_took_its_name(embedded_checkpoint, tmp_path):
    path = tmp_path / "copy.safetensors"
    path.write_bytes(embedded_checkpoint.read_bytes())
    with path.open("rb") as file:
        if os.name != "nt":  # where an open file keeps its name
            path.unlink()
        state = read_state_dict(path, file)
    assert state.keys() == read_state_dict(embedded_checkpoint).keys()


def test_the_identity_is_the_contents(embedded_checkpoint, tmp_path):
    """Not the place, the length or the date: these are the same of a file that was replaced."""
    content = embedded_checkpoint.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    one, other = tmp_path / "one.safetensors", tmp_path / "elsewhere" / "other.safetensors"
    one.write_bytes(content)
    other.write_bytes(content)
    os.utime(other, (1, 1))
    identity = load("embedded", one).identity
    assert hashlib.sha256(content).hexdigest() in identity
    assert load("embedded", other).identity == load("embedded", embedded_checkpoint).identity == identity
    before = one.stat()
    one.write_bytes(content[:-4] + bytes(4))
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (one.stat().st_size, one.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert load("embedded", one).identity != identity


def test_models_and_devices_that_are_not_there():
    with pytest.raises(InputError, match="no model 'gpt'"):
        Segmenter.load("gpt")
    with pytest.raises(InputError, match="are not on this computer"):
        Segmenter.load("vit_h")
    with pytest.raises(InputError, match="no device 'abacus'"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="offers no cuda"):
            choose_device("cuda")
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_the_networks_are_the_published_ones_name_by_name(name):
    with torch.device("meta"):  # shapes without memory or time
        ours, theirs = build_vit(name).state_dict(), sam_model_registry[name]().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't")])
def test_want_of_memory_is_no_fault_of_the_file(tmp_path, monkeypatch, error):
    path = tmp_path / "model.pth"
    torch.save({"weight": torch.zeros(3)}, path)

    def load(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(type(error)):
        read_state_dict(path)
