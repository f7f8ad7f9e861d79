"""The vote: runs that find the example again are listened to, others are not."""

import numpy as np
import pytest
import torch

from core.canvas.stitch import Crop, stitch
from core.sam.answers import Decoded, Embedding
from core.sam.geometry import LOGIT_STRIDE
from core.voting.thresholding import STABILITY_OFFSET, THRESHOLD, count_stable, threshold
from core.voting.vote import KEPT_SHARE, combine, recovery

SIDE, WIDTH, HEIGHT = 64, 400, 320
SURE = 12.0  # logit


def make_canvas(valid=None):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:44, 16:48] = True
    crop = Crop(np.zeros((SIDE, SIDE, 3), np.uint8), mask, np.ones((SIDE, SIDE), bool))
    valid = np.ones((HEIGHT, WIDTH), bool) if valid is None else valid
    return stitch([crop], np.zeros((HEIGHT, WIDTH, 3), np.uint8), valid)


@pytest.fixture(scope="module")
def canvas():
    return make_canvas()


def logits_of(mask_canvas):
    """What a network would answer that sees this mask: each logit the share of its 4 x 4 pixels."""
    full = np.zeros((1024, 1024))
    full[: mask_canvas.shape[0], : mask_canvas.shape[1]] = mask_canvas
    share = full.reshape(256, 4, 256, 4).mean((1, 3))
    return np.log(np.clip(share, 1e-5, 1 - 1e-5) / np.clip(1 - share, 1e-5, 1 - 1e-5)).astype(np.float32)


def blob(canvas, *boxes, example=True):
    """Canvas mask: the example in the column and boxes (x0, y0, x1, y1) in pixels of the tile."""
    mask = canvas.example.copy() if example else np.zeros_like(canvas.example)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, canvas.column + x0 : canvas.column + x1] = True
    return mask


def decoded(runs, iou_pred):
    return Decoded(np.stack(runs)[:, None], np.asarray(iou_pred, np.float32)[:, None])


def embedding(channels=4):
    generator = torch.Generator().manual_seed(0)
    return Embedding(torch.rand(1, channels, 64, 64, generator=generator), (HEIGHT, SIDE + WIDTH))


def voted(runs, seen, canvas, radius):
    """The score map of some runs, and the pixels that it finds."""
    score_map = combine(runs, seen, canvas)
    return score_map, threshold(score_map.score, canvas.tile_part(canvas.query), radius)


def test_recovery_of_a_perfect_an_empty_and_a_wrong_mask(canvas):
    everything = np.full((256, 256), SURE, np.float32)
    found = recovery(
        np.stack([logits_of(canvas.example), -everything, everything, logits_of(canvas.ring)]), canvas
    )
    assert found[0] == pytest.approx(1, abs=0.05)
    assert found[1] == 0
    # Everything: the example over itself and its ring.
    assert found[2] == pytest.approx(canvas.example.sum() / (canvas.example | canvas.ring).sum(), abs=0.02)
    assert found[3] < 0.1


def test_recovery_does_not_judge_the_query_or_what_lies_beyond_the_ring(canvas):
    wild = logits_of(blob(canvas, (10, 10, 300, 300)))
    far = np.zeros_like(canvas.example)
    far[:4, :4] = True  # a corner of a copy, farther off than the ring
    shares = recovery(np.stack([wild, logits_of(canvas.example | far), logits_of(canvas.example)]), canvas)
    np.testing.assert_array_equal(shares, shares[0])


def test_what_the_runs_agree_on_is_found(canvas):
    runs = [logits_of(blob(canvas, (100, 80, 180, 150)))] * 10
    score_map, found = voted(decoded(runs, [0.9] * 10), embedding(), canvas, radius=2)
    assert score_map.score.shape == found.shape == score_map.similarity.shape == (HEIGHT, WIDTH)
    assert 0.9 < score_map.on_example <= 1  # its outline is blurred by the grid of logits
    truth = blob(canvas, (100, 80, 180, 150), example=False)[:, canvas.column :]
    assert (found & truth).sum() / (found | truth).sum() > 0.97
    assert score_map.iou_pred == pytest.approx(0.9)


