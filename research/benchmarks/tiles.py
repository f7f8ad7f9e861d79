"""The pipeline's steps with two of them open: how the canvas is laid out, and how SAM is asked.

Reading, grid, tracing, merging, measuring and the filter by size are the
pipeline's own functions, called in its order, so that a comparison of layouts
or of ways to prompt compares nothing else. (Unlike the pipeline it shows each
tile once, not in four mirrorings, and never segments further tiles for objects
that reach out of the extent.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import geopandas as gpd
import numpy as np
import shapely
from shapely.affinity import affine_transform

from core.canvas.example import Example
from core.canvas.prompts import Strategy
from core.canvas.stitch import Canvas
from core.canvas.tiling import Tile
from core.errors import InputError
from core.geo.raster import Raster
from core.sam.segmenter import Segmenter
from core.targets import Target
from core.vectors import attributes, polygonize, seams
from core.voting.user_labels import known, pixels_of
from core.voting.vote import Vote, combine
from research.benchmarks.layouts import Column

# Gives a tile's vote for a canvas; the random numbers are the tile's own.
Answer = Callable[[Canvas, Segmenter, Target, np.random.Generator], Vote]


@dataclasses.dataclass(frozen=True)
class Search:
    """What is looked for, where, and at which scale.

    Attributes
    ----------
    query : Raster
    example : Example
    target : Target
    resolution : float
        Ground metres per canvas pixel.
    segmenter : Segmenter
    seed : int
    seam_contact : float
        See :func:`core.vectors.seams.merge`; above 0 for answers that tell touching objects apart.
    """

    query: Raster
    example: Example
    target: Target
    resolution: float
    segmenter: Segmenter
    seed: int = 0
    seam_contact: float = 0.0

    def run(
        self, answer: Answer, extent_map: tuple[float, float, float, float], layout: Column | None = None
    ) -> gpd.GeoDataFrame:
        """Everything found that touches the extent and is of a size with the example.

        Parameters
        ----------
        answer : callable
        extent_map : tuple of float
            xmin, ymin, xmax, ymax in the query's CRS.
        layout : Column, optional
            Default: the pipeline's own.
        """
        layout = layout or Column()
        query, example = self.query, self.example
        same_kind = example.raster.dtype == query.dtype
        crops = layout.crops(example, self.resolution, query.stretch if same_kind else None)
        grid = layout.grid(*query.size_work(self.resolution), crops, example.longer_side_m / self.resolution)
        map_from_work = query.map_from_work(self.resolution)
        extent = shapely.box(*extent_map)
        extent_work = affine_transform(extent, (~map_from_work).to_shapely())
        pieces = []
        for tile in grid.tiles():
            if not shapely.box(*tile.cell_work).intersects(extent_work):
                continue
            canvas = layout.canvas(crops, self._read, grid, tile)
            if canvas is None:
                continue
            rng = np.random.default_rng([self.seed, tile.row, tile.column])
            vote = self._known(answer(canvas, self.segmenter, self.target, rng), tile)
            pieces += polygonize.trace(vote, tile.cell_tile, tile.x_work, tile.y_work)
        example_work = example.area_m2 / self.resolution**2
        table = attributes.to_table(
            seams.merge(pieces, self.seam_contact),
            map_from_work,
            query.crs,
            largest_hole_work=self.target.largest_hole * example_work,
        )
        smallest, largest = (ratio * example.area_m2 for ratio in self.target.area_ratio)
        fits = table["area_m2"].between(smallest, largest) & table.intersects(extent)
        return table[fits].reset_index(drop=True)

    def _known(self, vote: Vote, tile: Tile) -> Vote:
        """The vote with the example found, as in the pipeline."""
        valid = np.ones(vote.found.shape, bool)
        corner_work = tile.x_work, tile.y_work
        drawn = pixels_of(self.example.polygons_px, self.query, self.resolution, corner_work, valid)
        return known(vote, drawn, smooth_px=self.target.smooth_px)

    def _read(self, x_work: int, y_work: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        return self.query.read(x_work, y_work, width, height, self.resolution)


def voting(strategy: Strategy, runs: int) -> Answer:
    """One of the pipeline's strategies as a way to ask; none that parts what it finds into objects."""
    if strategy.separates:
        raise InputError(f"{strategy.name!r} parts objects, which is not done here. Take another strategy.")

    def answer(canvas: Canvas, segmenter: Segmenter, target: Target, rng: np.random.Generator) -> Vote:
        prompts = strategy.place(canvas, runs, rng)
        embedding = segmenter.encode(canvas.image)
        decoded = segmenter.decode(embedding, prompts.points_canvas, prompts.labels)
        return combine(decoded, embedding, canvas, target.smooth_px)

    return answer
