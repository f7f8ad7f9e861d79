"""What makes SAM quicker here leaves its figures as published: encoder, decoder, what is not drawn."""

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from core.errors import CancelledError
from core.sam.fast import decoding, image_attention
from core.sam.fast.preprocess import preprocess
from core.sam.mask_selection import Keep
from core.sam.networks.embedded import build_embedded
from core.sam.networks.mobile_sam import build_mobile_sam
from core.sam.networks.vit import build_vit
from core.sam.segmenter import BATCH, Segmenter

CLOSE = {"atol": 1e-4, "rtol": 0}
RUNS = 2 * BATCH + 1
SHARP = 1.5  # of the random queries and keys: as even as torch draws them, attention hardly matters


def filled(network):
    """Random weights where zeros would hide what is wired wrongly, and attention that is far from even."""
    torch.manual_seed(4)
    for name, parameter in network.named_parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
        if name.endswith("qkv.weight"):
            torch.nn.init.normal_(parameter, std=SHARP * parameter.shape[1] ** -0.5)
    return network.eval()


def encoders(**shape):
    """A small encoder and the published one with the same weights."""
    settings = {
        "img_size": 256,
        "embed_dim": 48,
        "depth": 3,
        "num_heads": 3,
        "out_chans": 32,
        "use_rel_pos": True,
        "window_size": 7,  # 16 cells: the last windows are mostly padding
        "global_attn_indexes": (1,),
    } | shape
    ours, theirs = image_attention.LeanImageEncoder(**settings), ImageEncoderViT(**settings)
    theirs.load_state_dict(filled(ours).state_dict())
    return ours, theirs.eval()


@pytest.mark.parametrize(
    "shape", [{}, {"window_size": 8}, {"qkv_bias": False}, {"use_abs_pos": False}], ids=str
)
def test_the_encoder_is_the_published_one(shape):
    ours, theirs = encoders(**shape)
    images = torch.randn(2, 3, 256, 256)
    with torch.no_grad():
        expected = theirs(images)
        assert expected.std() > 0.1
        np.testing.assert_allclose(ours(images), expected, **CLOSE)


def test_the_encoder_can_still_be_trained():
    ours, theirs = encoders()
    image = torch.randn(1, 3, 256, 256)
    for encoder in (ours, theirs):
        encoder(image).square().sum().backward()
    for mine, published in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad, published.grad, rtol=1e-4, atol=1e-3)


def test_relative_positions_matter():
    ours, _ = encoders()
    image = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        before = ours(image)
        for block in ours.blocks:
            block.attn.rel_pos_h.copy_(block.attn.rel_pos_h.flip(0))
        assert (ours(image) - before).abs().max() > 1e-2


def test_half_precision_is_close_and_falls_back_where_a_number_is_too_large():
    ours, _ = encoders()
    network = build_tiny(ours)
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    exact = Segmenter(network, "any").encode(image).features
    half = Segmenter(network, "any", half=torch.bfloat16).encode(image).features  # the processor's half
    assert half.dtype == torch.float32
    assert 0 < (half - exact).abs().max() < 0.2 * exact.std()
    with torch.no_grad():
        ours.blocks[0].mlp.lin1.weight.mul_(1e5)  # beyond float16
    exact = Segmenter(network, "any").encode(image).features
    fallen_back = Segmenter(network, "any", half=torch.float16).encode(image).features
    np.testing.assert_allclose(fallen_back, exact, **CLOSE)


@pytest.mark.parametrize("shape", [(1024, 1024), (700, 904), (48, 16)], ids=str)
@pytest.mark.parametrize("build", [build_mobile_sam, build_embedded])
def test_canvases_are_normalised_as_published(build, shape):
    network = build()
    image = torch.as_tensor(np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8))
    expected = network.preprocess(image.permute(2, 0, 1).float())[None]
    assert expected.std() > 0.01
    assert torch.equal(preprocess(network, image), expected)


def build_tiny(encoder):
    return filled(
        Sam(
            encoder,
            PromptEncoder(32, (16, 16), (256, 256), 16),
            MaskDecoder(
                transformer_dim=32,
                transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=4, mlp_dim=64),
            ),
        )
    )


