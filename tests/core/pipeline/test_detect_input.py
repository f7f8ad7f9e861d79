"""What the user gets wrong is said before any work is done, and leaves nothing behind."""

import pytest
import shapely

from core.errors import InputError
from core.pipeline.detect import detect
from core.protocol import DetectRequest


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"target": "spaceship"}, "no target"),
        ({"strategy": "telepathy"}, "no strategy"),
        ({"runs": 0}, "runs"),
        ({"seed": -1}, "seed"),
        ({"min_score": 1.5}, "from 0 to 1"),
        ({"extent": [1, 2, 3]}, "four numbers"),
        ({"extent": [0, 0, float("nan"), 1]}, "four numbers"),
        ({"extent": [10, 10, 5, 20]}, "empty"),
        ({"extent": [0, 0, 10, 10]}, "outside the raster"),
        ({"resolution": -2}, "from 0.001 to 100000"),
        ({"bands": [7]}, "bands"),
        ({"mask": "absent/mask.tif"}, "no folder"),
        ({"candidates": "all.xyz"}, "no known format"),
    ],
)
def test_wrong_input_is_refused_before_the_network_is_asked(
    noisy_raster, write_polygons, tmp_path, fields, says
):
    example = write_polygons([shapely.box(500_020, 5_399_958, 500_032, 5_399_970)])
    there = sorted(tmp_path.iterdir())
    request = {"raster": str(noisy_raster), "example": str(example), "output": str(tmp_path / "found.gpkg")}
    with pytest.raises(InputError, match=says) as caught:
        detect(DetectRequest(**request | fields), segmenter=object())  # which can do nothing
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == there
