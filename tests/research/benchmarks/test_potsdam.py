"""The reader of ISPRS Potsdam's layout, on a tiny folder that looks like the published one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine

from core.errors import InputError
from core.geo.raster import Raster
from research.benchmarks import potsdam

PIXEL = 0.05  # metres, as published
WHITE, BLUE, YELLOW, GREEN = (255, 255, 255), (0, 0, 255), (255, 255, 0), (0, 255, 0)
SIZE = 400


def write(path, image, **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=SIZE, height=SIZE, count=3, dtype="uint8", **profile
    ) as dataset:
        dataset.write(image)


def paint(image, colour, x0, y0, x1, y1):
    image[:, y0:y1, x0:x1] = np.reshape(colour, (3, 1, 1))


@pytest.fixture
def folder(tmp_path):
    """Two tiles: one georeferenced inside, one by a world file, as both are found in the wild."""
    rng = np.random.default_rng(0)
    root = tmp_path / "Potsdam"
    for name, left in (("2_10", 366_676.0), ("2_11", 366_976.0)):
        labels = np.empty((3, SIZE, SIZE), np.uint8)
        paint(labels, WHITE, 0, 0, SIZE, SIZE)
        paint(labels, GREEN, 0, 0, 50, SIZE)
        paint(labels, BLUE, 100, 100, 200, 160)
        paint(labels, BLUE, 250, 100, 350, 180)
        paint(labels, BLUE, 300, 300, 303, 303)  # a slip of the hand
        paint(labels, YELLOW, 120, 250, 160, 270)
        rgb = rng.integers(0, 80, (3, SIZE, SIZE), np.uint8) + (labels // 2)
        transform = Affine(PIXEL, 0, left, 0, -PIXEL, 5_808_000.0)
        image_path = root / "2_Ortho_RGB" / f"top_potsdam_{name}_RGB.tif"
        if name == "2_10":
            write(image_path, rgb, transform=transform, crs="EPSG:32633")
        else:
            write(image_path, rgb)
            centre = transform * (0.5, 0.5)
            lines = (PIXEL, 0, 0, -PIXEL, *centre)
            image_path.with_suffix(".tfw").write_text("\n".join(map(str, lines)))
        write(root / "5_Labels_all" / f"top_potsdam_{name}_label.tif", labels)
    write(root / "5_Labels_all_noBoundary" / "top_potsdam_2_10_label_noBoundary.tif", labels)
    write(root / "2_Ortho_RGB" / "top_potsdam_7_13_RGB.tif", rgb)  # no label image
    return root


def test_tiles_are_pairs_of_image_and_labels(folder):
    assert [tile.name for tile in potsdam.find_tiles(folder)] == ["2_10", "2_11"]
    assert [tile.name for tile in potsdam.find_tiles(folder, ["2_11"])] == ["2_11"]
    with pytest.raises(InputError, match="9_99"):
        potsdam.find_tiles(folder, ["9_99"])
    with pytest.raises(InputError, match="no pair"):
        potsdam.find_tiles(folder / "5_Labels_all")


@pytest.mark.parametrize("name", ["2_10", "2_11"])
def test_colours_become_polygons_in_place(folder, name):
    tile = potsdam.find_tiles(folder, [name])[0]

    buildings, vehicles = (potsdam.read_truth(tile, target) for target in ("building", "vehicle"))

    assert sorted(buildings.area) == pytest.approx([100 * 60 * PIXEL**2, 100 * 80 * PIXEL**2])
    left = {"2_10": 366_676.0, "2_11": 366_976.0}[name]
    expected = (left + 120 * PIXEL, 5_808_000 - 270 * PIXEL, left + 160 * PIXEL, 5_808_000 - 250 * PIXEL)
    assert vehicles.total_bounds == pytest.approx(expected)
    assert set(vehicles["target"]) == {"vehicle"}
    with Raster(tile.image) as raster:
        assert raster.metres_per_pixel == pytest.approx((PIXEL, PIXEL))
        assert buildings.crs == raster.crs


@pytest.mark.parametrize("set_up", [[], ["--as-lecture"]])
def test_one_command_gives_the_table(folder, embedded_checkpoint, capsys, set_up):
    asked = f"--folder {folder} --tiles 2_10 --checkpoint {embedded_checkpoint} --runs 2 --json"
    asked += " --strategies example-only random-point"

    assert potsdam.main([*asked.split(), *set_up]) == 0
    result = json.loads(capsys.readouterr().out)

    assert result["set_up"] == ("lecture" if set_up else "exemplar")
    assert result["lecture_iou"]["random-point"] == 0.693
    assert set(result["strategies"]) == {"example-only", "random-point"}
    assert result["coverage"] == pytest.approx((100 * 60 + 100 * 80) / SIZE**2)


def test_a_folder_without_the_data_set_is_one_sentence(tmp_path, capsys):
    assert potsdam.main(["--folder", str(tmp_path)]) == 2
    assert "published archives" in capsys.readouterr().err
