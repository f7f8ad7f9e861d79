"""The measurement of speed: its arithmetic, its sides, and the raster that it makes."""

import json
import sys

import numpy as np
import pytest

from core.canvas.example import read_example
from core.canvas.stitch import crop_side
from core.canvas.tiling import Tiling
from core.geo.raster import Raster
from core.geo.work_grid import WorkGrid
from research.benchmarks import speed, speed_sides
from research.benchmarks.speed_page import BEGIN, END, write_page
from research.benchmarks.synthetic import RESOLUTION, write_raster


def on_both_clocks(seconds):
    """The wall's take twice as long for what we do ourselves, so that the two can't be mistaken."""
    return seconds | {f"{name}_wall": 2 * value for name, value in seconds.items()}


class Told:
    """Stands for the sides' processes: fixed seconds and memory, logits that differ by a known amount."""

    seconds_and_peak = {  # noqa: RUF012  never changed
        ("published", "column"): (30.0, 20.0, 4e9),
        ("published", "halves"): (30.0, 10.0, 4e9),
        ("ours", "vit_b"): (15.0, 5.0, 1e9),
        ("ours", "mobile_sam"): (1.0, 4.0, 1e9),
        ("ours", "embedded"): (0.5, 2.0, 8e8),
        ("arithmetic", "column"): (12.0, 3.0, 1e9),
    }

    def __init__(self, threads):
        self.asked = []

    in_turn = speed.Sides.in_turn

    def run(self, side, **options):
        self.asked.append((side, options))
        if side == "automatic":
            return {"seconds": {"whole": 300.0, "whole_wall": 300.0}, "area_m2": 200.0}
        if side == "again":
            counts = {"first": [36, 96], "threshold": [0, 0], "strategy": [0, 400], "uncached": [36, 400]}
            seconds = {"first": 10.0, "threshold": 0.5, "strategy": 16.0, "uncached": 20.0}
            return {"seconds": on_both_clocks(seconds), "counts": counts, "written": 5e8, "peak": 1e9}
        if side == "end_to_end":
            tiles = 100 if "town" not in options.get("raster", "town") else 9
            return {
                "seconds": on_both_clocks({"encode": 2.0, "decode": 6.0, "whole": 10.0}),
                "peak": 1.2e9,
                "tiles": tiles,
                "canvases": 4 * tiles,
                "area_m2": 900.0,
                "resolution": 0.2,
            }
        which = options["layout"] if side != "ours" else options.get("model", "vit_b")
        encode, decode, peak = self.seconds_and_peak[side, which]
        slow = 10.0 if len(self.asked) == 1 else 0.0  # one bad run, which a median must not see
        if options.get("kept"):
            decode /= 2
        if options.get("save"):
            np.save(options["save"], np.full((2, 2), 0.5 if side == "ours" else 0.25))
        return {
            "seconds": {
                "encode": encode + slow,
                "decode": decode,
                "encode_wall": encode * (2 if side == "ours" else 1),
                "decode_wall": decode,
            },
            "peak": peak,
            "area_m2": 200.0 if options["layout"] == "column" else 50.0,
            "logits_span": 1.0,
        }


