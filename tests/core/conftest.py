"""Tiny rasters, polygons and networks, made in temporary folders."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine

UTM = "EPSG:25832"
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)  # half a metre per pixel


@pytest.fixture
def make_raster(tmp_path):
    """Write an array of shape (H, W) or (bands, H, W) as a GeoTIFF; gives its path."""

    def make(array, name="raster.tif", *, transform=NORTH_UP, crs=UTM, colormap=None, **profile):
        array = np.atleast_3d(array.T).T if array.ndim == 2 else array
        path = tmp_path / name
        bands, height, width = array.shape
        settings = {
            "driver": "GTiff",
            "count": bands,
            "height": height,
            "width": width,
            "dtype": array.dtype.name,
            "transform": transform,
            "crs": crs,
        }
        with rasterio.open(path, "w", **settings | profile) as dataset:
            dataset.write(array)
            if colormap is not None:
                dataset.write_colormap(1, colormap)
        return path

    return make


@pytest.fixture
def write_polygons(tmp_path):
    """Write geometries to a vector file; gives its path."""

    def write(geometries, name="example.geojson", crs=UTM, **columns):
        path = tmp_path / name
        gpd.GeoDataFrame(columns, geometry=list(geometries), crs=crs).to_file(path)
        return path

    return write


@pytest.fixture(scope="session")
def embedded_sam():
    """The embedded architecture with random weights."""
    import torch

    from core.embedded import build_embedded

    torch.manual_seed(0)
    return build_embedded()


@pytest.fixture(scope="session")
def embedded_checkpoint(embedded_sam, tmp_path_factory):
    """A file of random weights that ``--model embedded --checkpoint`` takes."""
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    state = {key: value.contiguous().clone() for key, value in embedded_sam.state_dict().items()}
    save_file(state, path)
    return path


@pytest.fixture
def noisy_raster(make_raster):
    """A small photo-like raster with a bright square, 160 x 144 pixels, north up in UTM."""
    rng = np.random.default_rng(5)
    image = rng.integers(40, 90, (3, 144, 160), np.uint8)
    image[:, 60:84, 40:64] = rng.integers(190, 250, (3, 24, 24), np.uint8)
    return make_raster(image, "photo.tif")
