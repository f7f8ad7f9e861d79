# ruff: noqa: E402 (OpenCV is not part of the plugin: without it these tests are skipped)
"""What a training begins with: general weights, an earlier model, and colours of other places."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

pytest.importorskip("cv2")
torch = pytest.importorskip("torch")
import timm

from research.training.backbone import NAME, PREFIX, backbone_weights
from research.training.export import export
from research.training.network import Trainee
from research.training.plates import Plate
from research.training.repaint import FEATHER_PX, repaint
from research.training.state import State, of_sam
from research.training.steps import NAMES, Data
from research.training.styles import restyle, style_of, styles_of
from research.training.train import begin, parser
from research.training.views import turned_hues


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as the backbone is published: the same tensors in the same order, under other names."""
    torch.manual_seed(3)
    state = timm.create_model(NAME, pretrained=False).state_dict()
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(
        {f"_{number}_{name.split('.')[-1]}": value for number, (name, value) in enumerate(state.items())},
        path,
    )
    return path


def test_the_backbone_begins_with_the_published_weights(published):
    weights = backbone_weights(published)
    state = State(0, [of_sam(weights)])
    own = state.model.sam.state_dict()
    taken = [name for name in weights if name in own]
    assert len(taken) > 200 and all(torch.equal(own[name], weights[name]) for name in taken)
    learned = [name for name in own if name.startswith(PREFIX) and not name.endswith("num_batches_tracked")]
    assert set(learned) <= set(taken)
    assert all(
        torch.equal(state.ema[f"sam.{name}"], own[name]) for name in own
    )  # the average begins there too


def test_another_network_is_no_backbone(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), path)
    with pytest.raises(ValueError, match="does not hold EfficientNet-Lite0"):
        backbone_weights(path)


def test_an_earlier_model_is_taken_where_it_fits():
    earlier = State(1).model.sam.state_dict()
    torn = {name: value for name, value in earlier.items() if "mask_decoder" in name}
    torn["image_encoder.neck.0.weight"] = torch.zeros(3, 3)  # of another shape
    own = State(2, [of_sam(torn)]).model.sam.state_dict()
    plain = State(2).model.sam.state_dict()
    assert all(torch.equal(own[name], earlier[name]) for name in torn if "mask_decoder" in name)
    assert torch.equal(own["image_encoder.neck.0.weight"], plain["image_encoder.neck.0.weight"])


def test_a_checkpoint_begins_with_its_average(tmp_path):
    earlier = State(1)
    for value in earlier.ema.values():
        if value.dtype.is_floating_point:
            value.mul_(0.5)
    earlier.save(tmp_path / "last.pt")
    state = begin(parser().parse_args(["--start", str(tmp_path / "last.pt")]))
    own = state.model.state_dict()
    assert all(torch.equal(own[name], earlier.ema[name]) for name in own)  # the heads as well
    assert state.step == 0 and state.elapsed_s == 0


def test_the_stem_stays_as_it_came():
    model = Trainee().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features = model.encode([np.full((64, 64, 3), 90, np.uint8)] * 2)
    features.square().mean().backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], 0.1).step()
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    stem = tuple("sam." + PREFIX + part for part in ("conv_stem.", "bn1.", "blocks.0.", "blocks.1."))
    assert changed and not [name for name in changed if name.startswith(stem)]
    assert any(name.startswith(f"sam.{PREFIX}blocks.3.") and "running_mean" in name for name in changed)


def plate_of(mean, spread, seed):
    noise = np.random.default_rng(seed).normal(mean, spread, (600, 600, 3))
    instances = np.zeros((600, 600), np.int32)
    image = np.clip(noise, 0, 255).astype(np.uint8)
    return Plate(image, instances, np.zeros(1, np.uint8), tuple(NAMES))


def test_a_picture_takes_on_another_places_colours():
    plate, place = plate_of((90, 110, 100), 25, 0), plate_of((140, 120, 95), 32, 1)
    style = styles_of([place])[0]
    there = style_of(restyle(plate, style, 1.0).image)
    np.testing.assert_allclose(there.mean, style.mean, atol=1.5)
    np.testing.assert_allclose(there.spread, style.spread, atol=1.5)
    assert np.array_equal(restyle(plate, style, 0.0).image, plate.image)
    halfway = style_of(restyle(plate, style, 0.5).image).mean
    np.testing.assert_allclose(halfway, (style_of(plate.image).mean + style.mean) / 2, atol=1.5)


def with_objects(plate):
    """Two objects of 80 x 60 pixels, and one of a single pixel at the edge."""
    instances = plate.instances.copy()
    instances[50:130, 40:100], instances[300:380, 400:460], instances[0, 599] = 1, 2, 3
    return Plate(plate.image, instances, np.array([0, 1, 1, 2], np.uint8), tuple(NAMES))


