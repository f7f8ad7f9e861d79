"""One tile from pixels to objects: augmented views, a vote, a threshold, objects and their scores.

What was computed before for the same pixels is taken from the cache: the segmentation,
so that another minimum score decodes nothing; and the embeddings, so that another
strategy or number of runs encodes nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from core import runtime
from core.callbacks import Cancelled, never_cancelled
from core.canvas.prompts import Strategy
from core.canvas.stitch import Canvas, Crop, shown_in_turn, stitch
from core.canvas.tiling import Tile
from core.instances import scoring
from core.instances.click_grouping import separate_by_clicks
from core.instances.merging import Partition, merge_regions
from core.instances.watershed import watershed
from core.pipeline.cache import Cache, digest, usable_cache
from core.pipeline.encoding import CanvasEncoder, SplitEncoder
from core.sam.answers import Embedding
from core.sam.segmenter import Segmenter
from core.targets import Target
from core.voting.augmentation import MIRRORINGS, average
from core.voting.score_map import ScoreMap, Segmentation
from core.voting.thresholding import threshold
from core.voting.vote import combine, most_confident


@dataclasses.dataclass(frozen=True)
class TileResult:
    """What one tile gave.

    Attributes
    ----------
    tile : Tile
    segmentation : Segmentation
        The tile's objects, the user's own polygons among them.
    score_map : ScoreMap, optional
        What the objects were made from; None where they came from the cache.
    partition : Partition, optional
        The pieces before regions were merged, where the tile was parted along boundaries.
    unlabelled : Segmentation, optional
        The tile's objects without the user's own polygons.
    """

    tile: Tile
    segmentation: Segmentation
    score_map: ScoreMap | None = None
    partition: Partition | None = None
    unlabelled: Segmentation | None = None


class TileSegmenter:
    """Segments tiles after one example.

    Parameters
    ----------
    segmenter : Segmenter
    crops : list of Crop
        The example, at the working resolution.
    example_areas : sequence of float
        Areas of the example polygons in canvas pixels.
    strategy : Strategy
    target : Target
        What the user says that the example is.
    runs : int
        Prompt sets per tile, clicks among them.
    seed : int
    views : int
        In how many mirrorings a tile is shown, 1 to 4.
    split_encoding : bool
        Encode example and query each alone (:mod:`core.pipeline.split_encoding`).
    cache : Cache, optional
        Default: nothing is remembered.
    cancelled : callable
        Asked between two batches.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        crops: list[Crop],
        example_areas: tuple[float, ...],
        strategy: Strategy,
        target: Target,
        *,
        runs: int,
        seed: int,
        views: int,
        split_encoding: bool = False,
        cache: Cache | None = None,
        cancelled: Cancelled = never_cancelled,
    ):
        self._segmenter, self._crops, self._example_areas = segmenter, crops, example_areas
        self._strategy, self._target, self._seed = strategy, target, seed
        self._cancelled = cancelled
        self._cache = usable_cache(cache, segmenter)
        self._by_boundaries = segmenter.knows_borders and self._is_wide()
        self._voting_runs, self._clicks = strategy.split(runs, self._by_boundaries)
        self._mirrorings = MIRRORINGS[: min(views, self._voting_runs)]
        self._encoder = (
            SplitEncoder(segmenter, cache, views) if split_encoding else CanvasEncoder(segmenter, cache)
        )
        settings = (example_areas, strategy.name, runs, seed, target.name, views, target.smooth_radius)
        self._settings = (*settings, split_encoding)

    def segment(self, image: np.ndarray, valid: np.ndarray, tile: Tile) -> TileResult:
        """Segment one tile.

        Parameters
        ----------
        image : ndarray of uint8, shape (h, w, 3)
        valid : ndarray of bool, shape (h, w)
            False where the raster holds no data.
        tile : Tile
            Its row and column seed its random prompts.

        Raises
        ------
        CancelledError
        """
        if self._cache is None:
            return self._compute(image, valid, tile)
        crops = [part for crop in self._crops for part in (crop.image, crop.mask, crop.valid, crop.ring)]
        what = (self._segmenter.identity, *self._settings, tile.row, tile.column)
        key = digest("segmentation", *what, *crops, image, valid)
        if (stored := self._cache.get(key)) is not None:
            return TileResult(tile, _as_segmentation(stored))
        result = self._compute(image, valid, tile)
        self._cache.put(key, _as_arrays(result.segmentation))
        return result

    def _compute(self, image: np.ndarray, valid: np.ndarray, tile: Tile) -> TileResult:
        rng = np.random.default_rng([self._seed, tile.row, tile.column])
        upright, score_maps = self._encode_view(image, valid, 0), []  # the first view is not mirrored
        for view in range(len(self._mirrorings)):
            canvas, embedding = self._encode_view(image, valid, view) if view else upright
            score_maps.append(self._vote(canvas, embedding, view, rng))
            runtime.give_memory_back()  # else gaps between large arrays add up canvas by canvas
        score_map = average(score_maps, self._mirrorings)
        found = threshold(score_map.score, valid, self._target.smooth_radius)
        objects = partition = probability = None
        if self._strategy.separates:
            objects, partition = self._separate(found, score_map, *upright)
            if objects is not None and scoring.can_score(score_map, self._target.name):
                probability = scoring.match_probability(
                    objects, score_map, self._target.name, min(self._example_areas)
                )
        segmentation = Segmentation(
            score_map.score, found, score_map.similarity, score_map.iou_pred, objects, probability
        )
        return TileResult(tile, segmentation, score_map, partition)

    def _encode_view(self, image: np.ndarray, valid: np.ndarray, view: int) -> tuple[Canvas, Embedding]:
        mirroring = self._mirrorings[view]
        crops = shown_in_turn(self._crops, image.shape[0], view)
        canvas = stitch(crops, image[mirroring], valid[mirroring])
        return canvas, self._encoder.encode(canvas)

    def _vote(self, canvas: Canvas, embedding: Embedding, view: int, rng: np.random.Generator) -> ScoreMap:
        """Decode a view's share of the runs, and let them vote."""
        runs = len(range(view, self._voting_runs, len(self._mirrorings)))  # shared as evenly as can be
        prompts = self._strategy.place(canvas, runs, rng)
        decoded = self._segmenter.decode(
            embedding,
            prompts.points_canvas,
            prompts.labels,
            keep=most_confident(canvas, runs),
            cancelled=self._cancelled,
        )
        # the lecture's designs are left as they are, without the network's classes
        target = self._target.name if self._strategy.separates else None
        return combine(decoded, embedding, canvas, target)

    def _separate(
        self, found: np.ndarray, score_map: ScoreMap, canvas: Canvas, embedding: Embedding
    ) -> tuple[np.ndarray | None, Partition | None]:
        """Part found pixels into objects: along the boundaries that the network knows, or by clicks."""
        area = float(np.median(self._example_areas))
        if self._by_boundaries and score_map.boundary is not None:
            partition = watershed(found, score_map.boundary, example_area=area, reach=score_map.reach)
            return merge_regions(partition), partition
        if not self._clicks:
            return None, None
        objects = separate_by_clicks(
            self._segmenter,
            embedding,
            canvas,
            found,
            example_area=area,
            budget=self._clicks,
            cancelled=self._cancelled,
        )
        return objects, None

    def _is_wide(self) -> bool:
        """Say whether objects are wide enough to be parted along boundaries, which have a width of their own.

        The largest example tells, by which the working resolution is chosen too: small ones
        beside it don't make roofs narrower.
        """
        return max(self._example_areas) >= self._target.parted_from_side**2


def _as_arrays(segmentation: Segmentation) -> dict[str, np.ndarray]:
    fields = {field.name: getattr(segmentation, field.name) for field in dataclasses.fields(segmentation)}
    return {name: np.asarray(value) for name, value in fields.items() if value is not None}


def _as_segmentation(arrays: dict[str, np.ndarray]) -> Segmentation:
    fields: dict[str, Any] = {name: array if array.ndim else array.item() for name, array in arrays.items()}
    return Segmentation(**fields)
