"""From many runs to one score map: a vote of the most confident ones, weighted by confidence.

Predicted IoU is not the only evidence. The example's own mask is known, so a
run that does not find the example again says little about the query: a run's
confidence is its predicted IoU times its IoU on the example.
"""

from __future__ import annotations

import numpy as np

from core.canvas.stitch import Canvas
from core.sam import geometry
from core.sam.answers import Decoded, Embedding
from core.sam.geometry import LOGIT_STRIDE, SIDE
from core.sam.mask_selection import Keep
from core.voting.class_prior import TRUSTED, with_class_prior
from core.voting.resampling import to_canvas_grid, to_coarse_grid
from core.voting.score_map import ScoreMap

KEPT_SHARE = 0.3  # of the runs, the most confident ones
LEAST_VOTE = 0.2  # a vote that does not find the example itself is not blown up beyond this


def recovery(logits: np.ndarray, canvas: Canvas) -> np.ndarray:
    """IoU of each run's mask with the example, judged where the truth is known.

    Parameters
    ----------
    logits : ndarray, shape (R, 256, 256) or (R, 256, w)
        Of the whole canvas, or of its columns of pixels up to one beyond the example's.

    Returns
    -------
    ndarray of float32, shape (R,)
        Over the copies' polygons and rings; the unlabelled surroundings don't count.
    """
    return _recovered(logits, *_known(canvas, logits.shape[-2:]))


def _known(canvas: Canvas, shape: tuple[int, int]) -> list[np.ndarray]:
    """The copies' polygons and rings on the grid of logits, or on so many of its columns."""
    seen = shape[1] * LOGIT_STRIDE
    return [to_coarse_grid(part[:, :seen], shape) for part in (canvas.example, canvas.ring)]


def _recovered(logits: np.ndarray, inside: np.ndarray, beside: np.ndarray) -> np.ndarray:
    positive = (logits > 0).reshape(len(logits), inside.size).astype(np.float32)
    hit, spill = positive @ inside.ravel(), positive @ beside.ravel()
    return (hit / (inside.sum() + spill)).astype(np.float32)


def most_confident(canvas: Canvas, runs: int) -> Keep:
    """The rule that draws the runs which :func:`combine` counts, judged on the example's column alone."""
    known = _known(canvas, (SIDE // LOGIT_STRIDE, canvas.column // LOGIT_STRIDE))  # once for all batches

    def confidence(iou_pred: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return _confidence(iou_pred[:, 0], _recovered(logits[:, 0], *known))[:, None]

    return Keep(_kept(runs), judge=confidence, seen_canvas=np.s_[:, : canvas.column])


def _kept(runs: int) -> int:
    return max(1, round(KEPT_SHARE * runs))


def _confidence(iou_pred: np.ndarray, recovered: np.ndarray) -> np.ndarray:
    return np.clip(iou_pred, 0, 1) * recovered


def combine(decoded: Decoded, embedding: Embedding, canvas: Canvas, target: str | None = None) -> ScoreMap:
    """Combine the runs of one canvas to a score map by a confidence-weighted vote.

    Parameters
    ----------
    decoded : Decoded
        Of R runs, one mask each: all, or what :func:`most_confident` drew of them.
    target : str, optional
        What the user says that the example is (``core.targets``): with it, the
        network's own classes have a say, see :mod:`core.voting.class_prior`.
    """
    logits, iou_pred = decoded.logits[:, 0], decoded.iou_pred[:, 0]
    recovered = recovery(logits, canvas)
    confidence = _confidence(iou_pred, recovered)
    count = _kept(len(logits)) if decoded.kept is None else len(logits)
    kept = np.argsort(-confidence, kind="stable")[:count]
    weights = confidence[kept] + np.finfo(np.float32).tiny
    probability = 1 / (1 + np.exp(-logits[kept]))
    coarse = np.tensordot(weights / weights.sum(), probability, axes=1).astype(np.float32)
    mean = to_canvas_grid(coarse, canvas.image.shape[:2], LOGIT_STRIDE)
    on_example = float(mean[canvas.example].mean())
    # Relative to the example, so that one threshold serves all images and no tile depends on another.
    relative = np.clip(mean / max(on_example, LEAST_VOTE), 0, 1)
    of_class = None
    if target is not None and embedding.classes is not None:
        trust = min(float(recovered[kept].mean()) / TRUSTED, 1.0)
        relative, of_class = with_class_prior(relative, embedding.classes, canvas, target, trust)
    return ScoreMap(
        score=np.ascontiguousarray(canvas.tile_part(np.where(canvas.query, relative, 0)), dtype=np.float32),
        on_example=on_example,
        similarity=np.ascontiguousarray(canvas.tile_part(_similarity(embedding, canvas))),
        iou_pred=float(iou_pred[kept].mean()),
        boundary=None if embedding.borders is None else _tile_boundary(embedding.borders, canvas),
        reach=None if embedding.reach is None else _tile_reach(embedding.reach, canvas),
        class_probability=None if of_class is None else np.ascontiguousarray(canvas.tile_part(of_class)),
    )


def _tile_boundary(borders: np.ndarray, canvas: Canvas) -> np.ndarray:
    fine = to_canvas_grid(borders, canvas.image.shape[:2], LOGIT_STRIDE)
    return np.ascontiguousarray(canvas.tile_part(fine))


def _tile_reach(reach: np.ndarray, canvas: Canvas) -> np.ndarray:
    rows, columns = (-(-side // geometry.BOX_STRIDE) for side in canvas.image.shape[:2])
    return np.ascontiguousarray(reach[:, :rows, canvas.column // geometry.BOX_STRIDE : columns])


def _similarity(embedding: Embedding, canvas: Canvas) -> np.ndarray:
    # in one order of memory, on which sums depend: the encoder's is another than what the cache gives back
    features = np.ascontiguousarray(embedding.features[0].float().cpu().numpy())
    stride = SIDE // features.shape[-1]
    inside = to_coarse_grid(canvas.example, features.shape[-2:], stride)
    prototype = (features * inside).sum((1, 2))
    norms = np.linalg.norm(features, axis=0) * np.linalg.norm(prototype)
    cosine = np.tensordot(prototype, features, axes=1) / np.maximum(norms, 1e-12)
    return to_canvas_grid(cosine.astype(np.float32), canvas.image.shape[:2], stride)
