"""The boundary F-measure, and the comparison of edges that uses it."""

import json

import numpy as np
import pytest

pytest.importorskip("cv2")

from research.benchmarks import edges
from research.benchmarks.boundaries import counts, f_measure, matched, true_boundaries


def line(column, shape=(100, 100)):
    drawn = np.zeros(shape, bool)
    drawn[:, column] = True
    return drawn


def test_true_boundaries_lie_between_instances():
    instances = np.zeros((20, 20), int)
    instances[5:15, 5:10], instances[5:15, 10:15] = 1, 2
    found = true_boundaries(instances)
    assert found[7].nonzero()[0].tolist() == [4, 9, 14]
    assert found[:, 7].nonzero()[0].tolist() == [4, 14]
    assert not true_boundaries(np.ones((5, 5))).any()


def test_edges_within_the_tolerance_match_one_to_one():
    true = line(50)  # the diagonal is 141 pixels: 0.0075 of it is 1.06
    assert matched(true, true) == 100
    assert matched(line(51), true) == 100 and matched(line(52), true) == 0
    assert matched(line(52), true, tolerance=0.02) == 100
    assert matched(line(49) | line(51), true) == 100  # a doubled line is found once
    assert matched(np.zeros_like(true), true) == matched(true, np.zeros_like(true)) == 0


def test_f_of_the_best_threshold_for_all_and_for_each():
    true = line(50)
    noisy = true | line(10)
    first = counts([noisy, true, np.zeros_like(true)], true)
    second = counts([true, line(10), line(10)], true)
    found = f_measure(np.stack([first, second]))
    # Thresholds for all: 200 of 300 found, 200 true; 100 of 200 and 200; nothing.
    assert found["ods"] == pytest.approx(2 * 200 / (300 + 200)) and found["threshold"] == 0
    assert (found["precision"], found["recall"]) == pytest.approx((2 / 3, 1))
    assert found["ois"] == pytest.approx(1)


def test_baselines_find_the_outline_of_a_bright_square():
    image = np.full((128, 128, 3), 60, np.uint8)
    instances = np.zeros((128, 128), np.int32)
    image[30:90, 40:100], instances[30:90, 40:100] = 180, 1
    scene = edges.Scene(image, instances, np.array([0, 1], np.uint8), 0.1)
    truth = [true_boundaries(instances)]
    assert edges.of_canny([scene], truth, 1.0)["ods"] > 0.95
    assert edges.of_strengths([edges.sobel_strength(scene, 1.0)], truth)["ods"] > 0.95
    nothing = edges.of_strengths([np.zeros((128, 128), np.float32)], truth)
    assert nothing["ods"] == nothing["recall"] == 0


def test_one_json_object_is_printed(embedded_checkpoint, capsys):
    small = ["--scenes", "1", "--size", "96", "--enlarged", "1", "--device", "cpu", "--json"]
    assert edges.main([*small, "--checkpoint", str(embedded_checkpoint)]) == 0
    out = capsys.readouterr().out
    result = json.loads(out)
    assert out.count("\n") == 1 and result["scenes"] == 1
    for name in ("sam", "sam_normalised", "canny", "sobel"):
        assert {"ods", "ois", "precision", "recall", "threshold"} <= set(result[name])
        assert 0 <= result[name]["ods"] <= 1
    assert result["canny"]["blur"] in edges.BLURS


@pytest.mark.parametrize(
    "wrong",
    [["--first-seed", "5"], ["--scenes", "0"], ["--enlarged", "4"], ["--size", "30"], ["--model", "x"]],
)
def test_bad_input_is_one_sentence(wrong, capsys):
    assert edges.main(wrong) == 2
    assert capsys.readouterr().err.count("\n") == 1