def test_runs_that_miss_the_example_are_not_listened_to(canvas):
    good = logits_of(blob(canvas, (100, 80, 180, 150)))
    bad = logits_of(blob(canvas, (250, 200, 330, 290), example=False))
    runs, iou_pred = [good] * 4 + [bad] * 8, [0.6] * 4 + [0.99] * 8  # SAM prefers the bad ones
    score_map, found = voted(decoded(runs, iou_pred), embedding(), canvas, radius=2)
    assert found[85:145, 105:175].all()
    assert not found[200:290, 250:330].any()
    assert score_map.iou_pred == pytest.approx(0.6)


def test_of_runs_that_find_the_example_the_confident_ones_decide(canvas):
    sure = logits_of(blob(canvas, (20, 20, 60, 60)))
    unsure = logits_of(blob(canvas, (200, 200, 260, 260)))
    kept = round(KEPT_SHARE * 10)
    runs = [unsure] * (10 - kept) + [sure] * kept
    _, found = voted(decoded(runs, [0.5] * (10 - kept) + [0.9] * kept), embedding(), canvas, radius=2)
    assert found[25:55, 25:55].all() and not found[200:260, 200:260].any()


def test_a_pixel_that_few_kept_runs_name_is_not_found(canvas):
    runs = [logits_of(blob(canvas, (20, 20, 80, 80)))] * 9
    runs += [logits_of(blob(canvas, (20, 20, 80, 80), (200, 200, 260, 260)))]
    _, found = voted(decoded(runs * 2, [0.8] * 20), embedding(), canvas, radius=2)
    assert found[30:70, 30:70].all()
    assert not found[200:260, 200:260].any()


def test_one_run_and_runs_without_any_confidence_still_give_a_vote(canvas):
    run = logits_of(blob(canvas, (100, 80, 180, 150)))
    score_map, found = voted(decoded([run], [0.7]), embedding(), canvas, radius=2)
    assert found[100, 140]
    nothing = np.full((256, 256), -SURE, np.float32)
    score_map, found = voted(decoded([nothing] * 5, [-0.1] * 5), embedding(), canvas, radius=2)
    assert np.isfinite(score_map.score).all() and 0 <= score_map.on_example < 0.01 and not found.any()


@pytest.mark.parametrize("corner", [(100, 80), (101, 82), (103, 81), (0, 0), (330, 250)])
def test_a_blob_comes_back_where_it_was_within_a_pixel(canvas, corner):
    x, y = corner
    box = (x, y, x + 70, y + 61)
    _, found = voted(decoded([logits_of(blob(canvas, box))] * 4, [0.9] * 4), embedding(), canvas, radius=0)
    rows, columns = np.nonzero(found)
    assert columns.min() == pytest.approx(box[0], abs=1) and columns.max() + 1 == pytest.approx(box[2], abs=1)
    assert rows.min() == pytest.approx(box[1], abs=1) and rows.max() + 1 == pytest.approx(box[3], abs=1)


def test_a_blob_on_whole_logits_comes_back_exactly(canvas):
    # No shift from the grid of logits to the grid of the canvas, but for the blunted corners.
    _, found = voted(
        decoded([logits_of(blob(canvas, (100, 80, 172, 140)))] * 4, [0.9] * 4), embedding(), canvas, radius=0
    )
    truth = np.zeros_like(found)
    truth[80:140, 100:172] = True
    rows, columns = np.nonzero(found ^ truth)
    assert all(min(abs(r - 80), abs(r - 139)) <= 1 for r in rows)
    assert all(min(abs(c - 100), abs(c - 171)) <= 1 for c in columns)
    assert found[80, 110:160].all() and not found[79].any()
    assert found[90:130, 171].all() and not found[:, 172].any()


def test_where_there_is_no_image_nothing_is_found():
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[:, 140:145] = False  # a gap narrower than the closing's disc
    valid[200:] = False
    canvas = make_canvas(valid)
    runs = [logits_of(blob(canvas, (100, 80, 180, 260)))] * 4
    score_map, found = voted(decoded(runs, [0.9] * 4), embedding(), canvas, radius=3)
    assert found[100:190, 105:135].all()
    assert not found[~valid].any()
    assert not score_map.score[~valid].any()


