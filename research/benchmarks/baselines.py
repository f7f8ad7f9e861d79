"""What the pipeline is compared with: two published ways to prompt SAM, and two answers that need no SAM.

``persam``
    After *Personalize Segment Anything Model with One Shot* (arXiv 2305.03048),
    without its finetuning and its patched decoder: one prototype, the mean of
    the embedding inside the example; one positive point where the query is
    most like it, one negative point where it is least. That finds one object;
    for all of them it is repeated with what was found taken out, as its author
    advises, until nothing is like the example any more.
``automatic``
    Segment-anything's automatic masks, kept where their mean embedding is like
    the example's.

Both see the pipeline's canvas, and what they find goes through its own tracing,
merging and filters. Similarity is the cosine to the prototype, on a scale of the
image's own: 0 at the query's least similar place, 1 at the example itself.
"""

from __future__ import annotations

import dataclasses

import geopandas as gpd
import numpy as np
import shapely
from segment_anything import SamAutomaticMaskGenerator

from core.canvas.stitch import FILL, Canvas
from core.sam.answers import Embedding
from core.sam.geometry import CELL, SIDE
from core.sam.segmenter import Segmenter
from core.targets import Target
from core.voting.score_map import Segmentation
from research.benchmarks.masks import canvas_masks, parted, smoothed
from research.benchmarks.tiles import Answer

# Of the way from the query's least similar place to the example: where both baselines stop. On the
# training images, cells above it overlap best with the truth (best at 0.7 for buildings, 0.9 for vehicles).
CUT = 0.75
MOST_OBJECTS = 300  # per tile, so that a blind model comes to an end

# The generator's defaults (0.88 and 0.95) are made for Meta's weights and large objects in photographs.
# Of 900 masks on a training tile 82 that are like the example pass these; 1 passes 0.5 and 0.7.
LEAST_IOU, LEAST_STABILITY = 0.3, 0.5
# Canvas pixels between the generator's points: half an example, so that no object of its size is missed,
# and within the 32 to 16 points per side that are usual.
LEAST_SPACING, MOST_SPACING = 32, 64
POINTS_TOGETHER = 8  # prompts decoded at once: three full-size masks each have to fit into memory
MOST_OVERLAP = 0.5  # of a mask by better ones, or it is left out


@dataclasses.dataclass(frozen=True)
class PrototypeSimilarity:
    """Cosine to the example's prototype, on the image's own scale.

    Attributes
    ----------
    cells : ndarray of float64, shape (64, 64)
        Of each embedding cell: 0 the query's least similar cell, 1 the example's mean.
    query : ndarray of float64, shape (64, 64)
        Share of each cell that is query with data.
    """

    cells: np.ndarray
    query: np.ndarray

    @classmethod
    def of(cls, embedding: Embedding, canvas: Canvas) -> PrototypeSimilarity:
        """Measure a canvas."""
        features = embedding.features[0].float().cpu().numpy().astype(np.float64)
        unit = features / np.maximum(np.linalg.norm(features, axis=0), 1e-12)
        inside, query = on_cells(canvas.example), on_cells(canvas.query)
        prototype = (features * inside).sum((1, 2))
        prototype /= max(float(np.linalg.norm(prototype)), 1e-12)
        cosine = np.tensordot(prototype, unit, axes=1)
        own = float((cosine * inside).sum() / max(inside.sum(), 1e-12))
        low = float(cosine[query >= 0.5].min(initial=own - 1e-6))
        return cls((cosine - low) / max(own - low, 1e-6), query)

    def of_mask(self, mask_canvas: np.ndarray) -> float:
        """Similarity of what a mask holds: mean of its cells, weighted by the share it covers."""
        weights = on_cells(mask_canvas)
        return float((self.cells * weights).sum() / max(weights.sum(), 1e-12))


