"""Random textures, cut from a few large fields that are made once per process."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

FIELD_SIDE = 1792  # pixels; larger than any scene, so that scenes cut different windows
_SPECTRA = {
    # pixels per noise knot, and how much weaker each finer octave is
    "clouds": ((512, 256, 128, 64, 32), 0.6),
    "soil": ((64, 32, 16, 8, 4, 2), 0.85),
    "leaves": ((12, 6, 3), 1.0),
    "grain": ((3, 1), 1.2),
}


@cache
def _field(name: str) -> np.ndarray:
    """One square field of unit standard deviation."""
    pitches, decay = _SPECTRA[name]
    rng = np.random.default_rng(sum(name.encode()))
    total = np.zeros((FIELD_SIDE, FIELD_SIDE), np.float32)
    weight = 1.0
    for pitch in pitches:
        knots = FIELD_SIDE // pitch + 3
        octave = rng.standard_normal((knots, knots)).astype(np.float32)
        # cut after enlarging: the border rows of an interpolation are smoother than the rest
        octave = cv2.resize(octave, None, fx=pitch, fy=pitch, interpolation=cv2.INTER_CUBIC)
        total += weight * octave[pitch : pitch + FIELD_SIDE, pitch : pitch + FIELD_SIDE]
        weight *= decay
    return (total - total.mean()) / total.std()


def texture(rng: np.random.Generator, name: str, height: int, width: int) -> np.ndarray:
    """Cut a random window of a noise field.

    Parameters
    ----------
    rng : numpy.random.Generator
        Chooses the window and its orientation.
    name : str
        ``clouds``, ``soil``, ``leaves`` or ``grain``: from coarse to fine.
    height, width : int
        Pixels.

    Returns
    -------
    numpy.ndarray
        (height, width) float32, mean about 0, standard deviation about 1.
    """
    field = _field(name)
    y = int(rng.integers(FIELD_SIDE - height + 1))
    x = int(rng.integers(FIELD_SIDE - width + 1))
    window = field[y : y + height, x : x + width]
    flip = rng.integers(4)
    return window[:: 1 if flip & 1 else -1, :: 1 if flip & 2 else -1]
