"""Colours of real places for pictures of other places, so that colours alone tell nothing.

A style is the mean and spread of each channel in a window of a real picture; a
picture takes it on by one straight line per channel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from research.training.plates import Plate

WINDOW = 512  # pixels of a real picture whose colours make a style
LARGEST_GAIN = 1.8  # more would show the steps of 8 bits


@dataclass(frozen=True)
class Style:
    """Mean and standard deviation of the three channels, 0 to 255."""

    mean: np.ndarray
    spread: np.ndarray


def style_of(image: np.ndarray) -> Style:
    """Style of a picture (H, W, 3)."""
    pixels = image[::4, ::4].reshape(-1, 3).astype(np.float32)
    return Style(pixels.mean(axis=0), pixels.std(axis=0) + 1)


def styles_of(plates: list[Plate]) -> list[Style]:
    """Styles of the windows of real plates."""
    return [
        style_of(plate.image[y : y + WINDOW, x : x + WINDOW])
        for plate in plates
        for y in range(0, plate.image.shape[0] - WINDOW // 2, WINDOW)
        for x in range(0, plate.image.shape[1] - WINDOW // 2, WINDOW)
    ]


def restyle(plate: Plate, style: Style, share: float) -> Plate:
    """The plate in another style; ``share`` 0 leaves it as it is, 1 goes all the way."""
    own = style_of(plate.image)
    gain = np.clip(style.spread / own.spread, 1 / LARGEST_GAIN, LARGEST_GAIN)
    levels = np.arange(256, dtype=np.float32)[:, None]
    there = (levels - own.mean) * gain + style.mean
    table = np.clip(levels + share * (there - levels), 0, 255).astype(np.uint8)
    return replace(plate, image=cv2.LUT(plate.image, table.reshape(1, 256, 3)))
