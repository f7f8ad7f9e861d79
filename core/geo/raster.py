"""Open a raster and read windows of it as the three bytes SAM takes.

Frames: ``_px`` the raster's own pixels; ``_map`` its CRS. Pixel ``i`` spans ``[i, i + 1)``.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from pyproj import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from core.errors import InputError
from core.geo.paths import check_name
from core.geo.units import metres_per_pixel

OVERVIEW = 1024  # pixels of the longer side that the stretch is measured on
MOST = 1e30  # what no sensor measures, like the least float32, means no data, whether that is declared or not


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Linear map from band values to bytes: ``low`` to 0, ``high`` to 255; per band."""

    low: np.ndarray
    high: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Stretch values of shape (H, W, bands) to uint8."""
        with np.errstate(over="ignore"):  # of what says "no data" by a number without measure
            share = (values - self.low) / np.maximum(self.high - self.low, np.finfo(np.float32).tiny)
        return (np.clip(np.nan_to_num(share), 0, 1) * 255 + 0.5).astype(np.uint8)


class Raster:
    """A raster opened for reading; use it as a context manager.

    Parameters
    ----------
    path : str or Path
    bands : list of int, optional
        One-based; three, or one shown as grey. Default: the first three, or
        the first where there are fewer.

    Raises
    ------
    InputError
        Where the file, its georeference or the bands can't be used.
    """

    def __init__(self, path: str | Path, bands: list[int] | None = None):
        self.path = str(path)
        check_name(path)
        try:
            with warnings.catch_warnings():  # a missing georeference is told in our own words below
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._dataset = rasterio.open(path)
        except RasterioError as error:
            reason = "There is no file" if not Path(path).exists() else "No raster can be read from"
            raise InputError(f"{reason} {path}. Check the path of the raster.") from error
        try:
            self._set_up(bands)
        except InputError:
            self.close()
            raise

    def _set_up(self, bands: list[int] | None) -> None:
        dataset = self._dataset
        if dataset.transform.is_identity or dataset.transform.determinant == 0:
            raise InputError(f"{self.path} has no georeference. Georeference the raster first.")
        self.map_from_px: Affine = dataset.transform
        self.crs = CRS.from_wkt(dataset.crs.to_wkt()) if dataset.crs else None
        self.width, self.height = dataset.width, dataset.height
        if not all(math.isfinite(side) and side > 0 for side in self.metres_per_pixel):
            raise InputError(
                f"{self.path} does not lie on the earth in its coordinate reference system. "
                "Set the right one first."
            )
        alpha = dataset.colorinterp.count(ColorInterp.alpha)
        self.bands = bands or ([1, 2, 3] if dataset.count - alpha >= 3 else [1])
        if len(self.bands) not in (1, 3) or not all(1 <= b <= dataset.count for b in self.bands):
            raise InputError(
                f"{self.path} has {dataset.count} bands. Give one or three of them, numbered from 1."
            )
        types = {dataset.dtypes[band - 1] for band in self.bands}
        if len(types) > 1:
            raise InputError(
                f"The bands {', '.join(map(str, self.bands))} of {self.path} hold different types of numbers "
                f"({', '.join(sorted(types))}). Choose bands of one type."
            )
        (self.dtype,) = types
        palette = len(self.bands) == 1 and dataset.colorinterp[self.bands[0] - 1] == ColorInterp.palette
        self._palette = self._read_palette() if palette else None
        self.stretch = None if self.dtype == "uint8" else self._measure_stretch()

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_same_file(self, other: Raster) -> bool:
        """Whether both show the same place pixel by pixel, if in other bands."""
        return self is other or Path(self.path).resolve() == Path(other.path).resolve()

    @property
    def files(self) -> list[str]:
        """The files that it is read from, as GDAL names them, whatever the path says."""
        return self._dataset.files

    def close(self) -> None:
        self._dataset.close()

    @property
    def bounds_map(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax of the raster in its CRS, whatever way it is turned."""
        corners = [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]
        x, y = zip(*(self.map_from_px @ corner for corner in corners), strict=True)
        return min(x), min(y), max(x), max(y)

    @property
    def metres_per_pixel(self) -> tuple[float, float]:
        """Ground metres along the two sides of the raster's middle pixel."""
        return metres_per_pixel(self.crs, self.map_from_px, self.width / 2, self.height / 2)

    def read_window(
        self, window_px: Window, shape: tuple[int, int], stretch: Stretch | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read a window of the raster, resampled to a shape, as bytes.

        Parameters
        ----------
        window_px : Window
            In the raster's own pixels, wholly on the raster.
        shape : tuple of int
            Height and width of the answer.
        stretch : Stretch, optional
            Stretch of another raster to show this one with. Default: its own.

        Returns
        -------
        image : ndarray of uint8, shape (height, width, 3)
        valid : ndarray of bool, shape (height, width)
            False where the raster holds no data.

        Raises
        ------
        InputError
            Where the file can't be read there.
        """
        try:
            image, known = self._read_bytes(window_px, shape, stretch)
            return image, self._mask(shape, window_px) & known
        except RasterioError as error:
            raise InputError(f"{self.path} can't be read where it was asked for: {error}.") from error

    def _mask(self, shape: tuple[int, int], window: Window | None = None) -> np.ndarray:
        """Where the raster says that it holds data; by default on all of it."""
        alpha = ColorInterp.alpha
        if alpha in self._dataset.colorinterp and MaskFlags.all_valid in self._dataset.mask_flag_enums[0]:
            # GDAL takes alpha for a mask beside one or three bands only
            band = self._dataset.colorinterp.index(alpha) + 1
            return self._dataset.read(band, window=window, out_shape=shape) > 0
        return self._dataset.dataset_mask(window=window, out_shape=shape) > 0

    def _read_bytes(
        self, window: Window, shape: tuple[int, int], stretch: Stretch | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Picture (h, w, 3), and where its values are numbers (h, w)."""
        if self._palette is not None:
            index = self._dataset.read(self.bands[0], window=window, out_shape=shape)
            return self._palette[index], np.ones(shape, bool)
        reduced = window.width / shape[1], window.height / shape[0]  # raster pixels per pixel of the answer
        coarser = max(reduced) > 1
        unscaled = all(abs(one - 1) < 1e-9 for one in reduced)
        resampling = Resampling.nearest if unscaled else Resampling.average if coarser else Resampling.cubic
        values = self._dataset.read(
            self.bands, window=window, out_shape=(len(self.bands), *shape), resampling=resampling
        ).transpose(1, 2, 0)
        known = np.ones(shape, bool)
        if values.dtype.kind == "f":
            known = np.all(_are_measured(values), axis=2)
        stretch = stretch or self.stretch
        if stretch is not None:
            values = stretch.apply(values)
        return np.broadcast_to(values, (*shape, 3)), known

    def _read_palette(self) -> np.ndarray:
        colours = self._dataset.colormap(self.bands[0])
        # black where a value has no colour
        palette = np.zeros((max(np.iinfo(self.dtype).max, *colours) + 1, 3), np.uint8)
        for index, colour in colours.items():
            palette[index] = colour[:3]
        return palette

    def _measure_stretch(self) -> Stretch:
        """2 to 98 % of the valid values of each band, on an overview of the whole raster."""
        step = max(self.width, self.height) / OVERVIEW
        shape = (max(1, round(self.height / max(step, 1))), max(1, round(self.width / max(step, 1))))
        values = self._dataset.read(self.bands, out_shape=(len(self.bands), *shape))
        valid = self._mask(shape) & _are_measured(values).all(axis=0)
        if not valid.any():
            raise InputError(f"{self.path} holds no valid pixels. Choose another raster.")
        measured = values[:, valid].astype(np.float32)
        low, high = np.percentile(measured, (2, 98), axis=1).astype(np.float32)
        return Stretch(low, high)


def _are_measured(values: np.ndarray) -> np.ndarray:
    """Whether floats are what a sensor may have measured: no number is not."""
    return np.abs(values) < MOST