def test_repainted_objects_have_other_colours_and_the_same_texture():
    plate = with_objects(plate_of((90, 110, 100), 12, 0))
    before = plate.image.copy()
    painted = [repaint(np.random.default_rng(seed), plate) for seed in range(20)]
    assert np.array_equal(plate.image, before)  # the cached plate stays
    core = np.s_[50 + FEATHER_PX : 130 - FEATHER_PX, 40 + FEATHER_PX : 100 - FEATHER_PX]
    shifts = np.array([one.image[core].mean(axis=(0, 1)) - before[core].mean(axis=(0, 1)) for one in painted])
    assert np.abs(shifts).max(axis=1).min() == 0  # now and then it is left out
    assert np.percentile(np.abs(shifts).max(axis=1), 75) > 25 and (np.ptp(shifts, axis=0) > 60).all()
    gentle = next(one for one, shift in zip(painted, shifts) if 5 < np.abs(shift).max() < 60)
    texture = (
        part - part.mean() for part in (before[core][..., 1], gentle.image[core][..., 1].astype(float))
    )
    assert np.corrcoef(*(part.ravel() for part in texture))[0, 1] > 0.95


def test_some_objects_take_on_the_colour_of_the_ground_around():
    plate = with_objects(plate_of((90, 110, 100), 12, 0))
    plate.image[plate.instances == 1] += 90
    painted = np.array([
        repaint(np.random.default_rng(seed), plate).image[60:120, 50:90].mean(axis=(0, 1))
        for seed in range(60)
    ])  # fmt: skip
    like_ground = np.abs(painted - (90, 110, 100)).max(axis=1) < 45  # some of the old colour stays
    assert 3 <= like_ground.sum() <= 30


def test_ground_is_repainted_too_and_objects_only_as_wholes():
    plate = with_objects(plate_of((90, 110, 100), 12, 0))
    ground_changed = False
    for seed in range(20):
        changed = (repaint(np.random.default_rng(seed), plate).image != plate.image).any(axis=2)
        near = np.zeros_like(changed)
        near[50 - FEATHER_PX : 130 + FEATHER_PX, 40 - FEATHER_PX : 100 + FEATHER_PX] = True
        near[300 - FEATHER_PX : 380 + FEATHER_PX, 400 - FEATHER_PX : 460 + FEATHER_PX] = True
        ground_changed |= bool((changed & ~near).sum() > 100)
        share = changed[52:128, 42:98].mean()
        assert share < 0.05 or share > 0.8
    assert ground_changed


def test_turned_hues_leave_greys_and_brightness_as_they_are():
    matrices = [turned_hues(np.random.default_rng(seed), 1.0) for seed in range(30)]
    for matrix in matrices:
        np.testing.assert_allclose(matrix @ np.ones(3), 1, atol=1e-9)
        np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=1e-9)
    reds = np.array([matrix @ (180, 90, 60) for matrix in matrices])
    assert {0, 1} <= set(reds.argmax(axis=1))  # some so far that red becomes green
    assert np.ptp(reds, axis=1).min() < 60 < 150 < np.ptp(reds, axis=1).max()  # paler and stronger


def test_a_model_file_begins_with_its_heads(tmp_path):
    earlier = State(1)
    earlier.save(tmp_path / "last.pt")
    export(tmp_path / "last.pt", tmp_path / "model.safetensors")
    state = begin(parser().parse_args(["--start", str(tmp_path / "model.safetensors")]))
    own, other = state.model.state_dict(), State(0).model.state_dict()
    for name in ("head.layers.0.weight", "box_head.layers.0.depthwise.weight"):
        assert torch.equal(own[name], earlier.ema[name].half().float())  # as the file has them
        assert not torch.equal(own[name], other[name])


def test_a_fifth_of_real_pictures_is_held_out_unless_all_is_asked_for(tmp_path):
    (tmp_path / "estonia").mkdir()
    profile = {
        "driver": "GTiff",
        "width": 100,
        "height": 40,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32636",
    }
    transform = rasterio.transform.from_origin(500000, 100000, 0.1, 0.1)
    with rasterio.open(tmp_path / "place.tif", "w", transform=transform, **profile) as raster:
        raster.write(np.full((3, 40, 100), 90, np.uint8))
    roof = gpd.GeoDataFrame(geometry=[shapely.box(500001, 99997, 500003, 99999)], crs="EPSG:32636")
    roof.to_file(tmp_path / "place_truth.gpkg")
    widths = [
        Data.open(tmp_path, tmp_path, whole=whole).footprints[0].image.shape[1] for whole in (False, True)
    ]
    assert widths == [80, 100]
