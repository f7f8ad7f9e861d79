"""What is timed against what: each side runs in a process of its own, which tells its time and memory.

``python -m research.benchmarks.speed_sides NAME '{"option": …}'`` prints one JSON object. Loading libraries
and weights is not timed; it is in the peak memory, as it is on a user's computer.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core import runtime
from research.common.paths import ROOT

if TYPE_CHECKING:  # libraries are loaded by the side that needs them, ours after its settings
    from segment_anything.modeling import Sam

    from core.canvas.prompts import PromptSets
    from core.canvas.stitch import Canvas
    from core.sam.segmenter import Segmenter

SAMPLE = ROOT / "resources" / "sample" / "town.tif"
EXAMPLE = ROOT / "resources" / "sample" / "example_building.geojson"
SEED = 0


class Clock:
    """Seconds of this process, user and system time together, and of the wall."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add what is done inside to the seconds of this name."""
        cpu, wall = cpu_seconds(), time.monotonic()
        yield
        for key, spent in ((name, cpu_seconds() - cpu), (f"{name}_wall", time.monotonic() - wall)):
            self.seconds[key] = self.seconds.get(key, 0.0) + spent


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_bytes() -> int:
    """Most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _canvas(layout: str) -> tuple[Canvas, float]:
    """One canvas of the sample town, laid out as asked, and the area of query on it in square metres."""
    from core.canvas.example import read_example
    from core.geo.raster import Raster
    from core.pipeline.plan import SearchPlan, SearchSettings
    from research.benchmarks.layouts import LAYOUTS

    laid_out = LAYOUTS[layout]
    with Raster(str(SAMPLE)) as raster:
        plan = SearchPlan(read_example(EXAMPLE, raster), raster, SearchSettings())
        crops = laid_out.crops(plan)
        first = next(iter(laid_out.tiling(plan, crops).tiles()))
        canvas = laid_out.canvas(crops, plan.work_grid, first)
    return canvas, float(canvas.query.sum()) * plan.work_grid.resolution**2


def _prompts(canvas: Canvas, runs: int) -> PromptSets:
    from core.canvas.prompts import STRATEGIES

    return STRATEGIES["random-point"].place(canvas, runs, np.random.default_rng(SEED))


def _random(build: Callable[[], Sam]) -> Sam:
    """A network of random weights, the same for every builder of the same network."""
    import torch

    torch.manual_seed(SEED)
    network = build()
    for parameter in network.parameters():
        if not parameter.any():  # what is built as zeros must not be skipped, nor hide a difference
            torch.nn.init.normal_(parameter, std=0.02)
    return network.eval()


def published(clock: Clock, *, layout: str, runs: int, save: str | None = None, warm: bool = False) -> dict:
    """``SamPredictor`` on a ViT-B: ``set_image``, then ``predict`` run by run.

    Where ``warm``, a canvas has been encoded before, as in a process that goes through many.
    """
    from segment_anything import SamPredictor, sam_model_registry

    canvas, area = _canvas(layout)
    prompts = _prompts(canvas, runs)
    predictor = SamPredictor(_random(sam_model_registry["vit_b"]))
    logits = []
    if warm:
        predictor.set_image(canvas.image)
    with clock.timed("encode"):
        predictor.set_image(canvas.image)
    with clock.timed("decode"):
        for points, labels in zip(prompts.points_canvas - 0.5, prompts.labels, strict=True):
            logits.append(predictor.predict(points, labels, multimask_output=False)[2])
    return _saved(logits, save) | {"area_m2": area, "canvas": list(canvas.image.shape[:2])}


def ours(
    clock: Clock,
    *,
    layout: str,
    runs: int,
    model: str = "vit_b",
    save: str | None = None,
    kept: bool = False,
    settings: bool = True,
    warm: bool = False,
) -> dict:
    """Our ``Segmenter``: all masks or, as in a run of ``detect``, those that the vote counts.

    ``warm`` as in :func:`published`.
    """
    if settings:
        runtime.prepare()
    from core.sam.fast.speed_up import speed_up
    from core.sam.networks.mobile_sam import build_mobile_sam
    from core.sam.networks.vit import build_vit
    from core.sam.segmenter import Segmenter
    from core.voting.vote import most_confident

    canvas, area = _canvas(layout)
    prompts = _prompts(canvas, runs)
    if model == "embedded":  # as it ships, but for the heads that SAM has none of
        segmenter = Segmenter(Segmenter.load(model, None, "cpu").sam, model)
    else:
        network = _random(build_mobile_sam if model == "mobile_sam" else partial(build_vit, model))
        speed_up(network)  # as after loading a file
        segmenter = Segmenter(network, model)
    some = {"keep": most_confident(canvas, runs)} if kept else {}
    if warm:
        segmenter.encode(canvas.image)
    with clock.timed("encode"):
        embedding = segmenter.encode(canvas.image)
    with clock.timed("decode"):
        decoded = segmenter.decode(embedding, prompts.points_canvas, prompts.labels, **some)
    return _saved(decoded.logits, save) | {"area_m2": area, "canvas": list(canvas.image.shape[:2])}


def arithmetic(clock: Clock, *, layout: str, runs: int) -> dict:
    """As many multiplications as our way takes for a ViT-B, as products of large matrices alone."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    from core.sam.fast.matmul import linear
    from core.sam.fast.speed_up import speed_up
    from core.sam.networks.vit import build_vit
    from core.sam.segmenter import Segmenter

    canvas, _ = _canvas(layout)
    prompts = _prompts(canvas, runs)
    network = _random(partial(build_vit, "vit_b"))
    speed_up(network)
    segmenter = Segmenter(network, "vit_b")
    operations = {}
    # torch counts the attention of graphics cards only, and none of its private operators
    uncounted = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
            q, k, v
        ),
        torch.ops.mkldnn._linear_pointwise: _multiplications,
    }
    with FlopCounterMode(display=False, custom_mapping=uncounted) as counter:
        embedding = segmenter.encode(canvas.image)
        operations["encode"] = counter.get_total_flops()
        segmenter.decode(embedding, prompts.points_canvas, prompts.labels)
        operations["decode"] = counter.get_total_flops() - operations["encode"]
    rows, matrix = torch.rand(512, 768), torch.rand(3072, 768)  # as in the encoder, in the processor's cache
    each = 2 * 512 * 768 * 3072
    with torch.inference_mode():
        linear(rows, matrix)  # prepares for the shape
        for name, wanted in operations.items():
            with clock.timed(name):
                for _ in range(round(wanted / each)):
                    linear(rows, matrix)
    return {"operations": operations}


