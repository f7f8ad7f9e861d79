"""Encode a tile's canvases, and remember what was encoded before."""

from __future__ import annotations

import numpy as np

from core.canvas.stitch import Canvas
from core.pipeline.cache import Cache, digest, usable_cache
from core.pipeline.split_encoding import side_by_side
from core.sam.answers import ANSWERS, Embedding
from core.sam.segmenter import Segmenter


class CanvasEncoder:
    """Encodes example and query together, as one image.

    Parameters
    ----------
    segmenter : Segmenter
    cache : Cache, optional
        Default: nothing is remembered.
    """

    def __init__(self, segmenter: Segmenter, cache: Cache | None):
        self._segmenter = segmenter
        self._cache = usable_cache(cache, segmenter)

    def encode(self, canvas: Canvas) -> Embedding:
        """Encode a canvas, or take its embedding from the cache."""
        return self._encode_image(canvas.image)

    def _encode_image(self, image_canvas: np.ndarray) -> Embedding:
        segmenter = self._segmenter
        if self._cache is None:
            return segmenter.encode(image_canvas)
        key = digest("embedding", segmenter.identity, image_canvas)
        if (stored := self._cache.get(key)) is not None:
            return segmenter.embedding_of(shape_canvas=image_canvas.shape[:2], **stored)
        embedding = segmenter.encode(image_canvas)
        arrays = {"features": embedding.features.cpu().numpy()}
        arrays |= {name: there for name in ANSWERS if (there := getattr(embedding, name)) is not None}
        self._cache.put(key, arrays)
        return embedding


class SplitEncoder(CanvasEncoder):
    """Encodes example and query each alone (:mod:`core.pipeline.split_encoding`).

    Parameters
    ----------
    segmenter : Segmenter
    cache : Cache, optional
    views : int
        How many columns are kept in memory: those of one tile's augmented views serve all tiles.
    """

    def __init__(self, segmenter: Segmenter, cache: Cache | None, views: int):
        super().__init__(segmenter, cache)
        self._views = views
        self._columns: dict[bytes, Embedding] = {}

    def encode(self, canvas: Canvas) -> Embedding:
        """Encode the two parts of a canvas, and put them side by side."""
        column, query = (
            np.ascontiguousarray(part) for part in np.split(canvas.image, [canvas.column], axis=1)
        )
        key = column.tobytes()
        if key not in self._columns:
            while len(self._columns) >= self._views:
                self._columns.pop(next(iter(self._columns)))  # the oldest
            self._columns[key] = self._encode_image(column)
        return side_by_side(self._columns[key], self._encode_image(query), canvas.column)
