"""The pipeline with two of its parts open: how the canvas is laid out, and how SAM is asked.

Everything else is the pipeline's own, so that a comparison of layouts or of ways to prompt
compares nothing else. Each tile is shown once, not in four mirrorings.
"""

from __future__ import annotations

from collections.abc import Callable

import geopandas as gpd
import numpy as np

from core.callbacks import Observer
from core.canvas.prompts import Strategy
from core.canvas.stitch import Canvas
from core.canvas.tiling import Tile
from core.errors import InputError
from core.pipeline.plan import SearchPlan
from core.pipeline.search import find_objects, labelled, to_candidates
from core.pipeline.tile import TileResult
from core.sam.segmenter import Segmenter
from core.targets import Target
from core.voting.score_map import Segmentation
from core.voting.thresholding import threshold
from core.voting.vote import combine
from research.benchmarks.layouts import Column

# Gives a tile's objects for a canvas; the random numbers are the tile's own.
Answer = Callable[[Canvas, Segmenter, Target, np.random.Generator], Segmentation]


def search_with(
    plan: SearchPlan,
    segmenter: Segmenter,
    answer: Answer,
    *,
    layout: Column | None = None,
    seam_contact: float = 0.0,
) -> gpd.GeoDataFrame:
    """Find everything that touches the plan's extent and is of a size with the example.

    Parameters
    ----------
    plan : SearchPlan
    segmenter : Segmenter
    answer : callable
    layout : Column, optional
        Default: the pipeline's own.
    seam_contact : float
        See :func:`core.vectors.seams.merge`; above 0 for answers that tell touching objects apart.
    """
    layout, work_grid, target = layout or Column(), plan.work_grid, plan.target
    crops = layout.crops(plan)
    tiling = layout.tiling(plan, crops)

    def segment(tile: Tile) -> TileResult | None:
        canvas = layout.canvas(crops, work_grid, tile)
        if canvas is None:
            return None
        rng = np.random.default_rng([plan.settings.seed, tile.row, tile.column])
        result = TileResult(tile, answer(canvas, segmenter, target, rng))
        valid = np.ones(result.segmentation.found.shape, bool)
        return labelled(result, plan.example, work_grid, valid, target.smooth_radius)

    observer = Observer()
    objects, _ = find_objects(plan, tiling, segment, seam_contact, observer)
    return to_candidates(plan, objects, segmenter.name, observer)


def voting(strategy: Strategy, runs: int) -> Answer:
    """Make an answer of one of the pipeline's strategies; of none that parts what it finds into objects."""
    if strategy.separates:
        raise InputError(f"{strategy.name!r} parts objects, which is not done here. Take another strategy.")

    def answer(
        canvas: Canvas, segmenter: Segmenter, target: Target, rng: np.random.Generator
    ) -> Segmentation:
        prompts = strategy.place(canvas, runs, rng)
        embedding = segmenter.encode(canvas.image)
        decoded = segmenter.decode(embedding, prompts.points_canvas, prompts.labels)
        score_map = combine(decoded, embedding, canvas)
        valid = canvas.tile_part(canvas.query)
        found = threshold(score_map.score, valid, target.smooth_radius)
        return Segmentation(score_map.score, found, score_map.similarity, score_map.iou_pred)

    return answer
