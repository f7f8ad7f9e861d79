"""What a network's own heads answer goes through the cache too: classes, borders, how far objects reach."""

import dataclasses

import numpy as np
import pytest
import torch

from core.canvas.prompts import strategy_named
from core.canvas.stitch import Crop
from core.canvas.tiling import Tiling
from core.pipeline.cache import Cache
from core.pipeline.tile import TileSegmenter
from core.sam.networks.embedded import BoxHead, SemanticHead
from core.sam.segmenter import Segmenter
from core.targets import target_named

BUILDING_AREA, NARROW_AREA = (
    4900.0,
    400.0,
)  # of a building, in canvas pixels: boundaries part the former, clicks the latter
CHANGES = (
    {"strategy": strategy_named("random-point")},
    {"runs": 24, "example_areas": (NARROW_AREA,)},
    {"seed": 3},
)


class Counting:
    """A network that counts what it is asked, and keeps the embeddings that it works with."""

    def __init__(self, segmenter):
        self._segmenter, self.clicked = segmenter, 0
        self.encoded, self.from_cache = [], []

    def __getattr__(self, name):
        return getattr(self._segmenter, name)

    def encode(self, *given, **options):
        self.encoded.append(self._segmenter.encode(*given, **options))
        return self.encoded[-1]

    def embedding_of(self, *given, **options):
        self.from_cache.append(self._segmenter.embedding_of(*given, **options))
        return self.from_cache[-1]

    def decode(self, *given, multimask=False, **options):
        self.clicked += multimask  # only clicks ask for three masks
        return self._segmenter.decode(*given, multimask=multimask, **options)


@pytest.fixture(scope="module")
def network(embedded_sam):
    """The embedded architecture with both heads, as the shipped model has them."""
    torch.manual_seed(1)
    semantic_head, box_head = SemanticHead(), BoxHead()
    with torch.no_grad():  # answers that differ from place to place, and are even enough for objects
        for layer in semantic_head.layers[::2]:
            layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True).expand_as(layer.weight))
        semantic_head.layers[-1].weight.mul_(100)
        box_head.layers[-1].weight.mul_(5)
    return Segmenter(
        embedded_sam, "embedded", semantic_head=semantic_head, box_head=box_head, identity="random"
    )


@pytest.fixture(scope="module")
def tile():
    """A tile's pixels, and those of an example."""
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(64, 0).repeat(64, 1)
    mask = np.zeros((96, 96), bool)
    mask[13:83, 13:83] = True
    crop = Crop(np.where(mask[..., None], np.uint8(220), np.uint8(60)).repeat(3, 2), mask, np.ones_like(mask))
    return image, crop


@pytest.fixture
def vote(network, tile, tmp_path):
    """Vote on the tile, from a new process's cache if from any; gives the vote and the network's counts."""
    image, crop = tile

    def on(cached=True, **changes):
        counting = Counting(network)
        asked = {
            "example_areas": (BUILDING_AREA,),
            "strategy": strategy_named("guided"),
            "target": "building",
            "runs": 16,
            "seed": 0,
        } | changes
        asked["target"] = dataclasses.replace(target_named(asked["target"]), smooth_radius=1)
        cache = Cache(tmp_path / "computed", 10**9, in_memory=0) if cached else None
        tiles = TileSegmenter(counting, [crop], views=2, cache=cache, **asked)
        height, width = image.shape[:2]
        (own,) = Tiling(width, height, 96, 70).tiles()
        return tiles.segment(image, np.ones((height, width), bool), own).segmentation, counting

    return on


def assert_same(one, other):
    for field in dataclasses.fields(one):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        assert (ours is None) == (theirs is None), field.name
        if ours is not None:
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
            assert np.asarray(ours).dtype == np.asarray(theirs).dtype


@pytest.mark.parametrize("example_area", [BUILDING_AREA, NARROW_AREA], ids=["by borders", "by clicks"])
def test_the_vote_from_the_cache_is_the_computed_one(vote, example_area):
    computed, _ = vote(cached=False, example_areas=(example_area,))
    assert computed.score.std() > 0.01  # there is something to be equal
    assert computed.objects.max() > 1 or example_area == NARROW_AREA
    first, asked = vote(example_areas=(example_area,))
    assert len(asked.encoded) == 2 and (asked.clicked > 0) == (example_area == NARROW_AREA)
    again, asked = vote(example_areas=(example_area,))
    assert not (asked.encoded or asked.clicked or asked.from_cache)
    for other in (first, again):
        assert_same(computed, other)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "+".join(change))
def test_a_new_strategy_encodes_nothing_and_votes_the_same(vote, change):
    vote()
    cached, asked = vote(**change)
    assert not asked.encoded and len(asked.from_cache) == 2
    assert_same(cached, vote(cached=False, **change)[0])


def test_an_embedding_comes_back_with_all_answers(vote):
    _, before = vote()
    _, after = vote(runs=24)
    for fresh, stored in zip(before.encoded, after.from_cache, strict=True):
        torch.testing.assert_close(stored.features, fresh.features, rtol=0, atol=0)
        assert stored.shape_canvas == fresh.shape_canvas
        for name in ("classes", "borders", "reach"):
            assert getattr(fresh, name).std() > 1e-3, name
            np.testing.assert_array_equal(getattr(stored, name), getattr(fresh, name), err_msg=name)


@pytest.mark.parametrize(
    ("target", "example_areas", "by_clicks"),
    [
        ("building", (30.0**2,), False),
        ("building", (20.0**2,), True),
        ("building", (20.0**2, 70.0**2, 20.0**2), False),  # the largest one tells
        ("vehicle", (20.0**2,), True),
        ("vehicle", (30.0**2,), False),
        ("other", (30.0**2,), True),
    ],
)
def test_objects_too_narrow_for_borders_are_parted_by_clicks(vote, target, example_areas, by_clicks):
    _, asked = vote(cached=False, target=target, example_areas=example_areas)
    assert (asked.clicked > 0) == by_clicks
