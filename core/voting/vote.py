"""From many runs to one vote: filter by confidence, combine, smooth, threshold.

Predicted IoU is not the only evidence. The example's own mask is known, so a
run that does not find the example again says little about the query: a run's
confidence is its predicted IoU times its IoU on the example.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from scipy import ndimage
from torch.nn.functional import interpolate

from core.canvas.stitch import SIDE, Canvas
from core.sam import boxes
from core.sam.mask_selection import Keep
from core.sam.networks.embedded import SemanticHead
from core.sam.segmenter import LOGIT_STRIDE, Decoded, Embedding

KEPT_SHARE = 0.3  # of the runs, the most confident ones
CUT = 0.5  # of the example's own vote: where a pixel of the query counts as found
WEAK = 0.4  # what is enough where it is broad, as in the middle of a roof much larger than the example
RIM = 5  # canvas pixels: what is weak and narrower is the blurred rim of something sharp
LEAST_VOTE = 0.2  # a vote that does not find the example itself is not blown up beyond this
CLASS_WEIGHT = 0.3  # of the network's own class; less than WEAK, so that it finds nothing by itself, …
TRUSTED = 0.5  # … unless the runs give back less than this of the example: then they say less, and it more
SUREST = 0.3  # a class that is less sure on the example is not blown up beyond this
STABILITY_OFFSET = 0.1  # what the cut is raised by to see which pixels stay


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


def stable(share: np.ndarray) -> int:
    """How many of these pixels would still be found if the cut were raised a little."""
    return int((share > CUT + STABILITY_OFFSET).sum())


def scores(vote: Vote, where: np.ndarray | tuple[slice, slice]) -> np.ndarray:
    """What pixels of a tile score: their object's likeness, or else their share."""
    return vote.share[where] if vote.likeness is None else vote.likeness[vote.objects[where]]


def score_of(vote: Vote, polygon: np.ndarray) -> float:
    """How a detection inside a polygon would score: of what lies above the cut there; 0 where nothing does.

    Parameters
    ----------
    polygon : ndarray of bool, shape (h, w)
    """
    inside = polygon & _above(vote.share)
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
    return [_to_logit_grid(part[:, :seen], shape) for part in (canvas.example, canvas.ring)]


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
        network's own classes have a say, see :func:`_by_class`.
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
    share = _to_canvas_grid(coarse, shape, LOGIT_STRIDE)
    on_example = float(share[canvas.example].mean())
    # Relative to the example, so that one cut serves all images and no tile depends on another.
    relative = np.clip(share / max(on_example, LEAST_VOTE), 0, 1)
    kind = None
    if target is not None and embedding.classes is not None:
        trust = min(float(recovered[kept].mean()) / TRUSTED, 1.0)
        relative, kind = _by_class(relative, embedding.classes, canvas, target, trust)
    tile = np.ascontiguousarray(canvas.tile_part(np.where(canvas.query, relative, 0)), dtype=np.float32)
    return Vote(
        share=tile,
        on_example=on_example,
        found=_smooth(_above(tile), smooth_px) & canvas.tile_part(canvas.query),  # closing fills nodata too
        similarity=np.ascontiguousarray(canvas.tile_part(_similarity(embedding, canvas))),
        iou_pred=float(iou_pred[kept].mean()),
        border=None if embedding.borders is None else _tile_border(embedding.borders, canvas),
        reach=None if embedding.reach is None else _tile_reach(embedding.reach, canvas),
        kind=None if kind is None else np.ascontiguousarray(canvas.tile_part(kind)),
    )


def average(
    votes: list[Vote], mirrorings: list[tuple[slice, slice]], valid: np.ndarray, smooth_px: int
) -> Vote:
    """Average the votes of one tile's mirrored showings.

    Parameters
    ----------
    votes : list of Vote
        Each in its own mirroring.
    mirrorings : list of tuple of slice
        What turns each back: a mirroring is its own inverse.
    valid : ndarray of bool, shape (h, w)
        The tile's pixels that hold data.
    smooth_px : int
        As for :func:`combine`.
    """

    def mean(arrays: list[np.ndarray]) -> np.ndarray:
        turned = [array[mirroring] for array, mirroring in zip(arrays, mirrorings, strict=True)]
        return np.mean(turned, axis=0, dtype=np.float32)

    share = mean([vote.share for vote in votes])
    return Vote(
        share=share,
        on_example=float(np.mean([vote.on_example for vote in votes])),
        found=_smooth(_above(share), smooth_px) & valid,
        similarity=mean([vote.similarity for vote in votes]),
        iou_pred=float(np.mean([vote.iou_pred for vote in votes])),
        border=None if votes[0].border is None else mean([vote.border for vote in votes]),
        reach=None if votes[0].reach is None else _mean_reach([vote.reach for vote in votes], mirrorings),
        # a showing on which the network does not know the example would speak of something else
        kind=None if any(vote.kind is None for vote in votes) else mean([vote.kind for vote in votes]),
    )