def test_smoothing_drops_slivers_and_fills_notches_but_keeps_the_border(canvas):
    mask = blob(canvas, (0, 0, 60, 60), (200, 100, 202, 200), (100, 100, 150, 150))
    mask[120:122, canvas.column + 100 : canvas.column + 110] = False  # a notch
    logits = np.where(mask[::LOGIT_STRIDE, ::LOGIT_STRIDE], SURE, -SURE).astype(np.float32)
    full = np.full((256, 256), -SURE, np.float32)
    full[: logits.shape[0], : logits.shape[1]] = logits
    _, rough = voted(decoded([full] * 4, [0.9] * 4), embedding(), canvas, radius=0)
    _, smooth = voted(decoded([full] * 4, [0.9] * 4), embedding(), canvas, radius=3)
    assert rough[150, 199:203].any() and not smooth[110:190, 195:210].any()
    assert not rough[118:124, 104:107].all() and smooth[118:124, 104:140].all()
    assert smooth[0, :50].all() and smooth[:50, 0].all()  # an object that goes on


def test_similarity_is_the_cosine_to_the_example(canvas):
    features = torch.zeros(1, 3, 64, 64)
    features[0, 0] = 1.0  # background
    inside = torch.zeros(64, 64, dtype=torch.bool)
    stride = 16
    for row in range(HEIGHT // stride):
        for column in range((SIDE + WIDTH) // stride):
            cell = canvas.example[row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
            inside[row, column] = bool(cell.any())
    inside[10:13, 20:23] = True  # an object like the example, in the tile
    features[0, 0, inside] = 0.0
    features[0, 1, inside] = 2.0
    score_map, _ = voted(
        decoded([logits_of(canvas.example)] * 2, [0.9] * 2),
        Embedding(features, (HEIGHT, SIDE + WIDTH)),
        canvas,
        radius=2,
    )
    assert score_map.similarity[11 * 16 + 8, 21 * 16 + 8 - SIDE] == pytest.approx(1, abs=1e-5)
    assert score_map.similarity[300, 20] == pytest.approx(0, abs=1e-5)
    assert np.abs(score_map.similarity).max() <= 1 + 1e-5


def test_stable_counts_pixels_well_above_the_cut(canvas):
    runs = [logits_of(blob(canvas, (100, 80, 180, 150)))] * 4
    score_map, _ = voted(decoded(runs, [0.9] * 4), embedding(), canvas, radius=0)
    inside = score_map.score[90:140, 110:170]
    assert count_stable(inside) == inside.size
    above = THRESHOLD + STABILITY_OFFSET
    assert count_stable(np.array([[above + 0.01, above - 0.01], [THRESHOLD - 0.1, 1.0]])) == 2


def test_the_share_is_relative_to_the_examples_own_vote(canvas):
    # A network that is half as sure of everything finds the same things as surely as the example.
    probability = 0.45
    level = np.float32(np.log(probability / (1 - probability)))
    half_sure = np.where(logits_of(blob(canvas, (100, 80, 180, 150))) > 0, level, -SURE).astype(np.float32)
    runs, iou_pred = [half_sure] * 4, [0.9] * 4
    score_map, found = voted(decoded(runs, iou_pred), embedding(), canvas, radius=2)
    assert score_map.on_example == pytest.approx(probability, rel=0.1)
    assert score_map.score[100:130, 120:160].min() > 0.95 and found[85:145, 105:175].all()
    assert score_map.score.max() <= 1


def test_a_vote_that_misses_the_example_is_not_blown_up(canvas):
    faint = np.full((256, 256), np.float32(np.log(0.01 / 0.99)))
    score_map, found = voted(decoded([faint] * 4, [0.9] * 4), embedding(), canvas, radius=2)
    assert score_map.on_example == pytest.approx(0.01, rel=0.05) and not found.any()


def test_what_is_a_little_below_the_cut_is_found_where_it_is_broad_only():
    share = np.zeros((60, 60), np.float32)
    share[10:50, 10:50] = 1
    share[24:36, 24:36] = 0.45  # the weak middle of a large roof
    share[8:10, 8:52] = 0.45  # a blurred rim
    share[54:60, 0:2] = 0.45  # too little for anything
    found = threshold(share, np.ones(share.shape, bool), 0)
    assert found[10:50, 10:50].all() and found.sum() == 40 * 40
