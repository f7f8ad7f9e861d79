"""Speed and memory, ours and the published way side by side.

Every side runs in a process of its own that tells its CPU time and its peak
memory; the sides take turns, and medians are compared. CPU time of one thread
is what is compared, since the wall's depends on what else the machine does.

One JSON object is printed, with the parts that were asked for:
  a  ViT-B with random weights, one canvas, 64 runs: SamPredictor run by run against ours
     time_ratio, memory_ratio, logit_difference; kept_time_ratio where only what the vote
     counts is drawn, as in a run of detect; limit_ratio, as if ours were nothing but its
     multiplications, all masks drawn
  b  the same per square metre of query, against the lecture's halves in the published way
     area_time_ratio
  c  MobileSAM's encoder in place of ViT-B's: canvases per minute
     encoder_ratio, canvas_ratio (with the 64 runs), kept_canvas_ratio
  d  the embedded model end to end on the sample town, against segment-anything's automatic
     masks with the same model on two tiles
     automatic_ratio, encoding_ratio (end to end / its encodings alone), other_share (not the network)
  e  the embedded model on 1 to 200 tiles, with a cache as in the engine: peak memory, time per tile
     peak_gb, memory_growth, time_spread (largest deviation of the
     time per tile from that of the most tiles)
  f  the sample town again, from the cache: with another minimum score, with another strategy
     encodings and decodings of each, threshold_ratio and strategy_ratio (time computed anew / again)
  g  the embedded model's network beside ViT-B's, one canvas after another, 64 runs: the published
     way, and ours
     encoder_ratio, decoder_ratio (ViT-B ours / embedded), published_encoder_ratio,
     published_decoder_ratio (ViT-B the published way / embedded), memory_ratio, published_memory_ratio

Ratios are of processor time; those that end in ``_wall`` are of the clock on the wall. With
``--write`` the figures go into docs/performance.json and the table of docs/performance.md; parts
that were not asked for stay there as they were.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from research.benchmarks.speed_page import write_page
from research.common.paths import ROOT

GUIDED, EMBEDDED = "guided", "embedded"
CLOCKS = ("", "_wall")  # what names of seconds and ratios end in: processor time, and the wall's


class Sides:
    """Runs sides in turn; keeps what each told."""

    def __init__(self, threads: int):
        self._environ = os.environ | {"OMP_NUM_THREADS": str(threads)}
        # the settings that are compared must not come from outside
        self._environ = {k: v for k, v in self._environ.items() if not k.startswith("MALLOC_")}

    def run(self, side: str, **options) -> dict:
        """One run of one side in a process of its own."""
        command = [sys.executable, "-m", "research.benchmarks.speed_sides", side, json.dumps(options)]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environ, stdout=subprocess.PIPE, text=True, check=True
        )
        told = json.loads(done.stdout.splitlines()[-1])
        spent = {key: round(value, 2) for key, value in told["seconds"].items()}
        print(f"{side} {options}: {spent}, {told['peak'] / 1e9:.2f} GB", file=sys.stderr, flush=True)
        return told

    def in_turn(self, repeats: int, sides: dict[str, tuple[str, dict]]) -> dict[str, list[dict]]:
        """Each side so often, one after the other."""
        told: dict[str, list[dict]] = {name: [] for name in sides}
        for _ in range(repeats):
            for name, (side, options) in sides.items():
                told[name].append(self.run(side, **options))
        return told


def _seconds(told: list[dict], *names: str, clock: str = "") -> float:
    """Median of the runs' seconds; of all that was timed where no name is given.

    ``clock`` is ``""`` for processor time and ``"_wall"`` for the wall's.
    """
    return median(sum(one["seconds"][name + clock] for name in names or ("encode", "decode")) for one in told)


def _peak(told: list[dict]) -> float:
    return median(one["peak"] for one in told)


def same_canvas(sides: Sides, options: argparse.Namespace) -> dict:
    """(a), (b) and (c), which share a side."""
    runs = options.runs
    with tempfile.TemporaryDirectory() as folder:
        logits = [f"{folder}/{name}.npy" for name in ("published", "ours")]
        column = {"layout": "column", "runs": runs}
        asked: dict[str, tuple[str, dict]] = {
            "ours": ("ours", column | {"save": logits[1]}),
            "kept": ("ours", column | {"kept": True}),
        }
        if "a" in options.only:
            asked["published"] = ("published", column | {"save": logits[0]})
            asked["unset"] = ("ours", column | {"settings": False})
            asked["arithmetic"] = ("arithmetic", column)
        if "b" in options.only:
            asked["halves"] = ("published", {"layout": "halves", "runs": runs})
        if "c" in options.only:
            asked["mobile"] = ("ours", column | {"model": "mobile_sam"})
            asked["mobile_kept"] = ("ours", column | {"model": "mobile_sam", "kept": True})
        told = sides.in_turn(options.repeats, asked)
        difference = (
            float(np.abs(np.load(logits[0]) - np.load(logits[1])).max()) if "a" in options.only else None
        )
    result: dict[str, dict] = {part: {} for part in "abc" if part in options.only}
    for clock in CLOCKS:
        time = {name: _seconds(each, clock=clock) for name, each in told.items()}
        if "a" in result:
            result["a"] |= {
                f"{name}_ratio{clock}": time["published"] / time[ours]
                for name, ours in (("time", "ours"), ("kept_time", "kept"), ("unset_time", "unset"))
            }
        if "b" in result:
            per_area = {name: time[name] / told[name][0]["area_m2"] for name in ("halves", "ours", "kept")}
            result["b"] |= {
                f"area_time_ratio{clock}": per_area["halves"] / per_area["ours"],
                f"kept_area_time_ratio{clock}": per_area["halves"] / per_area["kept"],
            }
        if "c" in result:
            result["c"] |= {
                f"canvas_ratio{clock}": time["ours"] / time["mobile"],
                f"kept_canvas_ratio{clock}": time["kept"] / time["mobile_kept"],
            }
    if "a" in result:
        result["a"] |= {
            "memory_ratio": _peak(told["ours"]) / _peak(told["published"]),
            "logit_difference": difference,
            "logit_span": told["published"][0]["logits_span"],
            "encoder_ratio": _seconds(told["published"], "encode") / _seconds(told["ours"], "encode"),
            "decoder_ratio": _seconds(told["published"], "decode") / _seconds(told["ours"], "decode"),
            "kept_memory_ratio": _peak(told["kept"]) / _peak(told["published"]),
            "limit_ratio": _seconds(told["published"]) / _seconds(told["arithmetic"]),
        }
    if "b" in result:
        result["b"]["area_ratio"] = told["ours"][0]["area_m2"] / told["halves"][0]["area_m2"]
    if "c" in result:
        result["c"]["encoder_ratio"] = _seconds(told["ours"], "encode") / _seconds(told["mobile"], "encode")
    for part in result.values():
        part["repeats"] = options.repeats
    return result


def embedded(sides: Sides, options: argparse.Namespace) -> dict:
    """(d): end to end with the embedded model."""
    strategy = options.strategy or GUIDED
    asked = {"strategy": strategy, "runs": options.runs}
    told = sides.in_turn(options.repeats, {"whole": ("end_to_end", asked)})["whole"]
    # one process, which takes minutes: its tiles are two measurements already
    generator = sides.run("automatic", tiles=2, resolution=told[0]["resolution"])
    whole, encode, decode = (_seconds(told, name) for name in ("whole", "encode", "decode"))
    automatic = {
        f"automatic_ratio{clock}": generator["seconds"][f"whole{clock}"]
        / generator["area_m2"]
        * told[0]["area_m2"]
        / _seconds(told, "whole", clock=clock)
        for clock in CLOCKS
    }
    return {
        "d": {
            **automatic,
            "encoding_ratio": whole / encode,
            "other_share": 1 - (encode + decode) / whole,
            "strategy": strategy,
            "tiles": told[0]["tiles"],
            "canvases": told[0]["canvases"],
            "repeats": options.repeats,
        }
    }


def many_tiles(sides: Sides, options: argparse.Namespace) -> dict:
    """(e): memory and time over more and more tiles."""
    from research.benchmarks.synthetic import RESOLUTION, write_raster

    strategy = options.strategy or GUIDED
    tiles, peaks, seconds = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.tiles:
            rows = max(number for number in range(1, int(count**0.5) + 1) if count % number == 0)
            raster, example = write_raster(Path(folder), count // rows, rows)
            told = sides.run(
                "end_to_end",
                raster=str(raster),
                example=str(example),
                runs=options.runs,
                strategy=strategy,
                resolution=RESOLUTION,
                caches=True,
            )
            tiles.append(told["tiles"])
            peaks.append(told["peak"])
            seconds.append(told["seconds"]["whole"])
            raster.unlink()
    per_tile = np.array(seconds) / np.array(tiles)
    shares = per_tile / per_tile[-1]
    return {
        "e": {
            "peak_gb": max(peaks) / 1e9,
            "memory_growth": peaks[-1] / peaks[0] - 1,
            "time_spread": float(np.abs(shares - 1).max()),
            "tiles": tiles,
            "peaks_gb": [peak / 1e9 for peak in peaks],
            "time_per_tile_ratio": shares.tolist(),
            "strategy": strategy,
            "runs": options.runs,
        }
    }


def cached(sides: Sides, options: argparse.Namespace) -> dict:
    """(f): what a new minimum score and a new strategy cost."""
    strategy = options.strategy or GUIDED
    asked = {"runs": options.runs, "strategy": strategy, "other": "random-points"}
    told = sides.in_turn(options.repeats, {"again": ("again", asked)})["again"]
    counts = told[0]["counts"]
    return {
        "f": {
            "encodings": {name: count for name, (count, _) in counts.items()},
            "decodings": {name: count for name, (_, count) in counts.items()},
            **{
                f"{name}_ratio{clock}": _seconds(told, anew, clock=clock) / _seconds(told, name, clock=clock)
                for name, anew in (("threshold", "first"), ("strategy", "uncached"))
                for clock in CLOCKS
            },
            "written_gb": told[0]["written"] / 1e9,
            "strategy": strategy,
            "repeats": options.repeats,
        }
    }


def small_network(sides: Sides, options: argparse.Namespace) -> dict:
    """(g): the embedded model's network beside ViT-B's; weights do not matter for that."""
    # a process that has encoded a canvas before: the first one costs the small network half as much again
    column = {"layout": "column", "runs": options.runs, "warm": True}
    told = sides.in_turn(
        options.repeats,
        {
            "published": ("published", column),
            "ours": ("ours", column),
            "embedded": ("ours", column | {"model": EMBEDDED}),
        },
    )
    figures: dict[str, float] = {"repeats": options.repeats}
    for prefix, side in (("published_", "published"), ("", "ours")):
        for name, part in (("encoder", "encode"), ("decoder", "decode")):
            figures[f"{prefix}{name}_ratio"] = _seconds(told[side], part) / _seconds(told["embedded"], part)
        figures[f"{prefix}memory_ratio"] = _peak(told["embedded"]) / _peak(told[side])
    return {"g": figures}


PARTS: dict[str, Callable[[Sides, argparse.Namespace], dict]] = {
    "abc": same_canvas,
    "d": embedded,
    "e": many_tiles,
    "f": cached,
    "g": small_network,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    described = argparse.ArgumentParser(
        prog="python -m research.benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    described.add_argument("--only", nargs="+", choices=list("abcdefg"), default=list("abcdefg"))
    described.add_argument("--repeats", type=int, default=5, help="runs of each side (5)")
    described.add_argument("--runs", type=int, default=64, help="prompt sets per canvas (64)")
    described.add_argument("--threads", type=int, default=1, help="of each side (1)")
    described.add_argument("--strategy", help="of d and e: guided where it is there")
    described.add_argument("--tiles", nargs="+", type=int, default=[1, 10, 50, 200], help="of e")
    described.add_argument("--write", action="store_true", help="into docs/performance.md too")
    described.add_argument("--json", action="store_true", help="on one line")
    return described


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON object."""
    options = parser().parse_args(arguments)
    sides, result = Sides(options.threads), {}
    for names, part in PARTS.items():
        if set(names) & set(options.only):
            result |= part(sides, options)
    rounded = json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.4g}"))
    if options.write:
        write_page(rounded, ROOT / "docs")
    print(json.dumps(rounded) if options.json else json.dumps(rounded, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