def _multiplications(x: list[int], second: list[int], third: list[int] | None = None, *_, **__) -> int:
    """Twice the multiplications of oneDNN's product, by shapes; a total to be added comes second."""
    weight = third if third is not None and len(third) == 2 else second
    return 2 * math.prod(x) * weight[0]


def _saved(logits: list[np.ndarray] | np.ndarray, path: str | None) -> dict:
    if path:
        np.save(path, np.asarray(logits))
    return {"logits_span": float(np.ptp(logits))}


def end_to_end(
    clock: Clock,
    *,
    raster: str = str(SAMPLE),
    example: str = str(EXAMPLE),
    runs: int,
    strategy: str,
    target: str = "building",
    resolution: float | None = None,
    extent: list[float] | None = None,
    caches: bool = False,
) -> dict:
    """``detect`` with the embedded model, from the raster to the written file; the network's part apart.

    With ``caches`` as in the engine, whose results are kept in memory and on disk.
    """
    runtime.prepare()
    from core.pipeline.cache import LIMIT_GB, Cache
    from core.pipeline.detect import detect
    from core.protocol import DetectRequest

    segmenter = _timed_segmenter(clock)
    with tempfile.TemporaryDirectory() as folder:
        request = DetectRequest(
            raster=raster,
            example=example,
            output=f"{folder}/found.gpkg",
            extent=extent,
            target=target,
            strategy=strategy,
            resolution=resolution,
            runs=runs,
            seed=SEED,
            device="cpu",
        )
        cache = Cache(Path(folder) / "cache", limit=int(LIMIT_GB * 1e9)) if caches else None
        with clock.timed("whole"):
            summary = detect(request, segmenter=segmenter, cache=cache)
    return {
        "tiles": summary.tiles,
        "canvases": segmenter.encoded,
        "count": summary.count,
        "area_m2": _area(raster, extent),
        "resolution": summary.resolution,
    }


