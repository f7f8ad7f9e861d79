"""The command line: ``python -m core detect | edges | evaluate | strategies | models | serve``.

Exit status: 0 done; 2 wrong use or bad input, with one sentence on standard
error; 1 a failure inside.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

from core import __version__, runtime
from core.errors import OUT_OF_MEMORY, CancelledError, ExemplarError, is_out_of_memory
from core.protocol import DetectRequest, EdgesRequest, EvaluateRequest
from core.service import model_commands
from core.service.progress import write_progress

# argparse's own takes a small longitude, which is written as -1e-05, for a flag
NUMBER = re.compile(r"^-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
PRECISION = "auto, single (float32) or half: of the network's encoder; auto is half where that is known to do"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="core", description="Exemplar: draw one, find all.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    detect = commands.add_parser("detect", help="find everything like the example", allow_abbrev=False)
    detect.add_argument("--raster", required=True, help="the image to search")
    detect.add_argument(
        "--example",
        required=True,
        help="vector file with the example polygon, or several; a column role says which are positive "
        "and which negative, that is, not to be found (empty: positive)",
    )
    detect.add_argument("--example-raster", help="the image that the example is on (default: --raster)")
    detect.add_argument("--extent", nargs=4, type=float, metavar=("XMIN", "YMIN", "XMAX", "YMAX"))
    detect.add_argument("--target", default="building", help="building, vehicle or other")
    detect.add_argument("--strategy", default=DetectRequest.strategy, help="see the command strategies")
    detect.add_argument("--model", default="embedded", help="see the command models list")
    detect.add_argument("--checkpoint", help="file with the model's weights")
    detect.add_argument("--bands", nargs="+", type=int, help="one or three band numbers, from 1")
    detect.add_argument("--example-bands", nargs="+", type=int, help="of --example-raster (default: --bands)")
    detect.add_argument("--resolution", type=float, help="metres per canvas pixel")
    detect.add_argument(
        "--encode",
        default=DetectRequest.encode,
        help="together, or apart, so that a new example finds the image encoded (with --resolution)",
    )
    detect.add_argument("--runs", type=int, default=64, help="prompt sets per tile (64)")
    detect.add_argument("--seed", type=int, default=0, help="seed of the random prompts (0)")
    detect.add_argument(
        "--min-score", type=float, help="least score (default: 0.55, more beside negative polygons)"
    )
    detect.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    detect.add_argument("--precision", default="auto", help=PRECISION)
    detect.add_argument("--regularize", action="store_true", help="right angles, where they cost little")
    detect.add_argument("--rectangles", action="store_true", help="every object as an oriented rectangle")
    detect.add_argument(
        "--output", required=True, help=".gpkg, .shp, .geojson or .parquet; an older file is replaced"
    )
    detect.add_argument("--mask", help="also write the detections as a GeoTIFF mask")
    detect.add_argument(
        "--candidates", help="also write all that was found, what scores less than --min-score too"
    )
    detect.add_argument("--progress", choices=("text", "json", "none"), default="text")
    detect.set_defaults(run=_detect)

    evaluate = commands.add_parser("evaluate", help="compare detections with the truth", allow_abbrev=False)
    evaluate.add_argument("--detections", required=True)
    evaluate.add_argument("--truth", required=True)
    evaluate.add_argument("--extent", nargs=4, type=float, metavar=("XMIN", "YMIN", "XMAX", "YMAX"))
    evaluate.add_argument("--iou", type=float, default=0.5, help="IoU of a match (0.5)")
    evaluate.add_argument("--boxes", action="store_true", help="bounding box against bounding box")
    evaluate.add_argument("--target", help="only the truth whose column target says so")
    evaluate.set_defaults(run=_evaluate)

    edges = commands.add_parser("edges", help="outline everything, without an example", allow_abbrev=False)
    edges.add_argument("--raster", required=True, help="the image")
    edges.add_argument("--output", required=True, help=".tif: strength of the thinned edges, 0 to 1")
    edges.add_argument("--lines", help="also write the edges as lines: .gpkg, .shp, .geojson or .parquet")
    edges.add_argument("--extent", nargs=4, type=float, metavar=("XMIN", "YMIN", "XMAX", "YMAX"))
    edges.add_argument("--model", default="embedded", help="see the command models list")
    edges.add_argument("--checkpoint", help="file with the model's weights")
    edges.add_argument("--bands", nargs="+", type=int, help="one or three band numbers, from 1")
    edges.add_argument("--resolution", type=float, help="metres per canvas pixel (default: the raster's own)")
    edges.add_argument(
        "--min-strength",
        type=float,
        default=EdgesRequest.min_strength,
        help=f"least strength of a line ({EdgesRequest.min_strength})",
    )
    edges.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    edges.add_argument("--precision", default="auto", help=PRECISION)
    edges.add_argument("--progress", choices=("text", "json", "none"), default="text")
    edges.set_defaults(run=_edges)

    commands.add_parser("strategies", help="how prompts can be placed").set_defaults(run=_strategies)
    model_commands.add_to(commands)
    commands.add_parser("serve", help="JSON lines on standard input and output").set_defaults(run=_serve)
    for command in (detect, evaluate, edges):
        command._negative_number_matcher = NUMBER
    return parser


def _fields(options: argparse.Namespace) -> dict:
    """A command's flags as the fields of its request."""
    return {key: value for key, value in vars(options).items() if key not in ("command", "run", "progress")}


def _teller(options: argparse.Namespace) -> Callable[[float, str], None]:
    """What a job tells its progress to."""
    return partial(write_progress, options.progress)


def _detect(options: argparse.Namespace) -> None:
    from core.pipeline.cache import users_cache
    from core.pipeline.detect import detect

    summary = detect(DetectRequest(**_fields(options)), cache=users_cache(), progress=_teller(options))
    if options.progress != "none":
        print(
            f"{summary.count} detections in {summary.output} "
            f"({summary.tiles} tiles at {summary.resolution:.3g} m, {summary.seconds:.1f} s)"
        )


def _edges(options: argparse.Namespace) -> None:
    from core.pipeline.edges import find_edges

    summary = find_edges(EdgesRequest(**_fields(options)), progress=_teller(options))
    if options.progress != "none":
        lines = f" and {summary.count} lines in {summary.lines}" if summary.lines else ""
        print(
            f"edges in {summary.output}{lines} "
            f"({summary.tiles} tiles at {summary.resolution:.3g} m, {summary.seconds:.1f} s)"
        )


def _evaluate(options: argparse.Namespace) -> None:
    from core.metrics import evaluate_files

    print(json.dumps(evaluate_files(EvaluateRequest(**_fields(options)))))


def _strategies(_: argparse.Namespace) -> None:
    from core.canvas.prompts import DEFAULT, STRATEGIES

    for name, strategy in STRATEGIES.items():
        print(f"{name:24} {strategy.title}{' (default)' if name == DEFAULT else ''}")


def _serve(_: argparse.Namespace) -> None:
    from core.service.engine import serve

    serve()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    runtime.tell_any_name()
    options = _parser().parse_args(arguments)
    runtime.prepare()
    try:
        with nullcontext() if options.run is _serve else runtime.ended_by_signals():
            options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # who read what is told has gone; what was to be done is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except CancelledError as error:
        print(error, file=sys.stderr)
        return 1
    except ExemplarError as error:
        print(f"exemplar: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("exemplar: stopped; nothing was written.", file=sys.stderr)
        return 1
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        print(f"exemplar: {OUT_OF_MEMORY}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
