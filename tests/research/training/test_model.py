# ruff: noqa: E402 (OpenCV is not part of the plugin: without it these tests are skipped)
"""Training: prompts and labels fit together, a step learns, a resume goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")
torch = pytest.importorskip("torch")

from safetensors.torch import save_file

from core.sam.geometry import CELL
from research.training import train as training
from research.training.cache import HELD_OUT_SEED, fill_cache
from research.training.canvases import canvas_task, make_stitched
from research.training.network import Prompts, mask_loss, true_iou
from research.training.plates import Plate, boxes_of, split_plate
from research.training.prompting import crop_task, middle_pixel
from research.training.replicas import Replicas
from research.training.scenes import BUILDING, VEHICLE, make_scene
from research.training.state import State
from research.training.steps import Data, random_view
from research.training.views import cut_view, orient

MODEL_FILE = Path(__file__).resolve().parents[3] / "resources" / "exemplar-embedded.safetensors"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    fill_cache(folder, range(3), 384)
    fill_cache(folder, range(HELD_OUT_SEED, HELD_OUT_SEED + 1), 384)
    return folder


@pytest.fixture(scope="module")
def plate():
    scene = make_scene(6, 512, gsd_m=0.15)
    return Plate(scene.image, scene.instances, scene.kinds, (BUILDING, VEHICLE))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def arguments(scenes, run, *more):
    return training.parser().parse_args(
        ["--scenes", str(scenes), "--run", str(run), "--real", str(run / "none"), "--minutes", "50", *more]
    )


def test_boxes_are_those_of_the_instances():
    instances = np.zeros((20, 30), np.int32)
    instances[3:7, 10:15] = 2
    assert boxes_of(instances) == {2: (10, 3, 15, 7, 20)}


def test_a_view_keeps_picture_and_instances_together(plate):
    view = orient(cut_view(plate, 2.0, 40, 60, 128, 160), 1, True)
    assert view.image.shape[:2] == view.instances.shape == (160, 128)
    assert set(np.unique(view.instances)) <= set(np.unique(plate.instances[60:124, 40:120]))


def test_what_lies_outside_a_plate_is_unknown(plate):
    view = cut_view(plate, 1.0, -32, 0, 64, 64)
    assert view.unknown[:, :32].all()
    assert not view.unknown[:, 32:].any()


def test_held_out_part_and_training_part_do_not_meet(plate):
    left, right = split_plate(plate)
    assert left.image.shape[1] + right.image.shape[1] == plate.image.shape[1]


@pytest.mark.parametrize("kind", [BUILDING, VEHICLE])
def test_a_stitched_canvas_wants_the_class_and_every_showing_of_the_example(plate, kind):
    rng = np.random.default_rng(3)
    stitched = next(s for _ in range(50) if (s := make_stitched(rng, plate, kind, 384, 512)) is not None)
    column = stitched.canvas.column
    assert column % CELL == 0
    assert stitched.canvas.image.shape[0] % CELL == stitched.canvas.image.shape[1] % CELL == 0
    assert np.array_equal(stitched.wanted[:, column:], stitched.query_view.of_kind(kind))
    # the drawn example is a little off, but not elsewhere
    drawn = stitched.canvas.example
    assert stitched.wanted[drawn].mean() > 0.7
    assert not stitched.unknown[:, column:].any()
    task = canvas_task(rng, stitched, groups=2, singles=2)
    clicked = task.points[2, task.labels[2] == 1].astype(int)
    assert task.target[2][clicked[:, 1], clicked[:, 0]].mean() > 0.5
    assert task.group.tolist() == [True, True, False, False]


def test_single_prompts_lie_on_their_object(plate):
    rng = np.random.default_rng(5)
    view = random_view(rng, plate, 256, 40, 120)
    task = crop_task(rng, view, 8)
    for row in np.flatnonzero(~task.boxed):
        x, y = task.points[row, 0].astype(int).clip(0, 255)
        assert task.target[row, max(0, y - 4) : y + 5, max(0, x - 4) : x + 5].any()


def test_the_middle_of_a_mask_is_inside_it():
    mask = np.zeros((40, 40), bool)
    mask[5:35, 5:10] = mask[30:35, 5:35] = True
    x, y = middle_pixel(mask)[0].astype(int)
    assert mask[y, x]


def test_losses_know_right_from_wrong():
    target = torch.zeros(1, 16, 16)
    target[:, 4:10, 4:10] = 1
    weight = torch.ones_like(target)
    right, wrong = (target * 16 - 8)[:, None], (8 - target * 16)[:, None]
    assert mask_loss(right, target, weight).item() < 0.05 < mask_loss(wrong, target, weight).item()
    assert true_iou(right, target, weight).item() == 1
    assert true_iou(wrong, target, weight).item() == 0


def test_a_crop_is_decoded_as_the_same_place_of_the_canvas(scenes):
    """Training on a part of the canvas sees the positions that the whole canvas has there."""
    state = State(0)
    state.model.eval()
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    prompts = Prompts(torch.tensor([[[40.0, 30.0]]]), torch.tensor([[1]]))
    with torch.inference_mode():
        features = state.model.encode([image])
        here, _ = state.model.decode(features, prompts)
        moved = Prompts(prompts.points + torch.tensor([32.0, 16.0]), prompts.labels)
        drawn = state.model.sam.prompt_encoder.draw
        a = drawn((prompts.points, prompts.labels), None, (4, 4))
        b = drawn((moved.points, moved.labels), None, (4, 4), (32.0, 16.0))
    assert here.shape == (1, 4, 16, 16)
    assert torch.allclose(a, b)


def test_steps_on_one_batch_lower_the_loss(scenes):
    state = State(0)
    data = Data.open(scenes, None)
    replicas = Replicas(state.model, 1)
    losses = []
    for _ in range(6):
        outcomes = replicas.gradient(small_crop_step(data), np.random.default_rng(2))
        training.update(state, 1e-3)
        losses.append(outcomes[0].loss.item())
    assert losses[-1] < losses[0]


def small_crop_step(data):
    def step(model, rng):
        model.freeze_batch_statistics()
        return training.crop_step(model, data, rng, batch=1, prompts=2)

    return step


def test_replicas_leave_the_mean_of_their_gradients(scenes):
    model, data = State(0).model, Data.open(scenes, None)
    step, (first, second) = small_crop_step(data), np.random.default_rng(4).integers(2**63, size=2)
    alone = []
    for seed in (first, second):
        model.zero_grad(set_to_none=True)
        step(model, np.random.default_rng(seed)).loss.backward()
        alone.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    replicas = Replicas(model, 2)
    with torch.no_grad():  # the copies must follow what the optimiser did to the first
        replicas.models[1].head.layers[0].weight.zero_()
    replicas.gradient(step, np.random.default_rng(4))
    for name, parameter in model.named_parameters():
        grads = [found[name] for found in alone if name in found]
        if grads:
            assert torch.allclose(parameter.grad, sum(grads) / 2, atol=1e-4), name
        else:
            assert parameter.grad is None, name


def test_half_precision_finds_nearly_the_same_gradient_in_each_copy_of_its_own(scenes):
    step = small_crop_step(Data.open(scenes, None))
    whole, half = State(0).model, State(0, half=True).model
    step(whole, np.random.default_rng(np.random.default_rng(4).integers(2**63))).loss.backward()
    replicas = Replicas(half, 2)
    replicas.gradient(step, np.random.default_rng(4))
    wide = [name for name, p in half.named_parameters() if p.shape[1:] == (1, 5, 5) and p.requires_grad]
    assert len(wide) > 5
    copied = dict(replicas.models[1].named_parameters())
    assert all(copied[name].grad is not None and copied[name].grad.any() for name in wide)

    half.zero_grad(set_to_none=True)
    step(half, np.random.default_rng(np.random.default_rng(4).integers(2**63))).loss.backward()
    pairs = [
        (p.grad.flatten(), q.grad.flatten())
        for p, q in zip(whole.parameters(), half.parameters(), strict=True)
        if p.grad is not None
    ]
    ours, theirs = (torch.cat(part) for part in zip(*pairs))
    assert ours.dtype == torch.float32
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.98


def test_a_resumed_training_goes_on_where_it_stopped(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "report", lambda model, held_out: "")
    monkeypatch.setattr(training, "validation_set", lambda scenes, real: None)
    # by steps alone: the rate must not follow the clock
    monkeypatch.setattr(training, "learning_rate", lambda base, step, share: 1e-3)
    few = ["--semantic-minutes", "10"]
    through = training.train(arguments(scenes, tmp_path / "through", "--steps", "3", *few))
    training.train(arguments(scenes, tmp_path / "twice", "--steps", "2", *few))
    resumed = training.train(arguments(scenes, tmp_path / "twice", "--steps", "3", *few))
    assert resumed.step == through.step == 3
    loaded = State.load(tmp_path / "twice" / "last.pt")
    for name, value in through.model.state_dict().items():
        assert torch.allclose(value.float(), loaded.model.state_dict()[name].float(), atol=1e-5), name


def test_an_exported_checkpoint_is_a_model_that_loads(tmp_path):
    from core.sam.segmenter import Segmenter
    from research.training.export import export

    State(1).save(tmp_path / "last.pt")
    size = export(tmp_path / "last.pt", tmp_path / "model.safetensors")
    assert size <= 12 * 2**20
    Segmenter.load("embedded", str(tmp_path / "model.safetensors"), "cpu")


def test_what_is_exported_is_the_average_of_the_heads_too(tmp_path):
    from research.training.export import export
    from research.training.quality import trainee_of

    state = State(1)
    for value in state.model.parameters():
        value.data.add_(1.0)  # what the average has not seen yet
    state.save(tmp_path / "last.pt")
    export(tmp_path / "last.pt", tmp_path / "model.safetensors")
    exported = trainee_of(tmp_path / "model.safetensors").state_dict()
    for name in ("head.layers.0.weight", "sam.mask_decoder.iou_token.weight"):
        assert torch.allclose(exported[name], state.ema[name], atol=2e-3), name


@pytest.mark.skipif(not MODEL_FILE.exists(), reason="no model has been exported yet")
def test_the_shipped_model_loads_and_is_small():
    from core.sam.segmenter import Segmenter

    assert MODEL_FILE.stat().st_size <= 12 * 2**20
    Segmenter.load("embedded", device="cpu")


def test_a_blend_is_the_mean_and_loads(tmp_path):
    from research.training.blend import blend
    from research.training.export import export
    from research.training.quality import trainee_of

    for seed in (1, 2):
        State(seed).save(tmp_path / f"{seed}.pt")
        export(tmp_path / f"{seed}.pt", tmp_path / f"{seed}.safetensors")
    blend([tmp_path / "1.safetensors", tmp_path / "2.safetensors"], tmp_path / "mean.safetensors")
    one, two, mean = (
        trainee_of(tmp_path / f"{name}.safetensors").state_dict() for name in ("1", "2", "mean")
    )
    for name, value in mean.items():
        if value.dtype.is_floating_point:
            expected = (one[name] + two[name]) / 2
            assert torch.allclose(value, expected, atol=1e-3 * (1 + expected.abs().max())), name
    blend([tmp_path / "1.safetensors"], tmp_path / "same.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    with pytest.raises(ValueError, match="different kinds"):
        blend([tmp_path / "1.safetensors", other], tmp_path / "none.safetensors")
    assert not (tmp_path / "none.safetensors").exists()
