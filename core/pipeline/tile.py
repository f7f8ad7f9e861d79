"""One tile from pixels to a vote: shown in mirrorings, decoded, averaged, parted into objects.

What was computed before for the same pixels is taken from the cache: the vote,
so that another least score decodes nothing; and the embeddings, so that
another strategy or number of runs encodes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from core import runtime
from core.canvas.prompts import Strategy
from core.canvas.stitch import Canvas, Crop, shown_in_turn, stitch
from core.instances import click_grouping, scoring, watershed
from core.pipeline.cache import Cache, digest
from core.pipeline.split_encoding import side_by_side
from core.sam.answers import ANSWERS, Embedding
from core.sam.segmenter import Segmenter
from core.targets import target_named
from core.voting.augmentation import MIRRORINGS, average
from core.voting.vote import Vote, combine, most_confident


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is the same for all tiles of a run.

    Attributes
    ----------
    segmenter : Segmenter
    crops : list of Crop
        The example, at the working resolution.
    examples_px : tuple of float
        The example polygons' areas in canvas pixels.
    strategy : Strategy
    runs : int
        Prompt sets per tile, clicks among them.
    seed : int
    target : str
        What the user says that the example is.
    showings : int
        In how many mirrorings a tile is shown.
    smooth_px : int
        See :func:`core.voting.vote.combine`.
    cache : Cache, optional
        Default: nothing is kept.
    cancelled : callable
        Asked between two batches.
    apart : bool
        Encode example and query each alone (``core.pipeline.split_encoding``).
    column_embedding : dict
        With ``apart``, what the example's column was encoded to, by its bytes: those of one tile's
        showings, which serve all tiles.
    """

    segmenter: Segmenter
    crops: list[Crop]
    examples_px: tuple[float, ...]
    strategy: Strategy
    runs: int
    seed: int
    target: str
    showings: int
    smooth_px: int
    cache: Cache | None = None
    cancelled: Callable[[], bool] = lambda: False
    apart: bool = False
    column_embedding: dict[bytes, Embedding] = dataclasses.field(default_factory=dict)

    @property
    def example_px(self) -> float:
        """The usual area of an example in canvas pixels."""
        return float(np.median(self.examples_px))


def vote_on(setting: Setting, image: np.ndarray, valid: np.ndarray, place: tuple[int, int]) -> Vote:
    """Segment one tile.

    Parameters
    ----------
    setting : Setting
    image : ndarray of uint8, shape (h, w, 3)
    valid : ndarray of bool, shape (h, w)
        False where the raster holds no data.
    place : tuple of int
        The tile's row and column in the grid, which seed its random prompts.

    Raises
    ------
    CancelledError
    """
    if not _remembers(setting):
        return _computed(setting, image, valid, place)
    crops = [part for crop in setting.crops for part in (crop.image, crop.mask, crop.valid, crop.ring)]
    key = digest(
        "vote",
        setting.segmenter.identity,
        *(setting.examples_px, setting.strategy.name, setting.runs, setting.seed),
        *(setting.target, setting.showings, setting.smooth_px, setting.apart, *place),
        *(*crops, image, valid),
    )
    if (stored := setting.cache.get(key)) is not None:
        return _as_vote(stored)
    vote = _computed(setting, image, valid, place)
    setting.cache.put(key, _as_arrays(vote))
    return vote


def _remembers(setting: Setting) -> bool:
    """Whether results can be kept: a network that came from no file has no name to keep them by."""
    return setting.cache is not None and setting.segmenter.identity is not None


