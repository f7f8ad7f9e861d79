"""A stand-in for the engine: speaks the protocol, finds nothing, misbehaves on demand.

``EXEMPLAR_FAKE_ENGINE`` holds a JSON object of habits:

protocol : int        the version to claim
steps, pause          how many progress messages, and the seconds between them
error : object        fields of an ``error`` to answer with
die_at : int          send SIGKILL to itself at this step
greet_after : number  seconds that pass before ``hello``
exit : int            end with this status before ``hello``
stderr : str          written to standard error at the start
deaf : bool           ignore ``cancel``, ``shutdown`` and the end of standard input
noise : bool          print lines that are no message
models : list         entries of ``hello`` to add
download : object     how a download behaves: ``steps``, ``pause``, ``error`` as above
report : path         write a JSON file with argv, environment, folder, requests and cancels
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

HABITS = json.loads(os.environ.get("EXEMPLAR_FAKE_ENGINE", "{}"))
jobs = []
requests = []
cancelled = set()
closing = threading.Event()
sending = threading.Lock()


def send(kind, **fields):
    with sending:
        sys.stdout.buffer.write((json.dumps({"type": kind, **fields}) + "\n").encode())
        sys.stdout.buffer.flush()


def read():
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message["type"] in ("detect", "edges"):
            requests.append(message["request"])
            report()
            jobs.append(message)
        elif message["type"] == "download":
            requests.append(message["request"])
            report()
            threading.Thread(target=download, args=(message,), daemon=True).start()
        elif HABITS.get("deaf"):
            continue
        elif message["type"] == "cancel":
            cancelled.add(message["job"])
            report()
        else:
            break
    while HABITS.get("deaf"):
        time.sleep(1)
    closing.set()


def download(message):
    """Beside other jobs, as the engine does it."""
    job, habits = message["job"], HABITS.get("download", {})
    for step in range(habits.get("steps", 4)):
        send("progress", job=job, fraction=step / habits.get("steps", 4), message=f"{step} MB")
        time.sleep(habits.get("pause", 0.02))
        if job in cancelled:
            send("cancelled", job=job)
            return
    if "error" in habits:
        send("error", job=job, **habits["error"])
        return
    model = message["request"]["model"]
    send("result", job=job, model=model, file=f"/models/{model}.pth")


def report():
    if "report" in HABITS:
        told = {
            "argv": sys.argv,
            "environ": dict(os.environ),
            "cwd": str(Path.cwd()),
            "requests": requests,
            "cancelled": sorted(cancelled),
        }
        draft = Path(f"{HABITS['report']}.{threading.get_ident()}")
        draft.write_text(json.dumps(told))
        draft.replace(HABITS["report"])  # whole at any time, for tests that look while it is written


def write_square(path, extent):
    """One detection as a GeoPackage that is just complete enough for GDAL."""
    from osgeo import ogr, osr

    xmin, ymin, xmax, ymax = extent
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32633)
    ogr.UseExceptions()
    source = ogr.GetDriverByName("GPKG").CreateDataSource(path)
    layer = source.CreateLayer("detections", crs, ogr.wkbMultiPolygon)
    layer.CreateField(ogr.FieldDefn("id", ogr.OFTInteger))
    layer.CreateField(ogr.FieldDefn("score", ogr.OFTReal))
    feature = ogr.Feature(layer.GetLayerDefn())
    feature["score"] = 0.9
    x, y, size = (xmin + xmax) / 2, (ymin + ymax) / 2, (xmax - xmin) / 10
    ring = f"{x} {y}, {x + size} {y}, {x + size} {y + size}, {x} {y + size}, {x} {y}"
    feature.SetGeometry(ogr.CreateGeometryFromWkt(f"MULTIPOLYGON ((({ring})))"))
    layer.CreateFeature(feature)
    del feature, layer, source


def write_row(path):
    """A GeoTIFF with a row of halves, in the CRS of the image's file."""
    from osgeo import gdal, osr

    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32633)
    data = gdal.GetDriverByName("GTiff").Create(path, 20, 10, 1, gdal.GDT_Float32)
    data.SetGeoTransform((500000.0, 0.2, 0.0, 5400000.0, 0.0, -0.2))
    data.SetProjection(crs.ExportToWkt())
    data.GetRasterBand(1).SetNoDataValue(-1)
    data.GetRasterBand(1).WriteRaster(0, 4, 20, 1, b"\0\0\0\x3f" * 20)


def write_edges(path, lines):
    """One row of edges as a GeoTIFF, and the same as a line."""
    from osgeo import ogr, osr

    ogr.UseExceptions()
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32633)
    write_row(path)
    if lines:
        source = ogr.GetDriverByName("GPKG").CreateDataSource(lines)
        layer = source.CreateLayer("lines", crs, ogr.wkbLineString)
        layer.CreateField(ogr.FieldDefn("strength", ogr.OFTReal))
        feature = ogr.Feature(layer.GetLayerDefn())
        feature["strength"] = 0.5
        feature.SetGeometry(ogr.CreateGeometryFromWkt("LINESTRING (500000 5399999.1, 500004 5399999.1)"))
        layer.CreateFeature(feature)
        del feature, layer, source


def run(kind, job, request):
    for step in range(HABITS.get("steps", 4)):
        if HABITS.get("die_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if HABITS.get("noise"):
            print("a library prints something", flush=True)
        send("progress", job=job, fraction=step / HABITS.get("steps", 4), message=f"tile {step}")
        time.sleep(HABITS.get("pause", 0.02))
        if job in cancelled:
            send("cancelled", job=job)
            return
    if "error" in HABITS:
        send("error", job=job, **HABITS["error"])
        return
    if kind == "edges":
        write_edges(request["output"], request["lines"])
        asked = {"output": request["output"], "lines": request["lines"]}
        send("result", job=job, **asked, count=int(bool(request["lines"])), seconds=1.5, resolution=0.2)
        return
    count = HABITS.get("count", 1)
    if count:
        write_square(request["output"], request["extent"])
    if request.get("mask"):
        write_row(request["mask"])
    send(
        "result",
        job=job,
        output=request["output"],
        count=count,
        seconds=1.5,
        resolution=0.2,
        min_score=0.5,
    )


def main():
    sys.stderr.write(HABITS.get("stderr", ""))
    sys.stderr.flush()
    if "exit" in HABITS:
        os._exit(HABITS["exit"])
    report()
    time.sleep(HABITS.get("greet_after", 0))
    send(
        "hello",
        protocol=HABITS.get("protocol", 1),
        version="0",
        device="cpu",
        strategies=[
            {"name": "grid-points", "title": "Grid points", "default": False},
            {"name": "random-point", "title": "Random point", "default": True},
        ],
        targets=[
            {"name": "building", "title": "Building", "default": True},
            {"name": "vehicle", "title": "Vehicle", "default": False},
        ],
        models=[{"name": "embedded", "title": "Embedded", "default": True}, *HABITS.get("models", [])],
    )
    threading.Thread(target=read, daemon=True).start()
    while not closing.is_set():
        if jobs:
            job = jobs.pop(0)
            run(job["type"], job["job"], job["request"])
        time.sleep(0.01)


main()
