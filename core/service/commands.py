"""The command line: ``python -m core detect | edges | evaluate | strategies | models | serve``.

Exit status: 0 done; 2 wrong use or bad input, with one sentence on standard
error; 1 a failure inside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

from core import __version__, runtime
from core.errors import OUT_OF_MEMORY, CancelledError, ExemplarError, is_out_of_memory
from core.protocol import DetectRequest, EdgesRequest, EvaluateRequest
from core.service import model_commands
from core.service.flags import add_flags, add_progress, request_from
from core.service.progress import write_progress


def _teller(options: argparse.Namespace) -> Callable[[float, str], None]:
    """What a job tells its progress to."""
    return partial(write_progress, options.progress)


def _detect(options: argparse.Namespace) -> None:
    from core.pipeline.cache import users_cache
    from core.pipeline.detect import detect

    summary = detect(request_from(DetectRequest, options), cache=users_cache(), progress=_teller(options))
    if options.progress != "none":
        print(
            f"{summary.count} detections in {summary.output} "
            f"({summary.tiles} tiles at {summary.resolution:.3g} m, {summary.seconds:.1f} s)"
        )


def _edges(options: argparse.Namespace) -> None:
    from core.pipeline.edges import find_edges

    summary = find_edges(request_from(EdgesRequest, options), progress=_teller(options))
    if options.progress != "none":
        lines = f" and {summary.count} lines in {summary.lines}" if summary.lines else ""
        print(
            f"edges in {summary.output}{lines} "
            f"({summary.tiles} tiles at {summary.resolution:.3g} m, {summary.seconds:.1f} s)"
        )


def _evaluate(options: argparse.Namespace) -> None:
    from core.metrics import evaluate_files

    print(json.dumps(evaluate_files(request_from(EvaluateRequest, options))))


def _strategies(_: argparse.Namespace) -> None:
    from core.canvas.prompts import DEFAULT, STRATEGIES

    for name, strategy in STRATEGIES.items():
        print(f"{name:24} {strategy.title}{' (default)' if name == DEFAULT else ''}")


def _serve(_: argparse.Namespace) -> None:
    from core.service.engine import serve

    serve()


class Command(NamedTuple):
    """A command: what it runs, its line of help, and the request whose parameters are its flags."""

    run: Callable[[argparse.Namespace], None]
    help: str
    request: Any = None
    tells_progress: bool = False


# ``models`` has commands of its own: see :mod:`core.service.model_commands`.
COMMANDS = {
    "detect": Command(_detect, "find everything like the example", DetectRequest, tells_progress=True),
    "evaluate": Command(_evaluate, "compare detections with the truth", EvaluateRequest),
    "edges": Command(_edges, "outline everything, without an example", EdgesRequest, tells_progress=True),
    "strategies": Command(_strategies, "how prompts can be placed"),
    "serve": Command(_serve, "JSON lines on standard input and output"),
}


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="core", description="Exemplar: draw one, find all.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        if name == "serve":
            model_commands.add_to(commands)
        own = commands.add_parser(name, help=command.help, allow_abbrev=False)
        own.set_defaults(run=command.run)
        if command.request is not None:
            add_flags(own, command.request)
        if command.tells_progress:
            add_progress(own)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    runtime.open_closed_streams()
    runtime.tell_any_name()
    options = make_parser().parse_args(arguments)
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
