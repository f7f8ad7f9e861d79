"""The brush: fills polygons in an image, touching only each polygon's window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from research.training.scenes.noise import texture

_SHIFT = 4  # fractional bits of polygon coordinates: 1/16 pixel
Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]


def rectangle(centre, length: float, width: float, angle: float) -> np.ndarray:
    """Corners (4, 2) of a rectangle whose length runs along ``angle`` (radians)."""
    c, s = np.cos(angle), np.sin(angle)
    half = np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2
    return half @ np.array([[c, s], [-s, c]]) + np.asarray(centre, float)


def stripes(angle: float, period: float, phase: float = 0.0) -> Pattern:
    """Pattern of soft stripes across ``angle``, -1 to 1, ``period`` in pixels."""
    ux, uy = np.cos(angle) * 2 * np.pi / period, np.sin(angle) * 2 * np.pi / period
    return lambda x, y: np.sin(x * ux + y * uy + phase)


def sheets(rng: np.random.Generator, angle: float, width: float, length: float) -> Pattern:
    """Pattern of rectangular sheets (width x length pixels), each with a level of its own, -1 to 1."""
    levels = rng.uniform(-1, 1, (61, 67)).astype(np.float32)
    c, s = np.cos(angle), np.sin(angle)

    def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along = np.floor((x * c + y * s) / width).astype(int) % 61
        across = np.floor((y * c - x * s) / length).astype(int) % 67
        return levels[along, across]

    return pattern


class Painter:
    """An image and its instance mask under construction.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    height, width : int
        Pixels.
    gsd_m : float
        Metres per pixel.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int, gsd_m: float):
        self.rng = rng
        self.height, self.width = height, width
        self.gsd_m = gsd_m
        self.image = np.zeros((height, width, 3), np.float32)
        self.instances = np.zeros((height, width), np.int32)
        self.occupied = np.zeros((height, width), np.uint8)
        self.kinds: list[int] = []

    def window(self, points: np.ndarray, margin: float = 1.0):
        """Slices (rows, columns) of the pixels around ``points``; None outside the image."""
        low = np.floor(points.min(axis=0) - margin).astype(int)
        high = np.ceil(points.max(axis=0) + margin).astype(int) + 1
        x0, y0 = max(low[0], 0), max(low[1], 0)
        x1, y1 = min(high[0], self.width), min(high[1], self.height)
        if x1 - x0 < 1 or y1 - y0 < 1:
            return None
        return slice(y0, y1), slice(x0, x1)

    def coverage(self, polygons: Sequence[np.ndarray], soft: float = 0.0, hard: bool = False, reach: int = 0):
        """Window and coverage (0 to 1) of the union of polygons; None outside the image.

        ``soft`` blurs the edge (pixels), ``hard`` switches anti-aliasing off,
        ``reach`` grows the union (pixels).
        """
        window = self.window(np.concatenate(list(polygons)), 2 + 3 * soft + reach)
        if window is None:
            return None
        rows, columns = window
        drawn = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        line = cv2.LINE_8 if hard else cv2.LINE_AA
        for polygon in polygons:
            # cv2's pixel (0, 0) has its centre at 0; here a pixel's corner is at 0
            local = polygon - [columns.start + 0.5, rows.start + 0.5]
            local = np.round(local * 2**_SHIFT).astype(np.int32)
            cv2.fillPoly(drawn, [local], 255, line, _SHIFT)
        if reach > 0:
            drawn = cv2.dilate(drawn, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        alpha = drawn.astype(np.float32) * (1 / 255)
        if soft > 0:
            alpha = cv2.GaussianBlur(alpha, (0, 0), soft)
        return window, alpha

    def fill(
        self,
        polygons: Sequence[np.ndarray],
        color,
        grain: float = 0.0,
        texture_name: str = "soil",
        pattern: Pattern | None = None,
        pattern_amplitude: float = 0.0,
        soft: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """Fill the union of polygons with a colour, a noise and a pattern (amplitudes in grey levels)."""
        covered = self.coverage(polygons, soft)
        if covered is None:
            return
        (rows, columns), alpha = covered
        level = self._level(rows, columns, grain, texture_name, pattern, pattern_amplitude)
        # brighter where it is brighter: texture scales with the colour rather than being added in grey
        color = np.asarray(color, np.float32)
        paint = color * (1 + level[..., None] * (1 / 128)) if level is not None else color
        part = self.image[rows, columns]
        part += (paint - part) * (alpha * opacity)[..., None]

    def _level(self, rows, columns, grain, texture_name, pattern, amplitude):
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        level = texture(self.rng, texture_name, *shape) * grain if grain else None
        if pattern is not None and amplitude:
            y, x = np.mgrid[rows, columns].astype(np.float32)
            drawn = pattern(x, y) * amplitude
            level = drawn if level is None else level + drawn
        return level

    def darken(self, polygons: Sequence[np.ndarray], strength: float, soft: float = 0.7) -> None:
        """Multiply the union of polygons by ``1 - strength``, slightly bluish as shadows are."""
        covered = self.coverage(polygons, soft)
        if covered is None:
            return
        (rows, columns), alpha = covered
        tint = np.array([1.0, 0.97, 0.9], np.float32) * strength
        self.image[rows, columns] *= 1 - alpha[..., None] * tint

    def free(self, polygons: Sequence[np.ndarray], gap_m: float = 0.0) -> bool:
        """Whether nothing is registered within ``gap_m`` of the polygons, and they touch the image.

        Without a gap a rim of shared pixels is allowed: neighbours that stand wall to wall.
        """
        covered = self.coverage(polygons, hard=True, reach=round(gap_m / self.gsd_m))
        if covered is None or not covered[1].any():
            return False
        inside = covered[1] > 0
        shared = np.count_nonzero(self.occupied[covered[0]][inside])
        return shared <= (0.0 if gap_m > 0 else 0.15 * np.count_nonzero(inside))

    def occupy(self, polygons: Sequence[np.ndarray]) -> None:
        """Register the polygons' pixels as taken."""
        covered = self.coverage(polygons, hard=True)
        if covered is not None:
            window, alpha = covered
            self.occupied[window][alpha > 0] = 1

    def label(self, polygons: Sequence[np.ndarray], kind: int) -> int:
        """Give the polygons' pixels a new instance id (0 where nothing lies in the image)."""
        covered = self.coverage(polygons)
        if covered is None or not (covered[1] > 0.5).any():
            return 0
        self.kinds.append(kind)
        window, alpha = covered
        self.instances[window][alpha > 0.5] = len(self.kinds)
        return len(self.kinds)


def swept(polygon: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Convex hull of a convex polygon and its copy at ``offset``: the shadow of a prism."""
    both = np.concatenate([polygon, polygon + offset]).astype(np.float32)
    return cv2.convexHull(both)[:, 0, :].astype(float)
