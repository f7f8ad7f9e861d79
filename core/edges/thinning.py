"""Thin edges to one pixel: non-maximum suppression across their direction."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

WIDTH = 1.5  # canvas pixels: edges closer than about twice that become one

HALO = 6  # canvas pixels that a thinned pixel depends on, in all directions

SHIFT = 0.02  # canvas pixels

TIE = 0.002  # canvas pixels: two neighbours' readings of one crest differ by a thousandth beside their limit


@dataclasses.dataclass(frozen=True)
class Crests:
    """The pixels that thinning leaves, row by row.

    Attributes
    ----------
    rows, columns : ndarray of int
    strength : ndarray of float32
        As it was before thinning.
    x, y : ndarray of float64
        Where within or beside its pixel the crest runs: continuous pixel
        coordinates, half a pixel from the centre at most.
    """

    rows: np.ndarray
    columns: np.ndarray
    strength: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def joined(cls, parts: list[Crests]) -> Crests:
        """Put the pixels of several pieces into one; of none, an empty one."""
        fields = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts] or [[]]) for name in fields))

    def where(self, kept: np.ndarray) -> Crests:
        """Those that an array of bool says."""
        return Crests(*(getattr(self, field.name)[kept] for field in dataclasses.fields(self)))

    def moved(self, columns: int, rows: int) -> Crests:
        """The same in a frame whose origin lies this many pixels further left and up."""
        return Crests(
            self.rows + rows, self.columns + columns, self.strength, self.x + columns, self.y + rows
        )

    def within(self, left: int, top: int, width: int, height: int) -> Crests:
        """Those in a box of the frame, in the frame of that box."""
        inside = (self.columns >= left) & (self.columns < left + width)
        inside &= (self.rows >= top) & (self.rows < top + height)
        return self.where(inside).moved(-left, -top)


def crests(strength: np.ndarray) -> Crests:
    """Thin edges to one pixel: non-maximum suppression across their direction.

    The paper thins with Canny's suppression, which reads the direction off a
    picture's gradient. Strength is a ridge, not a picture, so direction and top
    come from its derivatives, after Steger, *An Unbiased Detector of Curvilinear
    Structures* (1998); no value between pixels is needed, and none is guessed.

    Parameters
    ----------
    strength : ndarray of float32, shape (H, W)
        A pixel depends on no pixel further away than ``HALO``.
    """
    rows, columns = np.nonzero(strength > 0)
    value, y, x, yy, xx, xy = (
        ndimage.gaussian_filter(strength, WIDTH, order=order, mode="constant", radius=HALO)[rows, columns]
        for order in (0, (1, 0), (0, 1), (2, 0), (0, 2), (1, 1))
    )
    # Across the crest: the way in which strength bends down most, always the same of its two ways.
    across = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    dx, dy = np.cos(across), np.sin(across)
    turned = np.where((dx < -1e-6) | ((np.abs(dx) <= 1e-6) & (dy < 0)), -1.0, 1.0)
    dx, dy = dx * turned, dy * turned
    # The way to the top in pixels, as if the logarithm were a parabola: of a blurred line it is one.
    slope = (x * dx + y * dy) / value
    bend = (xx * dx * dx + 2 * xy * dx * dy + yy * dy * dy) / value - slope**2
    top = -slope / np.where(bend < 0, bend, -np.inf)
    # One pixel per row or column that the crest crosses: the one within whose half pixel it crosses it.
    # The limits are shifted a little: an outline's two pixels are equal, and rounding must not choose.
    half = 0.5 * np.maximum(np.abs(dx), np.abs(dy))
    kept = (bend < 0) & (top > SHIFT - half) & (top <= SHIFT + half)
    # The two read the crest a little differently: where it runs along the limit, both may claim it.
    claimed = np.zeros(strength.shape, bool)
    at_start = kept & (top <= SHIFT - half + TIE)
    claimed[rows[at_start], columns[at_start]] = True
    wide = np.abs(dx) >= np.abs(dy)
    next_rows = np.clip(rows + np.where(wide, 0, np.sign(dy)).astype(int), 0, strength.shape[0] - 1)
    next_columns = np.clip(columns + np.where(wide, np.sign(dx), 0).astype(int), 0, strength.shape[1] - 1)
    kept &= ~((top > SHIFT + half - TIE) & claimed[next_rows, next_columns])
    rows, columns, top, dx, dy = rows[kept], columns[kept], top[kept], dx[kept], dy[kept]
    return Crests(
        rows,
        columns,
        strength[rows, columns],
        columns + 0.5 + top * dx,
        rows + 0.5 + top * dy,
    )


def thinned(strength: np.ndarray) -> np.ndarray:
    """Strength on the crests, 0 elsewhere; shape as given."""
    found = crests(strength)
    thin = np.zeros_like(strength)
    thin[found.rows, found.columns] = found.strength
    return thin