@pytest.mark.slow
def test_a_whole_vit_b_from_image_to_logits():
    network = filled(build_vit("vit_b"))
    published = sam_model_registry["vit_b"]()
    published.load_state_dict(network.state_dict())
    predictor, segmenter = SamPredictor(published.eval()), Segmenter(network, "vit_b")
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (32, 32, 3), np.uint8).repeat(32, 0).repeat(32, 1)
    points, labels = rng.integers(0, 1024, (2, 5, 2)), np.array([[1, 1, 0, 0, 1]] * 2)
    predictor.set_image(image)
    ours = segmenter.decode(segmenter.encode(image), points + 0.5, labels)
    for run in range(2):
        _, quality, low = predictor.predict(points[run], labels[run], multimask_output=False)
        assert np.ptp(low) > 1e-2
        np.testing.assert_allclose(ours.logits[run], low, atol=1e-3, rtol=0)
        np.testing.assert_allclose(ours.iou_pred[run], quality, atol=1e-3, rtol=0)


@pytest.fixture(scope="module", params=["vit", "embedded"])
def segmenter(request, embedded_sam):
    if request.param == "embedded":
        state = {key: value.clone() for key, value in embedded_sam.state_dict().items()}
        yield Segmenter(filled(embedded_sam), "embedded")
        embedded_sam.load_state_dict(state)
        return
    network = filled(build_vit("vit_b"))
    network.image_encoder = torch.nn.Conv2d(3, 256, 16, stride=16)  # quick; the decoder is what is asked
    network.image_encoder.img_size = 1024
    yield Segmenter(network, "vit")


@pytest.fixture(scope="module")
def embedding(segmenter):
    return segmenter.encode(np.random.default_rng(1).integers(0, 256, (768, 1024, 3), np.uint8))


