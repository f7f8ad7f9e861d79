"""Edges over a raster: in the right place whatever its axes, without seams, whole or not at all."""

from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from core.canvas.tiling import Tiling
from core.edges.blending import WorkWindow, _weight, tiles_under
from core.edges.strength import MARGIN
from core.edges.thinning import Crests
from core.errors import CancelledError, InputError
from core.pipeline.edges import NODATA, find_edges
from core.protocol import EdgesRequest
from core.sam.answers import Decoded, Embedding
from core.vectors.lines import COLUMNS, trace

NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
TURNED = Affine.translation(500_000, 5_400_000) @ Affine.rotation(25) @ Affine.scale(0.5, -0.5)
SOUTH_UP = Affine(0.5, 0, 500_000, 0, 0.5, 5_400_000)


class BrightThings:
    """Stands in for the network: what is brighter than the middle of its canvas's range is one mask."""

    name = "bright"

    def encode(self, image):
        light = np.zeros((1024, 1024), np.float32)
        light[: image.shape[0], : image.shape[1]] = image.mean(-1)
        # The range is the tile's own, so that tiles disagree where they overlap, as a network's do.
        middle = (float(image.min()) + float(image.max())) / 2
        return Embedding(torch.as_tensor(light - middle), image.shape[:2])

    def decode(self, embedding, points, labels, *, multimask, cancelled):
        if cancelled():
            raise CancelledError
        logits = embedding.features.numpy().reshape(256, 4, 256, 4).mean((1, 3)) / 8
        shape = (len(points), 3, 256, 256)
        return Decoded(np.broadcast_to(logits, shape), np.full(shape[:2], 0.5, np.float32))


@pytest.fixture
def find(tmp_path):
    """Run on a raster; gives the summary, the strengths, their file's profile, and the lines."""

    def run(raster, **more):
        output, lines = tmp_path / "edges.tif", tmp_path / "lines.gpkg"
        hooks = {name: more.pop(name) for name in ("progress", "cancelled") if name in more}
        request = EdgesRequest(str(raster), str(output), str(lines), **more)
        summary = find_edges(request, segmenter=BrightThings(), **hooks)
        with rasterio.open(output) as dataset:
            return summary, dataset.read(1), SimpleNamespace(**dataset.profile), gpd.read_file(lines)

    return run


def bright_box(height=160, width=200, box=np.s_[40:96, 64:136]):
    image = np.full((3, height, width), 30, np.uint8)
    image[:, box[0], box[1]] = 220
    return image


def from_box(x, y):
    """Distance of points to the outline of the box, in the raster's pixels."""
    dx, dy = np.maximum(64 - x, x - 136), np.maximum(40 - y, y - 96)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return np.where((dx < 0) & (dy < 0), -np.maximum(dx, dy), outside)


def at_corner(x, y, reach):
    """SAM's masks are four pixels fine, so their corners are cut a little."""
    return (np.minimum(abs(x - 64), abs(x - 136)) < reach) & (np.minimum(abs(y - 40), abs(y - 96)) < reach)


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED, SOUTH_UP], ids=["north up", "turned", "south up"])
@pytest.mark.parametrize("resolution", [0.5, 0.25, 0.125, 1.0])
def test_edges_lie_on_the_outline_whatever_the_axes(find, make_raster, transform, resolution):
    path = make_raster(bright_box(), transform=transform)
    summary, strength, dataset, lines = find(path, resolution=resolution, min_strength=0.1)
    assert summary.resolution == resolution and summary.tiles >= 1
    assert dataset.crs.to_epsg() == 25832
    assert strength.shape == (80 / resolution, 100 / resolution)
    rows, columns = np.nonzero(strength > 0.1)
    x, y = ~transform @ dataset.transform @ (columns + 0.5, rows + 0.5)
    pixel = resolution / 0.5
    assert np.abs(from_box(x, y))[~at_corner(x, y, 8 * pixel)].max() < 0.51 * pixel  # the pixel beside it
    x, y = ~transform @ tuple(np.concatenate([line.coords for line in lines.geometry]).T)
    assert from_box(x, y)[~at_corner(x, y, 8 * pixel)].max() < 0.1 * pixel
    length_m = 2 * (56 + 72) * 0.5
    assert length_m - 14 * resolution < lines["length_m"].sum() < length_m + resolution
    assert len(lines) <= 4
    assert lines.length.sum() / 0.9996 == pytest.approx(lines["length_m"].sum())  # the meridian's scale


