"""Half precision: where it is chosen, what it changes, and that nobody is handed the other one's results."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from shapely.geometry import box
from torch import nn

from core.errors import InputError
from core.sam import precision
from core.sam.fast import convolutions
from core.sam.fast.convolutions import convolve, in_one_pass
from core.sam.fast.speed_up import speed_up
from core.sam.networks.embedded import ConvEncoder, build_embedded
from core.sam.precision import half_of
from core.sam.segmenter import Segmenter

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
EMBEDDED, OTHER = ConvEncoder(), nn.Identity()
HALF, FLOAT = torch.bfloat16, torch.float16


@pytest.fixture(params=[True, False], ids=["units", "no units"])
def units(request, monkeypatch):
    monkeypatch.setattr(precision, "has_units", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("asked", "device", "encoder", "with_units", "without"),
    [
        ("auto", CPU, EMBEDDED, HALF, None),
        ("auto", CPU, OTHER, None, None),  # the published networks answer as published
        ("auto", CUDA, EMBEDDED, FLOAT, FLOAT),
        ("auto", CUDA, OTHER, FLOAT, FLOAT),
        ("auto", MPS, EMBEDDED, None, None),
        ("half", CPU, EMBEDDED, HALF, HALF),
        ("half", CPU, OTHER, HALF, HALF),
        ("half", CUDA, OTHER, FLOAT, FLOAT),
        ("single", CPU, EMBEDDED, None, None),
        ("single", CUDA, EMBEDDED, None, None),
        ("single", MPS, EMBEDDED, None, None),
    ],
)
def test_who_gets_it(units, asked, device, encoder, with_units, without):
    assert half_of(asked, device, encoder) == (with_units if units else without)


def test_what_is_not_there_is_told():
    with pytest.raises(InputError, match=r"no precision 'double'\. Choose one of: auto, single, half\."):
        half_of("double", CPU, EMBEDDED)
    with pytest.raises(InputError, match=r"never tried on mps\. Use --precision single"):
        half_of("half", MPS, EMBEDDED)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (12, 15, 3)).repeat(16, 0).repeat(16, 1)
    return (0.7 * coarse + 0.3 * rng.integers(0, 256, coarse.shape)).astype(np.uint8)


def test_the_embedding_is_close_and_its_stem_closer(embedded_checkpoint, image):
    single, half = (
        Segmenter.load("embedded", str(embedded_checkpoint), "cpu", asked) for asked in ("single", "half")
    )
    exact, close = (one.encode(image).features for one in (single, half))
    assert close.dtype == torch.float32
    assert 0 < (close - exact).norm() / exact.norm() < 0.02
    canvas = torch.randn(1, 3, 192, 240).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        maps = [one.sam.image_encoder._maps(canvas) for one in (single, half)]
    assert [one.dtype for one in maps[1]] == [torch.float32, *3 * [HALF]]  # the first bears no rounding
    assert 0 < (maps[0][0] - maps[1][0]).norm() / maps[0][0].norm() < 0.01
    assert {one.dtype for one in maps[0]} == {torch.float32}


def test_a_halved_encoder_needs_none_of_the_library(monkeypatch, image):
    torch.manual_seed(4)
    network = build_embedded()
    speed_up(network)
    network.image_encoder.halve()
    with_it = Segmenter(network, "embedded").encode(image).features
    monkeypatch.setattr(convolutions, "_PRECISIONS", ())
    without = Segmenter(network, "embedded").encode(image).features
    assert (with_it - without).norm() / without.norm() < 0.02


@pytest.mark.parametrize("added", [False, True])
def test_one_pass_in_half_precision(added):
    torch.manual_seed(5)
    convolution = nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    image, more = (torch.randn(1, 8, 20, 24).contiguous(memory_format=torch.channels_last) for _ in range(2))
    exact = convolve(image, convolution, added=more if added else None)
    with torch.inference_mode():
        half = convolve(image.to(HALF), convolution.to(HALF), added=more.to(HALF) if added else None)
        assert in_one_pass(image.to(HALF)) == (HALF in convolutions._PRECISIONS and convolutions._THERE)
    assert half.dtype == HALF
    torch.testing.assert_close(half.float(), exact, atol=0.05, rtol=0.02)


def test_one_precision_never_finds_what_the_other_kept(embedded_checkpoint):
    path = str(embedded_checkpoint)
    identities = {Segmenter.load("embedded", path, "cpu", asked).identity for asked in ("single", "half")}
    assert len(identities) == 2


def test_auto_is_one_of_the_two(units, embedded_checkpoint):
    auto, asked = (
        Segmenter.load("embedded", str(embedded_checkpoint), "cpu", precision)
        for precision in ("auto", "half" if units else "single")
    )
    assert auto.identity == asked.identity


def test_other_networks_multiply_as_they_are_asked_to(monkeypatch, image):
    class Watching(nn.Module):
        img_size = 1024

        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 128, 16, stride=16)

        def forward(self, x):
            self.seen = self.layer(x)
            return self.seen

    network = build_embedded()
    network.image_encoder = Watching()
    for half, dtype in ((None, torch.float32), (HALF, HALF)):
        assert Segmenter(network, "any", half=half).encode(image).features.dtype == torch.float32
        assert network.image_encoder.seen.dtype == dtype


@pytest.mark.parametrize("command", ["detect", "edges"])
def test_the_command_line_refuses_another_in_one_sentence(command, noisy_raster, tmp_path, capsys):
    from core.service.commands import main

    output = tmp_path / ("found.gpkg" if command == "detect" else "edges.tif")
    arguments = [command, "--raster", str(noisy_raster), "--output", str(output), "--precision", "double"]
    if command == "detect":
        arguments += ["--example", str(an_example(tmp_path, noisy_raster))]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "There is no precision 'double'. Choose one of: auto, single, half." in error
    assert "Traceback" not in error
    assert not output.exists()


def an_example(folder, raster):
    with rasterio.open(raster) as opened:
        corners = [opened.transform @ corner for corner in ((40, 60), (64, 84))]
        square = box(*np.ravel(corners).tolist())
        gpd.GeoDataFrame(geometry=[square], crs=opened.crs).to_file(folder / "example.gpkg")
    return folder / "example.gpkg"
