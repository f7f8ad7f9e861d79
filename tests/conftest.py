"""Tiny rasters, polygons and networks, made in temporary folders, and a server on the loopback."""

from __future__ import annotations

import http.server
import os
import re
import threading
from types import SimpleNamespace

from core import runtime

runtime.prepare()  # as the engine does, before the large libraries are loaded: tests are no slower than it

import geopandas as gpd  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import rasterio  # noqa: E402
from affine import Affine  # noqa: E402
from hypothesis import settings  # noqa: E402

os.environ["EXEMPLAR_CACHE_GB"] = "0"  # tests compute, and leave the user's own cache alone

# A newcomer's first run never fails by chance: random cases are the same each time, but where a seed is
# given (`./dev test --full` draws one and prints it).
settings.register_profile("same cases", derandomize=True, deadline=None)
settings.register_profile("new cases", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("same cases")

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

    from core.sam.networks.embedded import build_embedded

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


class WeightsServer(http.server.ThreadingHTTPServer):
    """Gives ``content``, by a script: one step per request, the last one for all further requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), WeightsHandler)
        self.content, self.script, self.asked = b"", [{}], []
        self.released = threading.Event()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/weights/model.pth"


class WeightsHandler(http.server.BaseHTTPRequestHandler):
    """What a step can hold.

    status, reason : answer an error; headers : more headers; content : other bytes
    ranges : False ignores a range, "refuse" answers 416 to one, or a status to answer
    stop : break off after so many bytes of the body; length : the announced length, None for none
    begin, total : lies in Content-Range; silent : say nothing until the test ends
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, step = self.server, self.server.script.pop(0)
        if not server.script:
            server.script.append(step)
        wanted = self.headers.get("Range")
        server.asked.append(SimpleNamespace(range=wanted, path=self.path, headers=dict(self.headers)))
        if step.get("silent"):
            server.released.wait(60)
            return
        content, start, status = step.get("content", server.content), 0, step.get("status", 200)
        ranges = step.get("ranges", True)
        if wanted and ranges is True and status == 200:
            start, status = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]), 206
        elif wanted and isinstance(ranges, int) and ranges > 1:
            content, status = b"", ranges
        body = content[start:]
        self.send_response(status, step.get("reason"))
        length = step.get("length", len(body))
        if length is not None:
            self.send_header("Content-Length", str(length))
        if status == 206:
            begin, total = step.get("begin", start), step.get("total", len(content))
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{total}")
        self.send_header("Connection", "close")
        for name, value in step.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        self.wfile.write(body[: step.get("stop", len(body))])

    def log_message(self, *_):
        pass


@pytest.fixture
def weights_server(monkeypatch):
    # the machine's own proxy, if any, has no part in these tests
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    started = WeightsServer()
    threading.Thread(target=started.serve_forever, args=(0.01,), daemon=True).start()
    yield started
    started.released.set()
    started.shutdown()
    started.server_close()


def pytest_addoption(parser):
    parser.addoption(
        "--record-golden", action="store_true", help="record what test_golden.py gives as the right answers"
    )


def pytest_configure(config):
    if config.getoption("--hypothesis-seed", None) is not None:
        settings.load_profile("new cases")
