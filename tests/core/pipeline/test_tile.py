"""A new minimum score decodes nothing, a new strategy encodes nothing, and the answers are the same."""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import shapely

from core.errors import InputError
from core.geo.work_grid import WorkGrid
from core.pipeline.cache import Cache
from core.pipeline.detect import detect
from core.protocol import DetectRequest
from core.sam.segmenter import Segmenter


class Counting:
    """A network that counts what it is asked."""

    def __init__(self, segmenter):
        self._segmenter, self.encoded, self.decoded = segmenter, 0, 0

    def __getattr__(self, name):
        return getattr(self._segmenter, name)

    def encode(self, *given, **options):
        self.encoded += 1
        return self._segmenter.encode(*given, **options)

    def decode(self, *given, **options):
        self.decoded += 1
        return self._segmenter.decode(*given, **options)


@pytest.fixture(scope="module")
def loaded(embedded_checkpoint):
    return Segmenter.load("embedded", embedded_checkpoint, "cpu")


@pytest.fixture
def asked(loaded, noisy_raster, write_polygons, tmp_path):
    """Run a request on one cache; gives the numbers of encodings and decodings, and the candidates."""
    x, y = 500_000 + 20, 5_400_000 - 30
    example = write_polygons([shapely.box(x, y - 12, x + 12, y)])
    cache = Cache(tmp_path / "computed", limit=10**9)
    request = DetectRequest(
        raster=str(noisy_raster),
        example=str(example),
        runs=16,  # a quarter of them votes, each in another mirroring
        output=str(tmp_path / "found.gpkg"),
        candidates=str(tmp_path / "candidates.gpkg"),
    )

    def ask(cached=True, segmenter=loaded, **changes):
        network = Counting(segmenter)
        detect(dataclasses.replace(request, **changes), segmenter=network, cache=cache if cached else None)
        table = gpd.read_file(tmp_path / "candidates.gpkg").drop(columns="created")
        return network.encoded, network.decoded, table

    return ask


def test_drawing_only_what_counts_gives_the_same_vote(loaded, noisy_raster, write_polygons):
    """Masks that the filter would drop need not be drawn; the others come out as they would."""
    from core.canvas.example import cut_crops, read_example
    from core.canvas.prompts import strategy_named
    from core.canvas.stitch import stitch
    from core.geo.raster import Raster
    from core.voting.vote import combine, most_confident

    x, y = 500_000 + 20, 5_400_000 - 30
    with Raster(str(noisy_raster)) as raster:
        example = read_example(str(write_polygons([shapely.box(x, y - 12, x + 12, y)])), raster)
        crops = cut_crops(example, 0.1, raster.stretch)
        image, valid = WorkGrid(raster, 0.1).read(0, 0, 600, 700)
    canvas = stitch(crops, image, valid)
    prompts = strategy_named("random-point").place(canvas, 11, np.random.default_rng(0))
    embedding = loaded.encode(canvas.image)
    asked = (embedding, prompts.points_canvas, prompts.labels)
    whole = combine(loaded.decode(*asked), embedding, canvas)
    drawn = loaded.decode(*asked, keep=most_confident(canvas, 11))
    assert drawn.logits.shape[0] == 3
    some = combine(drawn, embedding, canvas)
    np.testing.assert_allclose(some.score, whole.score, atol=1e-5)
    assert some.iou_pred == pytest.approx(whole.iou_pred, abs=1e-6)
    assert some.on_example == pytest.approx(whole.on_example, abs=1e-6)


def test_a_new_least_score_neither_encodes_nor_decodes(asked):
    encoded, decoded, first = asked(min_score=0.9)
    assert encoded == 4 and decoded >= 4  # the four mirrorings
    encoded, decoded, again = asked(min_score=0.1)
    assert (encoded, decoded) == (0, 0)
    assert len(first) > 0
    assert again.equals(first)
    fresh = asked(min_score=0.1, cached=False)
    assert fresh[0] == 4 and fresh[2].equals(first)


@pytest.mark.parametrize("change", [{"strategy": "random-points"}, {"runs": 24}, {"seed": 3}])
def test_another_strategy_number_of_runs_or_seed_encodes_nothing(asked, change):
    asked()
    encoded, decoded, cached = asked(**change)
    assert encoded == 0 and decoded > 0
    assert cached.equals(asked(cached=False, **change)[2])