def _above(share: np.ndarray) -> np.ndarray:
    """What is above the cut, and what is a little below it over some breadth.

    A lower cut alone would move every outline outwards by part of a pixel.
    """
    sure = share > CUT
    weak = ((share > WEAK) & ~sure).astype(np.uint8)
    return sure | (ndimage.grey_opening(weak, size=(RIM, RIM)) > 0)


def _smooth(mask: np.ndarray, radius: int) -> np.ndarray:
    """Open, then close with a disc: slivers and thin bridges go, small notches are filled."""
    if radius == 0:
        return mask
    padded = np.pad(mask, radius + 1, mode="edge")  # else the tile's border would be eaten
    padded = ndimage.binary_closing(ndimage.binary_opening(padded, disc(radius)), disc(radius))
    return padded[radius + 1 : -radius - 1, radius + 1 : -radius - 1]


def disc(radius: int) -> np.ndarray:
    """Pixels within a radius of the middle one, shape (2 radius + 1, 2 radius + 1)."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x**2 + y**2 <= radius**2


def _tile_border(borders: np.ndarray, canvas: Canvas) -> np.ndarray:
    fine = _to_canvas_grid(borders, canvas.image.shape[:2], LOGIT_STRIDE)
    return np.ascontiguousarray(canvas.tile_part(fine))


def _by_class(
    relative: np.ndarray, classes: np.ndarray, canvas: Canvas, target: str, trust: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Let the class that the network takes the example for have a say in the vote (H, W).

    An example that is unlike others of its kind finds more of them so. Where the
    network takes it for nothing that it knows, the runs alone speak; but runs that
    do not even give back the example are no evidence. The less they do
    (``trust``, 0 to 1), the more the class says; that of the target, if need be.
    The probability (H, W) of the class is given too, where the network does know the example.
    """
    inside = _to_logit_grid(canvas.example, classes.shape[1:])
    on_example = [float((one * inside).sum() / inside.sum()) for one in classes]
    kind, own = int(np.argmax(on_example)), 1 - CLASS_WEIGHT
    if is_known := kind > 0:
        own *= trust
    elif target in SemanticHead.CLASSES:
        kind, own = SemanticHead.CLASSES.index(target), trust
    else:
        return relative, None
    probability = _to_canvas_grid(classes[kind], relative.shape, LOGIT_STRIDE)
    share = np.clip(probability / max(on_example[kind], SUREST), 0, 1)
    return own * relative + (1 - own) * share, probability if is_known else None


def _tile_reach(reach: np.ndarray, canvas: Canvas) -> np.ndarray:
    rows, columns = (-(-side // boxes.PLACE) for side in canvas.image.shape[:2])
    return np.ascontiguousarray(reach[:, :rows, canvas.column // boxes.PLACE : columns])


def _mean_reach(reaches: list[np.ndarray], mirrorings: list[tuple[slice, slice]]) -> np.ndarray:
    logs = [np.log(boxes.turned(*pair)) for pair in zip(reaches, mirrorings, strict=True)]
    return np.exp(np.mean(logs, axis=0, dtype=np.float32))


def _similarity(embedding: Embedding, canvas: Canvas) -> np.ndarray:
    # in one order of memory, on which sums depend: the encoder's is another than what the cache gives back
    features = np.ascontiguousarray(embedding.features[0].float().cpu().numpy())
    stride = 1024 // features.shape[-1]
    inside = _to_logit_grid(canvas.example, features.shape[-2:], stride)
    prototype = (features * inside).sum((1, 2))
    norms = np.linalg.norm(features, axis=0) * np.linalg.norm(prototype)
    cosine = np.tensordot(prototype, features, axes=1) / np.maximum(norms, 1e-12)
    return _to_canvas_grid(cosine.astype(np.float32), canvas.image.shape[:2], stride)


def _to_logit_grid(mask: np.ndarray, shape: tuple[int, int], stride: int = LOGIT_STRIDE) -> np.ndarray:
    """Share of each coarse pixel that a canvas mask covers; padding beyond the canvas is 0."""
    full = np.zeros((shape[0] * stride, shape[1] * stride), np.float32)
    full[: mask.shape[0], : mask.shape[1]] = mask
    # rows first: along them numpy adds many pixels at once
    in_rows = full.reshape(shape[0], stride, -1).sum(1)
    return in_rows.reshape(*shape, stride).sum(2) / stride**2


def _to_canvas_grid(coarse: np.ndarray, shape: tuple[int, int], stride: int) -> np.ndarray:
    """Bilinear enlargement, pixel areas kept in place, cut to the canvas."""
    rows, columns = -(-shape[0] // stride) + 1, -(-shape[1] // stride) + 1
    part = torch.tensor(coarse[:rows, :columns])[None, None]  # a copy: the cache's arrays are read-only
    # torch's: the same figures as scipy's in a seventh of the time
    large = interpolate(part, scale_factor=stride, mode="bilinear", align_corners=False)
    return large[0, 0, : shape[0], : shape[1]].numpy()
