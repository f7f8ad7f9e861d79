"""The canvas: the one image that SAM sees, example column and query tile stitched.

All coordinates are continuous: pixel ``i`` of any frame spans ``[i, i + 1)``.
Frames, by suffix: ``_canvas`` canvas pixels; ``_example`` pixels of an example
crop; ``_tile`` pixels of the query tile. All three have the same ground size;
parts are moved, turned and mirrored on the canvas, never scaled.

The lecture stitches two equal halves (Vora and Saha, section 3). Ours is a
column just wide enough for the example, filled by repeating the example in the
eight orientations of the square, so that no part of SAM's square is padding and
the example is shown as often as there is room.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from affine import Affine
from scipy import ndimage

from core.sam.geometry import CELL, SIDE

MAX_COLUMN = SIDE // 3 // CELL * CELL
RING_GAP, RING_WIDTH = 2, 6  # canvas pixels: drawn outlines are inexact, so a gap before the ring
FILL = np.array([124, 116, 104], np.uint8)  # SAM's mean colour, rounded: nothing after normalisation


@dataclasses.dataclass(frozen=True)
class Crop:
    """A square crop of the example's raster around one example polygon.

    Attributes
    ----------
    image : ndarray of uint8, shape (S, S, 3)
    mask : ndarray of bool, shape (S, S)
        The example polygon.
    valid : ndarray of bool, shape (S, S)
        False where the raster has no data.
    others : ndarray of bool, shape (S, S), optional
        The other example polygons: they are wanted, too.
    """

    image: np.ndarray
    mask: np.ndarray
    valid: np.ndarray
    others: np.ndarray | None = None

    @functools.cached_property
    def ring(self) -> np.ndarray:
        """The ring around the polygon, without nodata and other examples, shape (S, S)."""
        ring = ring_around(self.mask) & self.valid
        return ring if self.others is None else ring & ~self.others


@dataclasses.dataclass(frozen=True)
class Copy:
    """One showing of a crop in the column: which crop, and where its pixels went."""

    crop: int
    canvas_from_example: Affine


@dataclasses.dataclass(frozen=True)
class Canvas:
    """One stitched image and the way back.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3), H and W at most 1024
    example : ndarray of bool, shape (H, W)
        The example polygon in every whole copy.
    ring : ndarray of bool, shape (H, W)
        A close ring around each copy's polygon: known not to be the example.
    query : ndarray of bool, shape (H, W)
        The query tile's pixels that hold data.
    copies : tuple of Copy
    canvas_from_tile : Affine
        A translation by the column's width.
    """

    image: np.ndarray
    example: np.ndarray
    ring: np.ndarray
    query: np.ndarray
    copies: tuple[Copy, ...]
    canvas_from_tile: Affine

    @property
    def column(self) -> int:
        """Width of the example column in canvas pixels."""
        return round(self.canvas_from_tile.c)

    def tile_part(self, canvas_array: np.ndarray) -> np.ndarray:
        """Cut the query tile out of an array in canvas pixels (a view)."""
        return canvas_array[..., self.column :]


def crop_side(longer_side_example: float) -> int:
    """Side of the square crop for an example of this longer side, in pixels.

    The surroundings are three tenths of the object on every side, 16 pixels at
    least: enough to show what it stands on, close enough that few of its
    unlabelled neighbours come along.
    """
    margin = min(max(0.3 * longer_side_example, 16.0), 64.0)
    return math.ceil((longer_side_example + 2 * margin) / CELL) * CELL


def orientations(side: int) -> list[tuple[int, bool, Affine]]:
    """The square's eight orientations: quarter turns, mirrored or not, and their affine maps.

    Each maps continuous pixel coordinates of a ``side`` x ``side`` image to those
    of ``np.rot90(image, turns)``, mirrored left to right where it says so.
    """
    quarter = Affine(0, 1, 0, -1, 0, side)  # np.rot90: column = old row, row = side - old column
    mirror = Affine(-1, 0, side, 0, 1, 0)
    found = []
    for mirrored in (False, True):
        turned = Affine.identity()
        for turns in range(4):
            found.append((turns, mirrored, mirror @ turned if mirrored else turned))
            turned = quarter @ turned
    return found


def _oriented(array: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    turned = np.rot90(array, turns)
    return turned[:, ::-1] if mirrored else turned


def ring_around(mask: np.ndarray) -> np.ndarray:
    """Ring of ``RING_WIDTH`` pixels around a mask, ``RING_GAP`` pixels away from it."""
    distance = ndimage.distance_transform_edt(~mask)
    return (distance > RING_GAP) & (distance <= RING_GAP + RING_WIDTH)


def shown_in_turn(crops: list[Crop], height: int, showing: int) -> list[Crop]:
    """The crops in the order of a showing: where the column is too short for all, others come first.

    Parameters
    ----------
    height : int
        Of the column in canvas pixels.
    showing : int
        Number of the showing, from 0.
    """
    whole = max(1, height // crops[0].image.shape[0])
    if len(crops) <= whole:
        return crops
    first = showing * whole % len(crops)
    return crops[first:] + crops[:first]


def stitch(crops: list[Crop], tile: np.ndarray, tile_valid: np.ndarray) -> Canvas:
    """Stitch example crops and a query tile into one canvas.

    Parameters
    ----------
    crops : list of Crop
        All of one side S, a multiple of 16.
    tile : ndarray of uint8, shape (h, w, 3)
        The query, h at least S.
    tile_valid : ndarray of bool, shape (h, w)

    Returns
    -------
    Canvas
        Of shape (h, S + w). The column holds the crops in turn, each time in
        the next orientation; a last copy that does not fit is cut off, and
        shown to SAM but not prompted.
    """
    side = crops[0].image.shape[0]
    height, width = tile.shape[:2]
    image = np.full((height, side + width, 3), FILL, np.uint8)
    example = np.zeros(image.shape[:2], bool)
    ring, query = example.copy(), example.copy()
    image[:, side:] = tile
    image[:, side:][~tile_valid] = FILL
    query[:, side:] = tile_valid
    turns_of = orientations(side)
    copies = []
    for number, top in enumerate(range(0, height, side)):
        index = number % len(crops)
        crop = crops[index]
        turns, mirrored, oriented_from_example = turns_of[number // len(crops) % len(turns_of)]
        rows = slice(top, min(top + side, height))
        shown = slice(0, rows.stop - top)
        pixels = np.where(crop.valid[..., None], crop.image, FILL)
        image[rows, :side] = _oriented(pixels, turns, mirrored)[shown]
        if top + side <= height:
            example[rows, :side] = _oriented(crop.mask, turns, mirrored)
            ring[rows, :side] = _oriented(crop.ring, turns, mirrored)
            copies.append(Copy(index, Affine.translation(0, top) @ oriented_from_example))
    return Canvas(image, example, ring, query, tuple(copies), Affine.translation(side, 0))
