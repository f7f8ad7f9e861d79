"""What the sample town gives, to the bit: a change of code changes no polygon, attribute or edge.

Floating-point sums differ by processor, number of threads and library. So hashes are recorded
by a fingerprint of these; where there is no record for a fingerprint, counts, areas and scores
have to be close to the recorded ones. After a change that is meant to change answers:

    .venv/bin/python -m pytest tests/core/pipeline/test_golden.py --record-golden
"""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch

from core.pipeline.detect import detect
from core.pipeline.edges import find_edges
from core.protocol import DetectRequest, EdgesRequest
from core.sam.segmenter import Segmenter

RESOURCES = (
    next(folder for folder in Path(__file__).resolve().parents if (folder / "dev").exists()) / "resources"
)
SAMPLE = RESOURCES / "sample"
RECORD = Path(__file__).parent / "golden.json"
WEST = [500000.0, 5399754.24, 500100.0, 5400000.0]
YARD = [500085.0, 5399870.0, 500125.0, 5399900.0]
BUILDING = {"target": "building", "resolution": 0.16, "runs": 16}
CASES = {
    "building guided regularized": BUILDING | {"regularize": True},
    "building guided": BUILDING | {"extent": WEST},
    "building random-point": BUILDING | {"strategy": "random-point", "extent": WEST, "seed": 3},
    "building encoded apart": BUILDING | {"encode": "apart", "resolution": 0.24, "extent": WEST},
    "vehicle guided": {"target": "vehicle", "runs": 16, "extent": YARD},
    "vehicle random-point rectangles": {
        "target": "vehicle",
        "strategy": "random-point",
        "rectangles": True,
        "runs": 16,
        "extent": YARD,
    },
}
LIBRARIES = ("torch", "numpy", "scipy", "shapely", "timm", "pyproj", "rasterio")


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.load("embedded", device="cpu")


def fingerprint():
    """The processor, the threads and the libraries that the last bits depend on."""
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text().splitlines() if processor.exists() else [platform.processor()]
    kept = {line for line in lines if line.split("\t")[0] in ("model name", "flags", "vendor_id")}
    text = " ".join([*sorted(kept), *(version(name) for name in LIBRARIES), str(torch.get_num_threads())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_table(table):
    state = hashlib.sha256()
    for name in sorted(set(table.columns) - {"created", "geometry"}):
        column = table[name].to_numpy()
        told = column.astype(float).tobytes() if column.dtype.kind in "fi" else "|".join(column).encode()
        state.update(name.encode() + b"=" + told)
    for shape in table.geometry:
        state.update(shape.wkb)
    return state.hexdigest()


def answer_of(case, segmenter, folder):
    """Hash and figures of one case."""
    fields, output = CASES[case], folder / "found.gpkg"
    request = DetectRequest(
        raster=str(SAMPLE / "town.tif"),
        example=str(SAMPLE / f"example_{fields['target']}.geojson"),
        output=str(output),
        candidates=str(folder / "all.gpkg"),
        **fields,
    )
    detect(request, segmenter=segmenter)
    kept, found = gpd.read_file(output), gpd.read_file(folder / "all.gpkg")
    figures = {
        "detections": len(kept),
        "candidates": len(found),
        "area_m2": float(kept["area_m2"].sum()),
        "score": float(found["score"].mean()),
    }
    return hash_table(kept) + hash_table(found), figures


def edges_of(segmenter, folder):
    output, lines = folder / "edges.tif", folder / "edges.gpkg"
    raster = str(SAMPLE / "town.tif")
    find_edges(
        EdgesRequest(raster=raster, output=str(output), lines=str(lines), resolution=0.32, extent=WEST),
        segmenter=segmenter,
    )
    with rasterio.open(output) as dataset:
        pixels, place = dataset.read(1), str(tuple(dataset.transform))
    table = gpd.read_file(lines)
    told = hashlib.sha256(np.ascontiguousarray(pixels).tobytes() + place.encode()).hexdigest()
    figures = {"lines": len(table), "length_m": float(table.length.sum()), "strength": float(pixels.mean())}
    return told + hash_table(table), figures


@pytest.mark.parametrize("case", [*CASES, "edges"])
def test_the_sample_gives_what_it_gave(case, segmenter, tmp_path, request):
    found, figures = (
        edges_of(segmenter, tmp_path) if case == "edges" else answer_of(case, segmenter, tmp_path)
    )
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if request.config.getoption("--record-golden"):
        kept = record.setdefault(case, {"hashes": {}})
        # what another processor gave to the code before is no answer of this code
        same = kept.get("figures") == figures
        kept["hashes"] = (kept["hashes"] if same else {}) | {fingerprint(): found}
        kept["figures"] = figures
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        return
    recorded = record[case]
    if fingerprint() in recorded["hashes"]:
        assert found == recorded["hashes"][fingerprint()]
    else:
        assert figures == pytest.approx(recorded["figures"], rel=0.03, abs=2)