def test_other_pixels_another_example_or_other_weights_are_computed(
    asked, noisy_raster, write_polygons, embedded_checkpoint, tmp_path
):
    import rasterio

    assert asked()[0] == 4
    x, y = 500_000 + 20, 5_400_000 - 30
    assert asked(example=str(write_polygons([shapely.box(x, y - 11, x + 12, y)], "other.geojson")))[0] == 4
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(embedded_checkpoint.read_bytes())  # the same weights in another place
    assert asked(segmenter=Segmenter.load("embedded", copy, "cpu"))[0] == 0
    changed = bytearray(copy.read_bytes())
    changed[-4:] = bytes(4)
    copy.write_bytes(changed)  # other weights of the same length in the same place
    assert asked(segmenter=Segmenter.load("embedded", copy, "cpu"))[0] == 4
    assert asked()[0] == 0
    with rasterio.open(noisy_raster, "r+") as raster:
        raster.write(np.full((3, 1, 1), 255, np.uint8), window=((100, 101), (100, 101)))
    assert asked()[0] == 4


def test_a_network_that_came_from_no_file_is_not_remembered(asked, loaded):
    nameless = Segmenter(loaded.sam, "embedded", "cpu")
    assert nameless.identity is None
    assert asked(segmenter=nameless)[0] == asked(segmenter=nameless)[0] == 4


def test_what_comes_back_from_disk_is_the_same_to_the_bit(loaded, tmp_path):
    """Sums depend on the order in memory, which a file does not keep."""
    from core.canvas.stitch import Crop, stitch
    from core.voting.vote import _similarity

    rng = np.random.default_rng(3)
    mask = np.zeros((96, 96), bool)
    mask[30:60, 20:70] = True
    crop = Crop(rng.integers(0, 255, (96, 96, 3), np.uint8), mask, np.ones_like(mask))
    canvas = stitch([crop], rng.integers(0, 255, (512, 400, 3), np.uint8), np.ones((512, 400), bool))
    fresh = loaded.encode(canvas.image)
    Cache(tmp_path, 10**9).put("one", {"features": fresh.features.numpy()})
    stored = Cache(tmp_path, 10**9).get("one")["features"]
    again = loaded.embedding_of(stored, fresh.shape_canvas)
    np.testing.assert_array_equal(_similarity(again, canvas), _similarity(fresh, canvas))


def test_the_command_line_keeps_what_it_computed(
    noisy_raster, write_polygons, embedded_checkpoint, tmp_path, monkeypatch
):
    from core.service.commands import main

    monkeypatch.setenv("EXEMPLAR_CACHE_GB", "1")
    monkeypatch.setenv("EXEMPLAR_CACHE", str(tmp_path / "computed"))
    x, y = 500_000 + 20, 5_400_000 - 30
    example = write_polygons([shapely.box(x, y - 12, x + 12, y)])
    asked = f"detect --raster {noisy_raster} --example {example} --checkpoint {embedded_checkpoint} --runs 4"
    assert main([*asked.split(), "--output", str(tmp_path / "found.gpkg"), "--progress", "none"]) == 0
    kept = list((tmp_path / "computed").glob("*.npz"))
    assert len(kept) == 2  # one embedding, since one run votes; and the vote


def test_apart_another_example_finds_the_query_encoded(asked, write_polygons):
    """Only its own column is new; the answers are those that a run without a cache gives."""
    apart = {"encode": "apart", "resolution": 0.1, "strategy": "random-point"}
    first, *_ = asked(**apart)
    x, y = 500_000 + 50, 5_400_000 - 40
    other = str(write_polygons([shapely.box(x, y - 11, x + 10, y)], "other.geojson"))
    encoded, decoded, found = asked(**apart, example=other)
    assert encoded == 1 and decoded > 0
    again, _, computed = asked(**apart, example=other, cached=False)
    assert again == first > 1  # all tiles in all showings, and the column once
    assert found.equals(computed)
    together, *_ = asked(**apart | {"encode": "together"}, example=other)
    assert together == first - 1


def test_apart_and_together_are_not_mistaken_for_each_other(asked):
    asked(resolution=0.1)
    assert asked(resolution=0.1, encode="apart")[0] > 0


def test_there_is_no_third_way_to_encode(asked):
    with pytest.raises(InputError, match="Choose one of: together, apart"):
        asked(encode="separately")
