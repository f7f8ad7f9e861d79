"""Crowns over roofs: what they hide, what they leave."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.overgrow import MOST_HIDDEN, overgrow, places_of_plants
from training.plates import Plate
from training.scenes import BUILDING
from training.steps import Data

GROUND, ROOF, LEAVES = (150, 120, 95), (200, 60, 50), (50, 110, 40)


@pytest.fixture
def plate():
    """Two roofs on bare soil, a thicket in one corner."""
    image = np.empty((320, 400, 3), np.uint8)
    image[:] = GROUND
    instances = np.zeros(image.shape[:2], np.int32)
    for number, window in ((1, np.s_[40:120, 60:160]), (2, np.s_[180:260, 200:330])):
        image[window], instances[window] = ROOF, number
    image[270:, :90] = LEAVES
    return Plate(image, instances, np.array([0, BUILDING, BUILDING], np.uint8), (BUILDING,), synthetic=False)


def leafy(image):
    return (np.abs(image.astype(int) - LEAVES) < 12).all(axis=-1)


def test_plants_are_found_by_their_colour_off_the_roofs(plate):
    places = places_of_plants(plate)
    assert len(places) > 20
    assert (places[:, 0] > 265).all() and (places[:, 1] < 95).all()
    plate.image[plate.instances == 1] = LEAVES  # a green roof is no plant
    assert (places_of_plants(plate)[:, 0] > 265).all()


def test_crowns_lie_over_roofs_and_ground_and_hide_no_roof_wholly(plate):
    before = plate.image.copy()
    grown = [overgrow(np.random.default_rng(seed), plate) for seed in range(30)]
    assert np.array_equal(plate.image, before)  # the plate itself stays
    assert all(np.array_equal(one.instances, plate.instances) for one in grown)
    new = [leafy(one.image) & ~leafy(before) for one in grown]
    hidden = np.array([[over[plate.instances == number].mean() for number in (1, 2)] for over in new])
    assert 0.05 < (hidden > 0.02).mean() < 0.6  # some of the roofs, by a part that is seen
    assert hidden.max() < MOST_HIDDEN + 0.1
    ground = np.array([over[plate.instances == 0].sum() for over in new])
    assert (ground[hidden.max(axis=1) > 0.02] > 50).all()  # a crown gives no roof away
    bare = np.array([np.array_equal(one.image, before) for one in grown])
    assert bare.any() and not bare.all()


def test_without_plants_nothing_grows(plate):
    plate.image[270:, :90] = GROUND
    assert overgrow(np.random.default_rng(0), plate) is plate
    assert (
        overgrow(np.random.default_rng(0), replace(plate, instances=plate.instances * 0, boxes={}))
        is not None
    )
    small = Plate(plate.image[:5, :5], plate.instances[:5, :5], plate.kinds, (BUILDING,), synthetic=False)
    assert overgrow(np.random.default_rng(0), small) is small


@pytest.mark.parametrize(("synthetic", "labelled"), [(True, (BUILDING,)), (False, ())])
def test_only_real_footprints_are_overgrown(monkeypatch, plate, synthetic, labelled):
    asked = []
    monkeypatch.setattr("training.steps.overgrow", lambda rng, plate: asked.append(plate) or plate)
    monkeypatch.setattr("training.steps.repaint", lambda rng, plate: plate)
    data = Data(None, [replace(plate, synthetic=synthetic, labelled=labelled)], [], [], [])
    for seed in range(20):
        data.draw(np.random.default_rng(seed), 1.0)
    assert not asked
    data = Data(None, [plate], [], [], [])
    for seed in range(20):
        data.draw(np.random.default_rng(seed), 1.0)
    assert 3 < len(asked) < 18
