"""Split encoding: example and query are encoded each alone, and put side by side for the decoder.

On a stitched canvas every cell of the query has seen the example, so another
example means encoding the query anew. Encoded apart, the query's embeddings are
the same for every example that leaves resolution and tiles as they are, and the
cache has them (``core.pipeline.cache``). Column and overlap come in coarse steps then, so
that examples of about the same size do leave the tiles as they are.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch

from core.canvas.stitch import MAX_COLUMN, crop_side
from core.sam.answers import ANSWERS, Embedding
from core.sam.geometry import SIDE

STEP = 64  # canvas pixels: steps of the column's width and of the overlap

Answer = TypeVar("Answer", np.ndarray, torch.Tensor)


def in_steps(length: float) -> int:
    """Round a length in canvas pixels up to a whole step, or to the widest column where that is enough."""
    stepped = math.ceil(length / STEP) * STEP
    return MAX_COLUMN if length <= MAX_COLUMN < stepped else stepped


def crop_side_in_steps(longer_side: float) -> int:
    """Side of the square crop for an example of this longer side, both in canvas pixels, in whole steps."""
    return in_steps(crop_side(longer_side))


def side_by_side(example: Embedding, query: Embedding, column: int) -> Embedding:
    """Join two embeddings as if they were of one canvas.

    Parameters
    ----------
    example, query : Embedding
        Of the example's column alone and of the query's part alone, each at the
        upper left of SAM's square.
    column : int
        The column's width in canvas pixels, whole cells.

    Returns
    -------
    Embedding
        Of a canvas as wide as both; what it lacks to SAM's square is the
        query's padding.
    """

    def joined(left: Answer, right: Answer) -> Answer:
        width = left.shape[-1]
        place = column * width // SIDE
        parts = left[..., :place], right[..., : width - place]
        return torch.cat(parts, dim=-1) if isinstance(left, torch.Tensor) else np.concatenate(parts, axis=-1)

    answers = {
        name: joined(there, getattr(query, name))
        for name in ANSWERS
        if (there := getattr(example, name)) is not None
    }
    height, width = query.shape_canvas
    return Embedding(joined(example.features, query.features), (height, column + width), **answers)