def _computed(setting: Setting, image: np.ndarray, valid: np.ndarray, place: tuple[int, int]) -> Vote:
    rng = np.random.default_rng([setting.seed, *place])
    by_borders = setting.segmenter.knows_borders and _is_wide(setting)
    voting, clicks = setting.strategy.split(setting.runs, by_borders)
    mirrorings = MIRRORINGS[: min(setting.showings, voting)]
    votes, shown = [], None
    for number, mirroring in enumerate(mirrorings):
        crops = shown_in_turn(setting.crops, image.shape[0], number)
        canvas = stitch(crops, image[mirroring], valid[mirroring])
        runs = len(range(number, voting, len(mirrorings)))  # shared as evenly as can be
        prompts = setting.strategy.place(canvas, runs, rng)
        embedding = _encode(setting, canvas)
        decoded = setting.segmenter.decode(
            embedding,
            prompts.points_canvas,
            prompts.labels,
            keep=most_confident(canvas, runs),
            cancelled=setting.cancelled,
        )
        # smoothed once, when all showings are averaged
        # the lecture's designs are left as they are, without the network's classes
        target = setting.target if setting.strategy.separates else None
        votes.append(combine(decoded, embedding, canvas, smooth_px=0, target=target))
        shown = shown or (canvas, embedding)  # the first is not mirrored
        runtime.give_memory_back()  # else gaps between large arrays add up canvas by canvas
    vote = average(votes, mirrorings, valid, setting.smooth_px)
    if setting.strategy.separates:
        vote = dataclasses.replace(vote, objects=_objects(setting, vote, *shown, clicks, by_borders))
        if scoring.is_told(vote, setting.target):
            told = scoring.likeness(vote, setting.target, min(setting.examples_px))
            vote = dataclasses.replace(vote, likeness=told)
    return dataclasses.replace(vote, border=None, reach=None, kind=None)  # they have done their work


def _is_wide(setting: Setting) -> bool:
    """Whether objects are wide enough to be parted along borders, which have a width of their own.

    The largest example tells, by which the working resolution is chosen too: small ones
    beside it don't make roofs narrower.
    """
    return max(setting.examples_px) >= target_named(setting.target).parted_from_px ** 2


def _encode(setting: Setting, canvas: Canvas) -> Embedding:
    if not setting.apart:
        return _embedding(setting, canvas.image)
    column, query = (np.ascontiguousarray(part) for part in np.split(canvas.image, [canvas.column], axis=1))
    known, key = setting.column_embedding, column.tobytes()
    if key not in known:
        while len(known) >= setting.showings:
            known.pop(next(iter(known)))  # the oldest
        known[key] = _embedding(setting, column)
    return side_by_side(known[key], _embedding(setting, query), canvas.column)


def _embedding(setting: Setting, image_canvas: np.ndarray) -> Embedding:
    segmenter = setting.segmenter
    if not _remembers(setting):
        return segmenter.encode(image_canvas)
    key = digest("embedding", segmenter.identity, image_canvas)
    if (stored := setting.cache.get(key)) is not None:
        return segmenter.embedding_of(shape_canvas=image_canvas.shape[:2], **stored)
    embedding = segmenter.encode(image_canvas)
    arrays = {"features": embedding.features.cpu().numpy()}
    arrays |= {name: there for name in ANSWERS if (there := getattr(embedding, name)) is not None}
    setting.cache.put(key, arrays)
    return embedding


def _objects(
    setting: Setting, vote: Vote, canvas: Canvas, embedding: Embedding, clicks: int, by_borders: bool
) -> np.ndarray | None:
    """Part what was found into objects: along the borders that the network knows, or by clicks."""
    if by_borders:
        return watershed.part(vote.found, vote.border, example_px=setting.example_px, reach=vote.reach)
    if not clicks:
        return None
    return click_grouping.separate(
        setting.segmenter,
        embedding,
        canvas,
        vote.found,
        example_px=setting.example_px,
        budget=clicks,
        cancelled=setting.cancelled,
    )


def _as_arrays(vote: Vote) -> dict[str, np.ndarray]:
    fields = {field.name: getattr(vote, field.name) for field in dataclasses.fields(vote)}
    return {name: np.asarray(value) for name, value in fields.items() if value is not None}


def _as_vote(arrays: dict[str, np.ndarray]) -> Vote:
    return Vote(**{name: array if array.ndim else array.item() for name, array in arrays.items()})
