"""What a camera, a mosaic and a compressor do to a scene."""

from __future__ import annotations

import cv2
import numpy as np


def expose(rng: np.random.Generator, image: np.ndarray, rough: bool = True) -> np.ndarray:
    """Float scene to uint8 picture: light, colour cast, blur, noise, compression.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    image : numpy.ndarray
        (H, W, 3) float32, 0 to 255.
    rough : bool
        False for a good camera only: slight blur and noise, no cast, no JPEG.
    """
    if rough:
        image = image * rng.uniform(0.75, 1.25) * (1 + rng.normal(0, 0.05, 3)).astype(np.float32)
        contrast = rng.uniform(0.75, 1.3)
        image = (image - 118) * np.float32(contrast) + np.float32(118 + rng.normal(0, 10))
        if rng.random() < 0.5:
            grey = image.mean(axis=2, keepdims=True)
            image = grey + (image - grey) * np.float32(rng.uniform(0.0, 0.9))
    # what is brighter than the sensor goes white softly
    image = np.where(image > 225, 225 + 30 * np.tanh((image - 225) / 30), image)
    image = cv2.GaussianBlur(
        image.astype(np.float32), (0, 0), float(rng.uniform(0.3, 1.1) if rough else 0.45)
    )
    if rough and rng.random() < 0.2:
        image = image + 0.8 * (
            image - cv2.GaussianBlur(image, (0, 0), 1.2)
        )  # sharpened by the mosaic's maker
    if rough and rng.random() < 0.03:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    noise = rng.standard_normal(image.shape[:2], dtype=np.float32)[..., None] * rng.uniform(
        0.5, 4 if rough else 1.2
    )
    picture = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rough and rng.random() < 0.7:
        quality = int(rng.integers(40, 95))
        ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if ok else picture
    return picture
