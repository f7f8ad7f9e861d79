"""Click grouping: found pixels are parted into objects by clicks whose masks contain each other.

The score map of the group prompts is one mask for a whole row of touching roofs. A
click alone tells little about what is wanted, but much about which pixels
belong together. So every larger patch of found pixels is clicked at several places
and the clicks are grouped: two belong to one object where the mask of each
contains the other. GF-SAM (Zhang et al., NeurIPS 2024) builds its clusters
on the same relation, "a mask covers a point"; there it is for choosing masks,
here for parting a mask that is known. Average linkage keeps one mask that runs
over a border from joining two objects.

All arrays are in the query tile's pixels (``_tile``) but for the prompts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from core.canvas.stitch import Canvas
from core.instances.watershed import grow_markers
from core.sam.answers import Embedding
from core.sam.geometry import LOGIT_STRIDE
from core.sam.segmenter import Segmenter

SPACING = 0.4  # between clicks, as a share of the side of a square of the example's area
LEAST_SPACING = 10.0  # canvas pixels: closer clicks give the same masks
LEAST_DEPTH = 3.0  # canvas pixels between a click and the patch's border, where there is room
# Mean mutual probability below which groups of clicks are different objects. Low, since a click on a large
# roof is often answered with a part of it.
APART = 0.1
SIZE_SPREAD = 1.2  # of the logarithm of area, mask against example: how much other sizes are doubted
SMALLEST = 0.04  # of the example's area: smaller parts go to their neighbour


def separate_by_clicks(
    segmenter: Segmenter,
    embedding: Embedding,
    canvas: Canvas,
    found: np.ndarray,
    *,
    example_area: float,
    budget: int,
    cancelled: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """Part a tile's found pixels into objects by grouped clicks.

    Parameters
    ----------
    segmenter, embedding, canvas
        The network, and the canvas that shows the tile as it is.
    found : ndarray of bool, shape (h, w)
    example_area : float
        The example's area in canvas pixels.
    budget : int
        The most clicks.

    Returns
    -------
    ndarray of int32, shape (h, w)
        0 where nothing is found, else the object's number; every object is connected.
    """
    patches, count = ndimage.label(found)
    if count == 0:
        return patches.astype(np.int32)
    side = np.sqrt(example_area)
    clicks_tile, patch_of = place_clicks(patches, max(SPACING * side, LEAST_SPACING), budget)
    probability = _answers(segmenter, embedding, canvas, clicks_tile, example_area, cancelled)
    labels, next_label = np.zeros(found.shape, np.int32), 1
    for number, box in enumerate(ndimage.find_objects(patches), start=1):
        own = np.flatnonzero(patch_of == number)
        patch = patches[box] == number
        parts = patch.astype(np.int32)
        if len(own) > 1:
            groups = group_clicks(_at(probability[own], clicks_tile[own]))
            beliefs = _group_means(probability[own], groups)
            parts = _assign(_window(beliefs, box), patch, SMALLEST * example_area)
        labels[box][patch] = parts[patch] + next_label - 1
        next_label += int(parts.max())
    return labels


def place_clicks(patches: np.ndarray, spacing: float, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """Place clicks on a hexagonal grid inside the patches that have room for two or more.

    Parameters
    ----------
    patches : ndarray of int, shape (h, w)
    spacing : float
        In pixels; widened until no more than ``budget`` clicks are left.

    Returns
    -------
    clicks_tile : ndarray of float, shape (N, 2)
        x, y at pixel centres.
    patch_of : ndarray of int, shape (N,)
        The patch that each click lies in.
    """
    depth = ndimage.distance_transform_edt(patches)
    while True:
        rows, columns = _hexagonal(patches.shape, spacing)
        inside = depth[rows, columns] >= LEAST_DEPTH
        rows, columns = rows[inside], columns[inside]
        patch_of = patches[rows, columns]
        several = np.bincount(patch_of, minlength=patches.max() + 1)[patch_of] > 1
        if several.sum() <= budget:
            clicks_tile = np.stack([columns, rows], axis=1)[several] + 0.5
            return clicks_tile, patch_of[several]
        spacing *= 1.15


def _hexagonal(shape: tuple[int, int], spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a hexagonal grid's points."""
    rows, columns = [], []
    for index, y in enumerate(np.arange(spacing / 2, shape[0], spacing * np.sqrt(3) / 2)):
        x = np.arange(spacing / (1 if index % 2 else 2), shape[1], spacing)
        rows.append(np.full(len(x), int(y)))
        columns.append(x.astype(int))
    return np.concatenate(rows or [np.zeros(0, int)]), np.concatenate(columns or [np.zeros(0, int)])