def on_cells(mask_canvas: np.ndarray) -> np.ndarray:
    """Share of each embedding cell that a canvas mask covers, shape (64, 64)."""
    full = np.zeros((SIDE, SIDE))
    full[: mask_canvas.shape[0], : mask_canvas.shape[1]] = mask_canvas
    return full.reshape(SIDE // CELL, CELL, SIDE // CELL, CELL).mean((1, 3))


def persam(canvas: Canvas, segmenter: Segmenter, target: Target, _: np.random.Generator) -> Segmentation:
    """PerSAM's points, again and again with what was found taken out."""
    embedding = segmenter.encode(canvas.image)
    similarity = PrototypeSimilarity.of(embedding, canvas)
    free = similarity.query >= 0.5
    if not free.any():
        return _segmentation(canvas, [], similarity)
    negative = _centre_of(np.argmin(np.where(free, similarity.cells, np.inf)))
    found: list[tuple[np.ndarray, float, float]] = []
    for _ in range(MOST_OBJECTS):
        best = int(np.argmax(np.where(free, similarity.cells, -np.inf)))
        if not free.flat[best] or similarity.cells.flat[best] < CUT:
            break
        points = np.array([[_centre_of(best), negative]])
        decoded = segmenter.decode(embedding, points, np.array([[1, 0]]))
        mask = canvas_masks(decoded.logits[:, 0], canvas.image.shape[:2])[0]
        found.append((mask, float(similarity.cells.flat[best]), float(decoded.iou_pred[0, 0])))
        free &= on_cells(mask) < 0.5
        free.flat[best] = False
    return _segmentation(canvas, _without_overlap(found, canvas, target), similarity)


def automatic(canvas: Canvas, segmenter: Segmenter, target: Target, _: np.random.Generator) -> Segmentation:
    """Segment-anything's automatic masks that are like the example and of a size with it."""
    similarity = PrototypeSimilarity.of(segmenter.encode(canvas.image), canvas)
    image = np.empty((SIDE, SIDE, 3), np.uint8)  # a smaller canvas would be enlarged by the predictor
    image[:] = FILL
    image[: canvas.image.shape[0], : canvas.image.shape[1]] = canvas.image
    generator = SamAutomaticMaskGenerator(
        segmenter.sam,
        points_per_side=None,
        point_grids=[_query_grid(canvas) / SIDE],
        points_per_batch=POINTS_TOGETHER,
        pred_iou_thresh=LEAST_IOU,
        stability_score_thresh=LEAST_STABILITY,
    )
    example = canvas.example.sum() / max(len(canvas.copies), 1)
    smallest, largest = (ratio * example for ratio in target.area_ratio)
    kept = []
    for one in generator.generate(image):
        mask = one["segmentation"][: canvas.image.shape[0], : canvas.image.shape[1]]
        if not smallest <= one["area"] <= largest or (mask & canvas.query).sum() < 0.5 * one["area"]:
            continue
        if (alike := similarity.of_mask(mask)) >= CUT:
            kept.append((mask, alike, one["predicted_iou"]))
    kept.sort(key=lambda each: -each[1] * each[2])
    return _segmentation(canvas, _without_overlap(kept, canvas, target), similarity)


BASELINES: dict[str, Answer] = {"persam": persam, "automatic": automatic}


def everything(extent_map: tuple[float, float, float, float], crs: object) -> gpd.GeoDataFrame:
    """The answer that everything is one of them: its IoU is the coverage."""
    return gpd.GeoDataFrame(geometry=[shapely.box(*extent_map)], crs=crs)


def nothing(_: tuple[float, float, float, float], crs: object) -> gpd.GeoDataFrame:
    """The answer that there is none."""
    return gpd.GeoDataFrame(geometry=[], crs=crs)


TRIVIAL = {"everything": everything, "nothing": nothing}


def _centre_of(cell: int) -> tuple[float, float]:
    """x, y of an embedding cell's centre in canvas pixels."""
    row, column = divmod(int(cell), SIDE // CELL)
    return (column + 0.5) * CELL, (row + 0.5) * CELL


def _query_grid(canvas: Canvas) -> np.ndarray:
    """The generator's points on the query tile, x and y in canvas pixels."""
    height, width = canvas.image.shape[:2]
    example = np.sqrt(canvas.example.sum() / max(len(canvas.copies), 1))
    spacing = float(np.clip(example / 2, LEAST_SPACING, MOST_SPACING))
    x = np.arange(canvas.column + spacing / 2, width, spacing)
    y = np.arange(spacing / 2, height, spacing)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _without_overlap(
    found: list[tuple[np.ndarray, float, float]], canvas: Canvas, target: Target
) -> list[tuple[np.ndarray, float, float]]:
    """Masks on the tile, smoothed as the pipeline's; earlier ones keep what they share with later ones."""
    taken = np.zeros(canvas.tile_part(canvas.query).shape, bool)
    kept = []
    for mask, alike, iou_pred in found:
        on_tile = smoothed(canvas.tile_part(mask & canvas.query), target.smooth_radius)
        own = on_tile & ~taken
        if not own.any() or own.sum() < (1 - MOST_OVERLAP) * on_tile.sum():
            continue
        taken |= own
        kept.append((own, alike, iou_pred))
    return kept


def _segmentation(
    canvas: Canvas, found: list[tuple[np.ndarray, float, float]], similarity: PrototypeSimilarity
) -> Segmentation:
    """Make a segmentation of instances, each with its similarity as score."""
    shape = canvas.tile_part(canvas.query).shape
    labels, share = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for number, (mask, alike, _) in enumerate(found, start=1):
        labels[mask], share[mask] = number, np.clip(alike, 0, 1)
    cells = np.kron(similarity.cells, np.ones((CELL, CELL), np.float32))
    similarity = cells[: canvas.image.shape[0], : canvas.image.shape[1]].astype(np.float32)
    return Segmentation(
        score=share,
        found=parted(labels),
        similarity=np.ascontiguousarray(canvas.tile_part(similarity)),
        iou_pred=float(np.mean([each[2] for each in found])) if found else 0.0,
    )
