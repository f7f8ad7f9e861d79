"""From many runs to one vote: filter by confidence, combine, smooth, threshold.

Predicted IoU is not the only evidence. The example's own mask is known, so a
run that does not find the example again says little about the query: a run's
confidence is its predicted IoU times its IoU on the example.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from core.canvas.stitch import Canvas
from core.sam import geometry
from core.sam.answers import Decoded, Embedding
from core.sam.geometry import LOGIT_STRIDE, SIDE
from core.sam.mask_selection import Keep
from core.voting.class_prior import TRUSTED, with_class_prior
from core.voting.resampling import to_canvas_grid, to_coarse_grid
from core.voting.thresholding import above_threshold, open_and_close

KEPT_SHARE = 0.3  # of the runs, the most confident ones
LEAST_VOTE = 0.2  # a vote that does not find the example itself is not blown up beyond this


@dataclasses.dataclass(frozen=True)
class Vote:
    """What the runs of one canvas agree on, for every pixel of the query tile.

    Attributes
    ----------
    share : ndarray of float32, shape (h, w)
        Confidence-weighted mean probability as a share of ``on_example``, 0 to 1:
        1 is as sure as the example itself.
    on_example : float
        Mean vote inside the example, before it became the measure of ``share``.
    found : ndarray of bool, shape (h, w)
        Pixels above the cut, smoothed.
    similarity : ndarray of float32, shape (h, w)
        Cosine of SAM's embedding to the example's mean embedding.
    iou_pred : float
        Mean predicted IoU of the runs that were kept.
    border : ndarray of float32, shape (h, w), optional
        Probability that an object ends there, from networks that answer it.
    reach : ndarray of float32, shape (4, h / 8, w / 8), optional
        How far the object there reaches, see ``core.sam.boxes``, from networks that answer it.
    kind : ndarray of float32, shape (h, w), optional
        Probability of the class that the network takes the example for, from networks that
        know classes, where they know the example's.
    objects : ndarray of int32, shape (h, w), optional
        Numbers of single objects where something is found, 0 elsewhere;
        without it every connected patch is one object.
    likeness : ndarray of float32, shape (N + 1,), optional
        Of each object, by its number, the probability that it is one like the example
        (``core.instances.scoring``); without it the mean share tells.
    """

    share: np.ndarray
    on_example: float
    found: np.ndarray
    similarity: np.ndarray
    iou_pred: float
    border: np.ndarray | None = None
    reach: np.ndarray | None = None
    kind: np.ndarray | None = None
    objects: np.ndarray | None = None
    likeness: np.ndarray | None = None


def scores(vote: Vote, where: np.ndarray | tuple[slice, slice]) -> np.ndarray:
    """What pixels of a tile score: their object's likeness, or else their share."""
    return vote.share[where] if vote.likeness is None else vote.likeness[vote.objects[where]]


def score_of(vote: Vote, polygon: np.ndarray) -> float:
    """How a detection inside a polygon would score: of what lies above the cut there; 0 where nothing does.

    Parameters
    ----------
    polygon : ndarray of bool, shape (h, w)
    """
    inside = polygon & above_threshold(vote.share)
    if vote.likeness is not None:
        inside &= vote.objects > 0  # what smoothing took is no object
    found = scores(vote, inside)
    return float(found.mean()) if found.size else 0.0


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


def combine(
    decoded: Decoded, embedding: Embedding, canvas: Canvas, smooth_px: int, target: str | None = None
) -> Vote:
    """Combine the runs of one canvas by a confidence-weighted vote.

    Parameters
    ----------
    decoded : Decoded
        Of R runs, one mask each: all, or what :func:`most_confident` drew of them.
    smooth_px : int
        Radius of the opening and closing, in canvas pixels.
    target : str, optional
        What the user says that the example is (``core.targets``): with it, the
        network's own classes have a say, see :func:`with_class_prior`.
    """
    logits, iou_pred = decoded.logits[:, 0], decoded.iou_pred[:, 0]
    recovered = recovery(logits, canvas)
    confidence = _confidence(iou_pred, recovered)
    count = _kept(len(logits)) if decoded.kept is None else len(logits)
    kept = np.argsort(-confidence, kind="stable")[:count]
    weights = confidence[kept] + np.finfo(np.float32).tiny
    probability = 1 / (1 + np.exp(-logits[kept]))
    coarse = np.tensordot(weights / weights.sum(), probability, axes=1).astype(np.float32)
    shape = canvas.image.shape[:2]
    share = to_canvas_grid(coarse, shape, LOGIT_STRIDE)
    on_example = float(share[canvas.example].mean())
    # Relative to the example, so that one cut serves all images and no tile depends on another.
    relative = np.clip(share / max(on_example, LEAST_VOTE), 0, 1)
    kind = None
    if target is not None and embedding.classes is not None:
        trust = min(float(recovered[kept].mean()) / TRUSTED, 1.0)
        relative, kind = with_class_prior(relative, embedding.classes, canvas, target, trust)
    tile = np.ascontiguousarray(canvas.tile_part(np.where(canvas.query, relative, 0)), dtype=np.float32)
    return Vote(
        share=tile,
        on_example=on_example,
        found=open_and_close(above_threshold(tile), smooth_px)
        & canvas.tile_part(canvas.query),  # closing fills nodata too
        similarity=np.ascontiguousarray(canvas.tile_part(_similarity(embedding, canvas))),
        iou_pred=float(iou_pred[kept].mean()),
        border=None if embedding.borders is None else _tile_border(embedding.borders, canvas),
        reach=None if embedding.reach is None else _tile_reach(embedding.reach, canvas),
        kind=None if kind is None else np.ascontiguousarray(canvas.tile_part(kind)),
    )


def _tile_border(borders: np.ndarray, canvas: Canvas) -> np.ndarray:
    fine = to_canvas_grid(borders, canvas.image.shape[:2], LOGIT_STRIDE)
    return np.ascontiguousarray(canvas.tile_part(fine))


def _tile_reach(reach: np.ndarray, canvas: Canvas) -> np.ndarray:
    rows, columns = (-(-side // geometry.BOX_STRIDE) for side in canvas.image.shape[:2])
    return np.ascontiguousarray(reach[:, :rows, canvas.column // geometry.BOX_STRIDE : columns])


def _similarity(embedding: Embedding, canvas: Canvas) -> np.ndarray:
    # in one order of memory, on which sums depend: the encoder's is another than what the cache gives back
    features = np.ascontiguousarray(embedding.features[0].float().cpu().numpy())
    stride = 1024 // features.shape[-1]
    inside = to_coarse_grid(canvas.example, features.shape[-2:], stride)
    prototype = (features * inside).sum((1, 2))
    norms = np.linalg.norm(features, axis=0) * np.linalg.norm(prototype)
    cosine = np.tensordot(prototype, features, axes=1) / np.maximum(norms, 1e-12)
    return to_canvas_grid(cosine.astype(np.float32), canvas.image.shape[:2], stride)