def test_the_file_is_a_compressed_tiled_raster_with_nodata(find, make_raster):
    _, strength, dataset, lines = find(make_raster(bright_box()))
    assert (dataset.dtype, dataset.count, dataset.nodata) == ("float32", 1, NODATA)
    assert dataset.tiled and dataset.compress == "deflate"
    assert dataset.transform == NORTH_UP  # its own pixels by default
    assert strength.min() == 0 and 0.1 < strength.max() <= 1
    assert list(lines.columns) == [*COLUMNS, "geometry"]
    assert set(lines.geom_type) == {"LineString"} and set(lines["model"]) == {"bright"}
    assert lines["strength"].is_monotonic_decreasing and lines["strength"].between(0.3, 1).all()


# Tiles


@pytest.fixture
def wide_raster(make_raster):
    """Of six tiles, with things on all seams."""
    rng = np.random.default_rng(2)
    image = np.full((3, 1500, 2100), 40, np.uint8)
    for x, y, side in zip(
        rng.integers(0, 2000, 60), rng.integers(0, 1400, 60), rng.integers(20, 90, 60), strict=True
    ):
        if not 490 < y < 660:  # off the bar
            image[:, y : y + side, x : x + side] = rng.integers(50, 250)
    image[:, 600:640, 100:2000] = 230  # one long bar across
    return make_raster(image, "wide.tif")


def test_overlapping_extents_agree_pixel_by_pixel(find, wide_raster):
    summary, whole, dataset, _ = find(wide_raster)
    assert summary.tiles == 6
    for x0, y0, x1, y1 in (
        (880, 850, 1100, 1000),
        (0, 0, 300, 200),
        (1013, 640, 1900, 1500),
        (899, 899, 901, 900),
    ):
        (xmin, ymax), (xmax, ymin) = dataset.transform @ (x0, y0), dataset.transform @ (x1, y1)
        part_summary, part, part_dataset, _ = find(wide_raster, extent=[xmin, ymin, xmax, ymax])
        assert part_summary.tiles <= 6
        assert part_dataset.transform == dataset.transform @ Affine.translation(x0, y0)
        np.testing.assert_array_equal(part, whole[y0:y1, x0:x1])


def test_a_long_edge_goes_on_across_seams(find, wide_raster):
    _, strength, _, lines = find(wide_raster, min_strength=0.05)
    for side in (600, 640):
        near = strength[side - 2 : side + 2, 110:1990].max(0)
        assert (near > 0).mean() > 0.98
    assert lines.length.max() > 0.5 * 400  # metres


def test_tiles_fade_into_each_other():
    grid = Tiling(2100, 1500, column=0, object_length=128, evenly=False)
    total = np.zeros((2200, 3000))
    for tile in grid.tiles():
        total[tile.y_work :, tile.x_work :][: grid.tile_height, : grid.tile_width] += _weight(grid, tile)
    np.testing.assert_allclose(total[:1500, :2100], 1, atol=1e-6)
    assert len(tiles_under(grid, WorkWindow(0, 0, 10, 10))) == 1
    assert len(tiles_under(grid, WorkWindow(890, 0, 891, 1))) == 2  # the next begins at 896


def test_progress_is_told_for_each_tile(find, wide_raster):
    told = []
    find(wide_raster, progress=lambda fraction, message: told.append((fraction, message)))
    assert [message for _, message in told] == [*(f"tile {n} of 6" for n in range(1, 7)), "writing"]
    assert [fraction for fraction, _ in told] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


@pytest.mark.parametrize("after", [0, 3, 11])
def test_a_cancelled_run_writes_nothing(wide_raster, tmp_path, after):
    asked = []
    output = tmp_path / "out" / "edges.tif"
    output.parent.mkdir()
    with pytest.raises(CancelledError):
        find_edges(
            EdgesRequest(str(wide_raster), str(output), str(output.with_suffix(".gpkg"))),
            segmenter=BrightThings(),
            cancelled=lambda: len(asked) >= after or asked.append(1),
        )
    assert list(output.parent.iterdir()) == []


# Where there is nothing