def prompts(runs=RUNS, points=6):
    rng = np.random.default_rng(7)
    # on the border too: there the map of prompts meets the convolutions' padding
    places = np.concatenate([rng.uniform(0, [1024, 768], (runs, points - 2, 2)), np.zeros((runs, 2, 2))], 1)
    places[:, -1] = [1023.5, 767.5]
    return places, np.tile([1, 0], (runs, points // 2))


@pytest.mark.parametrize("kind", ["points", "boxes", "both", "masks"])
def test_the_decoder_is_the_published_one(segmenter, embedding, kind):
    points, labels = prompts() if kind != "boxes" else (np.zeros((RUNS, 0, 2)), np.zeros((RUNS, 0)))
    rng = np.random.default_rng(8)
    boxes = np.sort(rng.uniform(0, 768, (RUNS, 2, 2)), axis=1).reshape(RUNS, 4)
    masks = rng.normal(0, 4, (RUNS, 256, 256)).astype(np.float32)
    given = {
        "boxes": {"boxes_canvas": boxes},
        "both": {"boxes_canvas": boxes},
        "masks": {"mask_logits": masks},
    }
    ours = segmenter.decode(embedding, points, labels, multimask=True, **given.get(kind, {}))
    network = segmenter.sam

    def tensor(array):
        return torch.as_tensor(array, dtype=torch.float32)

    with torch.no_grad():
        sparse, dense = network.prompt_encoder(
            points=(tensor(points - 0.5), tensor(labels)) if points.shape[1] else None,
            boxes=tensor(boxes - 0.5) if kind in ("boxes", "both") else None,
            masks=tensor(masks)[:, None] if kind == "masks" else None,
        )
        logits, quality = network.mask_decoder(
            image_embeddings=embedding.features,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
    assert logits.std() > 1e-2
    np.testing.assert_allclose(ours.logits, logits, **CLOSE)
    np.testing.assert_allclose(ours.iou_pred, quality, **CLOSE)


@pytest.mark.parametrize("kind", ["points", "masks"])
def test_prompt_sets_handled_together_as_on_a_graphics_card_are_answered_alike(
    segmenter, embedding, monkeypatch, kind
):
    points, labels = prompts()
    masks = np.random.default_rng(8).normal(0, 4, (RUNS, 256, 256)).astype(np.float32)
    asked = {"mask_logits": masks if kind == "masks" else None, "keep": Keep(4)}
    alone = segmenter.decode(embedding, points, labels, **asked)
    monkeypatch.setattr(decoding, "_groups", lambda sets: [slice(0, len(sets))])
    together = segmenter.decode(embedding, points, labels, **asked)
    np.testing.assert_array_equal(together.kept, alone.kept)
    np.testing.assert_allclose(together.logits, alone.logits, **CLOSE)
    np.testing.assert_allclose(together.iou_pred, alone.iou_pred, **CLOSE)


def test_what_is_kept_of_sets_handled_together_holds_no_other_set_in_memory():
    cells = torch.zeros(3, 16, 8)
    read = decoding.Read([cells], torch.zeros(3, 1, 1), torch.zeros(3, 1))
    assert read.cells_of(2).untyped_storage().nbytes() == cells[2].nbytes
    alone = decoding.Read([one[None].clone() for one in cells], read.kernels, read.iou_pred)
    assert alone.cells_of(2) is alone.cells[2]


def test_another_canvas_is_not_taken_for_the_last_one(segmenter, embedding):
    points, labels = prompts(1)
    first = segmenter.decode(embedding, points, labels).logits
    other = segmenter.encode(np.zeros((768, 1024, 3), np.uint8))
    assert np.abs(segmenter.decode(other, points, labels).logits - first).max() > 1e-3
    np.testing.assert_array_equal(segmenter.decode(embedding, points, labels).logits, first)


def test_a_part_of_the_canvas_is_that_part_of_the_masks(segmenter, embedding):
    points, labels = prompts()
    whole = segmenter.decode(embedding, points, labels)
    part = segmenter.decode(embedding, points, labels, part_canvas=np.s_[:768, 160:])
    assert part.logits.shape == (RUNS, 1, 192, 216) and part.kept is None
    np.testing.assert_allclose(part.logits, whole.logits[..., :192, 40:], **CLOSE)
    np.testing.assert_allclose(part.iou_pred, whole.iou_pred, **CLOSE)
    with pytest.raises(ValueError, match="multiples of 16"):
        segmenter.decode(embedding, points, labels, part_canvas=np.s_[:, 100:])


@pytest.mark.parametrize("multimask", [False, True])
def test_the_best_masks_by_predicted_iou_are_those_that_all_would_have_given(segmenter, embedding, multimask):
    points, labels = prompts()
    whole = segmenter.decode(embedding, points, labels, multimask=multimask)
    best = segmenter.decode(embedding, points, labels, multimask=multimask, keep=Keep(4))
    expected = np.argsort(-whole.iou_pred, axis=None, kind="stable")[:4]
    assert best.logits.shape == (4, 1, 256, 256) and best.iou_pred.shape == (4, 1)
    np.testing.assert_allclose(best.iou_pred[:, 0], whole.iou_pred.flat[expected], **CLOSE)
    for (run, mask), logits, quality in zip(best.kept, best.logits[:, 0], best.iou_pred[:, 0], strict=True):
        np.testing.assert_allclose(logits, whole.logits[run, mask], **CLOSE)
        np.testing.assert_allclose(quality, whole.iou_pred[run, mask], **CLOSE)
    assert len({tuple(one) for one in best.kept}) == 4


def test_a_judge_sees_a_part_and_says_which_masks_are_drawn_on_another(segmenter, embedding):
    points, labels = prompts()
    whole = segmenter.decode(embedding, points, labels)
    seen = []

    def judge(iou_pred, logits):
        seen.append((iou_pred.shape, logits.shape))
        return logits.mean((2, 3))

    keep = Keep(3, judge=judge, seen_canvas=np.s_[:768, :160])
    best = segmenter.decode(embedding, points, labels, keep=keep, part_canvas=np.s_[:768, 160:])
    means = whole.logits[:, 0, :192, :40].mean((1, 2))
    np.testing.assert_array_equal(best.kept[:, 0], np.argsort(-means)[:3])
    np.testing.assert_allclose(best.logits[:, 0], whole.logits[best.kept[:, 0], 0, :192, 40:], **CLOSE)
    assert [one[0] for one in seen] == [(BATCH, 1), (BATCH, 1), (1, 1)]
    assert all(shape[2:] == (192, 40) for _, shape in seen)


def test_none_may_be_good_enough(segmenter, embedding):
    points, labels = prompts()
    whole = segmenter.decode(embedding, points, labels)
    middle = float(np.median(whole.iou_pred))
    some = segmenter.decode(embedding, points, labels, keep=Keep(RUNS, least=middle))
    assert len(some.kept) == RUNS // 2 + 1 and (some.iou_pred >= middle).all()
    none = segmenter.decode(
        embedding, points, labels, keep=Keep(RUNS, least=9.0), part_canvas=np.s_[:768, 160:]
    )
    assert none.logits.shape == (0, 1, 192, 216) and none.iou_pred.shape == (0, 1)
    assert none.kept.shape == (0, 2)


def test_a_cancel_is_heard_while_the_best_are_drawn(segmenter, embedding):
    points, labels = prompts()
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) == 4  # after the three batches

    with pytest.raises(CancelledError):
        segmenter.decode(embedding, points, labels, keep=Keep(RUNS), cancelled=cancelled)
