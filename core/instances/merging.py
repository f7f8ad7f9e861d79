"""Region merging: neighbouring pieces of a watershed that are one object after all are merged.

A border that the network sees inside a patch may be the edge of a roof or its ridge,
and in a place that it has never seen it takes many a ridge for an edge. Three features
tell the two apart: how sure the weakest spot of the border between two pieces is,
whether the network sees both pieces in one box, and how large the patch is beside the
example: a row of houses is several times as large as one house. They are weighed by a
logistic regression, which ``research.training.merging`` fits.

All arrays are in the query tile's pixels (``_tile``).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from core.sam.boxes import seen_from

# Of the features in their order: the patch's size, the border's weakest spot, the boxes' overlap.
WEIGHTS = np.array([-0.89, -5.14, 2.15])
CONSTANT = 3.93
SAME = 0.6  # probability from which on two neighbours are one object: a wrong join takes others along
LEVELS = np.arange(0.35, 0.925, 0.05)  # at which borders are looked at; what is surer counts as 1
STEP = 2  # of pixels, when borders are crossed: the network's answer has a stride of 4


@dataclasses.dataclass(frozen=True)
class Partition:
    """A tile's patches, parted into pieces along the borders that the network sees.

    Attributes
    ----------
    pieces, markers, patches : ndarray of int, shape (h, w)
        Numbers of objects so far, of their markers, which hang together, and of the connected
        patches that they lie in; 0 elsewhere.
    boundary : ndarray of float, shape (h, w)
        Probability that a border between objects, or around one, runs there.
    reach : ndarray, shape (4, h / 8, w / 8), optional
        Distances to the sides of the object's box (:mod:`core.sam.boxes`); without it nothing is merged.
    example_area : float
        The example's area in pixels.
    """

    pieces: np.ndarray
    markers: np.ndarray
    patches: np.ndarray
    boundary: np.ndarray
    reach: np.ndarray | None
    example_area: float


def merge_regions(partition: Partition) -> np.ndarray:
    """Merge touching pieces that are one object.

    Returns
    -------
    ndarray of int32, shape (h, w)
        The objects, numbered from 1 on; every object is connected.
    """
    pieces, pairs = partition.pieces, neighbours(partition.pieces)
    if partition.reach is None or not len(pairs):
        return pieces
    joined = pairs[merge_probability(features(pairs, partition)) >= SAME]
    count = int(pieces.max()) + 1
    graph = coo_matrix((np.ones(len(joined)), joined.T), shape=(count, count))
    _, groups = connected_components(graph, directed=False)  # 0, which has no neighbours, is group 0
    return groups.astype(np.int32)[pieces]


def merge_probability(values: np.ndarray) -> np.ndarray:
    """Probability (P,) that pairs with these features (P, 3) are one object."""
    return expit(values @ WEIGHTS + CONSTANT)


def neighbours(pieces: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) of numbers whose pixels touch by a side, the lower number first."""
    beside = [(pieces[:, :-1], pieces[:, 1:]), (pieces[:-1], pieces[1:])]
    found = [np.stack([one[touch], other[touch]]) for one, other in beside for touch in [_touch(one, other)]]
    return np.unique(np.sort(np.concatenate(found, axis=1), axis=0), axis=1).T


def _touch(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one != other) & (one > 0) & (other > 0)


def features(pairs: np.ndarray, partition: Partition) -> np.ndarray:
    """Measure what tells whether neighbours, pairs (P, 2) of pieces, are one object.

    Returns
    -------
    ndarray, shape (P, 3)
        Logarithm of the patch's area in examples; the weakest spot of the border between the
        pair's markers, a probability; how much of the smaller of the pair's boxes lies in the other.

    Raises
    ------
    ValueError
        Where the partition has no ``reach``.
    """
    if partition.reach is None:
        raise ValueError("without distances to box sides there is nothing to compare")
    areas, patch_of = np.bincount(partition.patches.ravel()), _first_of(partition.pieces, partition.patches)
    boxes = seen_from(partition.pieces, partition.markers, partition.reach)
    return np.stack(
        [
            np.log(areas[patch_of[pairs[:, 0]]] / partition.example_area),
            weakest_spots(pairs, partition),
            _overlap(boxes[pairs[:, 0]], boxes[pairs[:, 1]]),
        ],
        axis=1,
    )


def _first_of(pieces: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value under some pixel of each piece, by the piece's number."""
    found = np.zeros(int(pieces.max()) + 1, values.dtype)
    found[pieces] = values
    return found


def weakest_spots(pairs: np.ndarray, partition: Partition) -> np.ndarray:
    """How sure the border is where it is crossed most easily from marker to marker.

    Returns
    -------
    ndarray, shape (P,)
        The lowest of ``LEVELS`` below which the pixels hang together; 1 where none is.
    """
    spot = np.full(int(partition.pieces.max()) + 1, -1)
    pieces, markers, border = (
        array[::STEP, ::STEP] for array in (partition.pieces, partition.markers, partition.boundary)
    )
    inside = np.flatnonzero((markers > 0) & (pieces > 0))
    spot[pieces.ravel()[inside]] = inside
    ends = spot[pairs]
    seen = (ends >= 0).all(axis=1)
    weakest = np.ones(len(pairs))
    for level in LEVELS[::-1]:
        whole, _ = ndimage.label((pieces > 0) & (border < level))
        one, other = whole.ravel()[ends].T
        weakest[seen & (one == other) & (one > 0)] = level
    return weakest


def _overlap(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share (P,) of the smaller box that lies in the other one, of boxes (P, 4)."""
    low, high = np.maximum(some[:, :2], others[:, :2]), np.minimum(some[:, 2:], others[:, 2:])
    smaller = np.minimum(*(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (some, others)))
    return np.prod(np.clip(high - low, 0, None), axis=1) / np.maximum(smaller, 1)