def figures(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(speed, "Sides", Told)
    assert speed.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_ratios_are_of_medians_and_the_right_way_up(monkeypatch, capsys):
    result = figures(monkeypatch, capsys, "--only", "a", "b", "c", "--repeats", "3")
    assert list(result) == ["a", "b", "c"]
    a, b, c = result.values()
    assert a["time_ratio"] == pytest.approx(50 / 20) and a["memory_ratio"] == pytest.approx(1 / 4)
    assert a["encoder_ratio"] == 2 and a["decoder_ratio"] == 4 and a["logit_difference"] == 0.25
    assert a["kept_time_ratio"] == pytest.approx(50 / 17.5, rel=1e-3)
    assert a["time_ratio_wall"] == pytest.approx(50 / 35, rel=1e-3)
    assert a["limit_ratio"] == pytest.approx(50 / 15, rel=1e-3)
    assert b["area_ratio"] == 4 and b["area_time_ratio"] == pytest.approx((40 / 50) / (20 / 200))
    assert c["canvas_ratio"] == 4 and c["encoder_ratio"] == 15
    assert c["kept_canvas_ratio"] == pytest.approx(17.5 / 3, rel=1e-3)


def test_only_what_is_asked_for_is_run(monkeypatch, capsys):
    assert list(figures(monkeypatch, capsys, "--only", "b", "--repeats", "1")) == ["b"]


def test_end_to_end_is_set_against_the_same_area(monkeypatch, capsys):
    result = figures(monkeypatch, capsys, "--only", "d", "--repeats", "1")["d"]
    assert result["automatic_ratio"] == pytest.approx(300 / 200 * 900 / 10)
    assert result["automatic_ratio_wall"] == pytest.approx(300 / 200 * 900 / 20)
    assert result["encoding_ratio"] == 5 and result["other_share"] == pytest.approx(0.2)


def test_the_embedded_network_beside_a_vit_b(monkeypatch, capsys):
    g = figures(monkeypatch, capsys, "--only", "g", "--repeats", "3")["g"]
    assert (g["encoder_ratio"], g["published_encoder_ratio"]) == (30, 60)
    assert (g["decoder_ratio"], g["published_decoder_ratio"]) == (2.5, 10)
    assert (g["memory_ratio"], g["published_memory_ratio"]) == (0.8, 0.2)


def test_memory_and_time_over_more_and_more_tiles(monkeypatch, capsys):
    class Growing(Told):
        def run(self, side, **options):
            told = super().run(side, **options)
            count = len(self.asked)
            assert options["caches"]
            return told | {"tiles": 10 * count, "peak": count * 1e9, "seconds": {"whole": 5.0 + 20.0 * count}}

    monkeypatch.setattr(sys.modules[__name__], "Told", Growing)
    e = figures(monkeypatch, capsys, "--only", "e", "--tiles", "1", "2", "3")["e"]
    assert e["tiles"] == [10, 20, 30] and e["peak_gb"] == 3 and e["memory_growth"] == 2
    assert e["time_per_tile_ratio"] == pytest.approx([2.5 / (65 / 30), 2.25 / (65 / 30), 1], rel=1e-3)
    assert e["time_spread"] == pytest.approx(2.5 / (65 / 30) - 1, rel=1e-3)


def test_the_page_has_the_parts_that_were_measured_now_and_before(monkeypatch, capsys, tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    for part in "dgabc":
        result = figures(monkeypatch, capsys, "--only", part, "--repeats", "3")
        write_page(result, tmp_path)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row[2] for row in rows if row[2] != " "] == ["a", "b", "c", "d", "g"]
    assert any("2.50 times (1.43)" in row and row.endswith("| 2.5 |") for row in rows)
    page.write_text("no place")
    with pytest.raises(ValueError, match="no place for the figures"):
        write_page(result, tmp_path)


def test_the_raster_takes_as_many_tiles_as_asked_and_shows_its_example(tmp_path):
    path, example_path = write_raster(tmp_path, 3, 2)
    with Raster(str(path)) as raster:
        assert min(raster.metres_per_pixel) == pytest.approx(RESOLUTION, rel=1e-3)
        example = read_example(example_path, raster)
        longer = example.longer_side_m / RESOLUTION
        tiles = list(Tiling(raster.width, raster.height, crop_side(longer), longer).tiles())
        assert len(tiles) == 6
        bright = WorkGrid(raster, RESOLUTION).read(0, 0, 1024, 1024)[0][..., 0] > 150
    left, top, right, bottom = (round(edge) for edge in example.polygons_px[0].bounds)
    assert bright[top:bottom, left:right].all()
    assert not bright[top - 8 : top, left:right].any() and bright[:, right + 100 :].any()


def test_both_layouts_show_the_same_ground_at_the_same_resolution():
    (column, area), (halves, area_halves) = (speed_sides._canvas(layout) for layout in ("column", "halves"))
    assert column.image.shape == (1024, 1024, 3) and halves.image.shape == (512, 1024, 3)
    assert halves.query.sum() == 512 * 512
    assert area / area_halves == pytest.approx(column.query.sum() / halves.query.sum())
    ours, again = (speed_sides._prompts(column, 4) for _ in range(2))
    np.testing.assert_array_equal(ours.points_canvas, again.points_canvas)


@pytest.mark.slow
def test_a_side_is_a_process_that_tells_its_time_and_memory(tmp_path):
    raster, example = write_raster(tmp_path, 1, 1)
    told = speed.Sides(1).run(
        "end_to_end",
        raster=str(raster),
        example=str(example),
        runs=2,
        strategy="random-point",
        resolution=RESOLUTION,
    )
    seconds = told["seconds"]
    assert told["tiles"] == 1 and 2e8 < told["peak"] < 1.6e10
    assert 0 < seconds["encode"] + seconds["decode"] < seconds["whole"]


def test_what_a_new_least_score_and_a_new_strategy_cost(monkeypatch, capsys):
    f = figures(monkeypatch, capsys, "--only", "f", "--repeats", "2")["f"]
    assert f["encodings"] == {"first": 36, "threshold": 0, "strategy": 0, "uncached": 36}
    assert f["decodings"] == {"first": 96, "threshold": 0, "strategy": 400, "uncached": 400}
    assert f["threshold_ratio"] == 20 and f["strategy_ratio"] == 1.25 and f["written_gb"] == 0.5