def test_no_data_no_edges(find, make_raster):
    image = bright_box()
    image[:, :, 110:] = 0  # through the box
    _, strength, _, lines = find(make_raster(image, nodata=0))
    assert (strength[:, 110:] == NODATA).all() and (strength[:, :110] != NODATA).all()
    assert not strength[:, 110 - MARGIN : 110].any()
    assert (strength[:, :100] > 0).any() and len(lines)


@pytest.mark.parametrize("value", [0, 90], ids=["no data at all", "one colour"])
def test_a_raster_with_nothing_on_it(find, make_raster, value):
    summary, strength, _, lines = find(make_raster(np.full((3, 50, 70), value, np.uint8), nodata=0))
    assert strength.shape == (50, 70) and (strength == (0 if value else NODATA)).all()
    assert summary.count == len(lines) == 0
    assert list(lines.columns) == [*COLUMNS, "geometry"]


def test_a_raster_smaller_than_a_cell(find, make_raster):
    _, strength, _, _ = find(make_raster(np.full((3, 3, 5), 90, np.uint8)))
    assert strength.shape == (3, 5) and not strength.any()


# Bad input


def test_what_can_not_be_used_is_said(make_raster, tmp_path):
    raster = make_raster(bright_box())

    def refused(says, **changes):
        fields = {"raster": str(raster), "output": str(tmp_path / "edges.tif")} | changes
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(InputError, match=says):
            find_edges(EdgesRequest(**fields), segmenter=BrightThings())
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    refused("no known format", output=str(tmp_path / "edges.gpkg"))
    refused("no known format", lines=str(tmp_path / "edges.tif"))
    refused("no folder", output=str(tmp_path / "absent" / "edges.tif"))
    refused("would be overwritten", output=str(raster))
    refused("from 0 to 1", min_strength=1.5)
    refused("from 0 to 1", min_strength=float("nan"))
    refused("from 0.001 to 100000", resolution=-1.0)
    refused("far finer", resolution=0.1)
    refused("less than a pixel", resolution=90.0)
    refused("outside the raster", extent=[0.0, 0.0, 1.0, 1.0])
    refused("There is no file", raster=str(tmp_path / "absent.tif"))
    refused("bands", bands=[9])


# Lines


def pixels(*places):
    rows, columns = np.array(places).T
    strength = np.linspace(0.2, 0.4, len(rows)).astype(np.float32)
    return Crests(rows, columns, strength, columns + 0.5, rows + 0.5)


def test_a_chain_of_pixels_becomes_one_line():
    lines, strength = trace(pixels(*((5, 3 + i) for i in range(20))))
    assert [list(line.coords) for line in lines] in ([[(3.5, 5.5), (22.5, 5.5)]], [[(22.5, 5.5), (3.5, 5.5)]])
    assert strength == pytest.approx([0.3])


def test_steps_are_no_branches():
    """A corner is passed by its edge, not by both its edge and its diagonal."""
    stairs = [(i // 2, (i + 1) // 2) for i in range(40)]
    lines, _ = trace(pixels(*stairs))
    assert len(lines) == 1
    diagonal, _ = trace(pixels(*((i, 40 - i) for i in range(30))))
    assert len(diagonal) == 1 and diagonal[0].length == pytest.approx(29 * 2**0.5)


def test_lines_part_where_three_meet_and_specks_are_left_out():
    cross = [(10, i) for i in range(21)] + [(i, 10) for i in range(21) if i != 10]
    lines, _ = trace(pixels(*cross))
    assert len(lines) == 4 and all(line.length == pytest.approx(9, abs=1.1) for line in lines)
    assert trace(pixels(*((50, i) for i in range(4)))) == ([], [])
    assert trace(Crests.joined([])) == ([], [])


def test_a_ring_is_closed():
    ring = [(0, i) for i in range(10)] + [(9, i) for i in range(10)]
    ring += [(i, 0) for i in range(1, 9)] + [(i, 9) for i in range(1, 9)]
    lines, _ = trace(pixels(*ring))
    assert len(lines) == 1 and lines[0].is_ring and lines[0].length == pytest.approx(36)


def test_lengths_are_true_metres(find, make_raster):
    at_60_north = Affine(0.5, 0, 1_000_000, 0, -0.5, 8_399_738)  # web Mercator doubles lengths there
    *_, lines = find(make_raster(bright_box(), transform=at_60_north, crs="EPSG:3857"), min_strength=0.1)
    assert (lines["length_m"] / lines.length).to_numpy() == pytest.approx(0.5, abs=0.01)
