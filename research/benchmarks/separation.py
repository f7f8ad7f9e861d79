"""How well the embedding tells an object from its surroundings: by its similarity to another of its kind.

Cells of the embedding are 16 x 16 canvas pixels (``_cells``).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import mannwhitneyu

from core.sam.answers import Embedding
from core.sam.geometry import CELL
from research.benchmarks.clicks import View

SURELY = 0.9  # share of a cell's pixels from which on the cell is one or the other


def prototype(embedding: Embedding, view: View) -> np.ndarray | None:
    """Mean embedding (C,) of the object's cells, of length 1; None where it fills no cell."""
    features = _unit(embedding)
    inside = _cells(view.inside)
    if not inside.any():
        return None
    mean = features[:, inside].mean(axis=1)
    return mean / np.linalg.norm(mean)


def separation(other: np.ndarray, embedding: Embedding, view: View) -> float | None:
    """Area under the curve of the cosine to another object's prototype.

    Parameters
    ----------
    other : ndarray, shape (C,)
        The prototype of another object of the same kind.

    Returns
    -------
    float or None
        The chance that a cell of this object is more like the other one than a
        cell of the surroundings is: 0.5 tells nothing, 1 tells all. The
        surroundings reach as far as the object is long; other objects of the
        kind are no part of them. None where one of the two fills no cell.
    """
    around = view.outside & _surroundings(view)
    if view.others is not None:
        around &= ~view.others
    inside, beside = _cells(view.inside), _cells(around)
    if not inside.any() or not beside.any():
        return None
    cosine = np.tensordot(other, _unit(embedding), axes=1)
    wins = mannwhitneyu(cosine[inside], cosine[beside]).statistic
    return float(wins / (inside.sum() * beside.sum()))


def _unit(embedding: Embedding) -> np.ndarray:
    features = embedding.features[0].float().cpu().numpy()
    return features / np.maximum(np.linalg.norm(features, axis=0), 1e-12)


def _cells(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    return mask.reshape(height // CELL, CELL, width // CELL, CELL).mean(axis=(1, 3)) >= SURELY


def _surroundings(view: View) -> np.ndarray:
    x0, y0, x1, y1 = view.box_canvas
    reach = max(x1 - x0, y1 - y0)
    near = np.zeros(view.inside.shape, bool)
    rows, columns = (slice(max(0, int(low - reach)), int(high + reach)) for low, high in ((y0, y1), (x0, x1)))
    near[rows, columns] = True
    return near