def _timed_segmenter(clock: Clock) -> Segmenter:
    """The embedded model, which counts and times what it is asked."""
    from core.sam.segmenter import Segmenter

    class Timed(Segmenter):
        encoded = decoded = 0

        def encode(self, *given, **options):
            self.encoded += 1
            with clock.timed("encode"):
                return super().encode(*given, **options)

        def decode(self, *given, **options):
            self.decoded += 1
            with clock.timed("decode"):
                return super().decode(*given, **options)

    return Timed.load("embedded", None, "cpu")


def again(clock: Clock, *, runs: int, strategy: str, other: str) -> dict:
    """``detect`` on the sample town with a cache: first, with another minimum score or strategy."""
    runtime.prepare()
    from core.pipeline.cache import Cache
    from core.pipeline.detect import detect
    from core.protocol import DetectRequest

    segmenter = _timed_segmenter(clock)
    asked = {
        "first": {"strategy": strategy},
        "threshold": {"strategy": strategy, "min_score": 0.8},
        "strategy": {"strategy": other},
        "uncached": {"strategy": other},
    }
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder) / "cache", limit=10**10)
        for name, change in asked.items():
            before = segmenter.encoded, segmenter.decoded
            request = DetectRequest(
                raster=str(SAMPLE), example=str(EXAMPLE), output=f"{folder}/found.gpkg", runs=runs,
                seed=SEED, device="cpu", **change,
            )  # fmt: skip
            with clock.timed(name):
                detect(request, segmenter=segmenter, cache=None if name == "uncached" else cache)
            counts[name] = [segmenter.encoded - before[0], segmenter.decoded - before[1]]
        written = sum(path.stat().st_size for path in (Path(folder) / "cache").iterdir())
    return {"counts": counts, "written": written}


def _area(raster: str, extent: list[float] | None) -> float:
    from core.geo.raster import Raster

    with Raster(raster) as opened:
        xmin, ymin, xmax, ymax = extent or opened.bounds_map
    return (xmax - xmin) * (ymax - ymin)


def automatic(clock: Clock, *, tiles: int, resolution: float) -> dict:
    """Segment-anything's automatic masks by their defaults, with the embedded model, on whole tiles."""
    from segment_anything import SamAutomaticMaskGenerator

    from core.geo.raster import Raster
    from core.geo.work_grid import WorkGrid
    from core.sam.geometry import SIDE
    from core.sam.segmenter import Segmenter

    generator = SamAutomaticMaskGenerator(Segmenter.load("embedded", None, "cpu").sam)
    masks, area = 0, 0.0
    with Raster(str(SAMPLE)) as raster:
        grid = WorkGrid(raster, resolution)
        for number in range(tiles):  # along the diagonal, from corner to corner
            share = number / max(tiles - 1, 1)
            x, y = round(share * max(grid.width - SIDE, 0)), round(share * max(grid.height - SIDE, 0))
            image, valid = grid.read(x, y, SIDE, SIDE)
            area += float(valid.sum()) * resolution**2
            with clock.timed("whole"):
                masks += len(generator.generate(image))
    return {"area_m2": area, "masks": masks}


SIDES: dict[str, Callable[..., dict]] = {
    side.__name__: side for side in (published, ours, arithmetic, end_to_end, again, automatic)
}


def main() -> None:
    """Run one side and print what it took."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    clock = Clock()
    result = SIDES[name](clock, **options)
    print(json.dumps(result | {"seconds": clock.seconds, "peak": peak_bytes()}))


if __name__ == "__main__":
    main()