def _answers(
    segmenter: Segmenter,
    embedding: Embedding,
    canvas: Canvas,
    clicks_tile: np.ndarray,
    example_area: float,
    cancelled: Callable[[], bool],
) -> np.ndarray:
    """Probability (N, rows, columns), at stride 4, of the mask that each click most likely means.

    Of the three masks (part, whole, whole of wholes) it is the one that SAM is
    surest of, doubted by how far its area is from the example's.
    """
    column = canvas.column // LOGIT_STRIDE
    height, width = (-(-side // LOGIT_STRIDE) for side in canvas.image.shape[:2])
    if len(clicks_tile) == 0:
        return np.zeros((0, height, width - column), np.float32)
    points = (clicks_tile + np.array([canvas.column, 0]))[:, None]
    decoded = segmenter.decode(
        embedding, points, np.ones(points.shape[:2]), multimask=True, cancelled=cancelled
    )
    logits = decoded.logits[:, :, :height, column:width]
    area = (logits > 0).sum((2, 3)) * LOGIT_STRIDE**2
    doubt = np.exp(-0.5 * (np.log(np.maximum(area, 1) / example_area) / SIZE_SPREAD) ** 2)
    chosen = (np.clip(decoded.iou_pred, 0, 1) * doubt).argmax(axis=1)
    return 1 / (1 + np.exp(-logits[np.arange(len(chosen)), chosen]))


def _at(probability: np.ndarray, clicks_tile: np.ndarray) -> np.ndarray:
    """Probability (N, N) of each mask at each click."""
    columns, rows = (clicks_tile // LOGIT_STRIDE).astype(int).T
    return probability[:, rows, columns]


def group_clicks(covered: np.ndarray) -> np.ndarray:
    """Group clicks whose masks contain each other.

    Parameters
    ----------
    covered : ndarray, shape (N, N)
        Probability of click i's mask at click j.

    Returns
    -------
    ndarray of int, shape (N,)
        Group of each click, from 0.
    """
    mutual = np.sqrt(covered * covered.T)
    np.fill_diagonal(mutual, 1)
    tree = linkage(squareform(1 - mutual, checks=False), method="average")
    return fcluster(tree, 1 - APART, criterion="distance") - 1


def _group_means(probability: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean probability (G, rows, columns) of each group's masks."""
    return np.stack([probability[groups == group].mean(axis=0) for group in range(groups.max() + 1)])


def _window(beliefs: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """Beliefs (G, h, w) enlarged bilinearly to a window of the tile."""
    rows, columns = ((np.arange(part.start, part.stop) + 0.5) / LOGIT_STRIDE - 0.5 for part in box)
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([ndimage.map_coordinates(b, grid, order=1, mode="nearest") for b in beliefs])


def _assign(beliefs: np.ndarray, patch: np.ndarray, smallest: float) -> np.ndarray:
    """Give each pixel of a patch to a group: connected parts, none smaller than ``smallest`` pixels."""
    winner = np.where(patch, beliefs.argmax(axis=0) + 1, 0)
    parts, count = np.zeros(patch.shape, np.int32), 0
    for group in range(1, len(beliefs) + 1):
        pieces, _ = ndimage.label(winner == group)
        areas = np.bincount(pieces.ravel())
        areas[0] = 0
        # one object is one piece: what a mask claims elsewhere goes to whoever is next to it
        if areas.max(initial=0) >= smallest:
            count += 1
            parts[pieces == areas.argmax()] = count
    if count == 0:
        return patch.astype(np.int32)
    return grow_markers(parts, patch)
