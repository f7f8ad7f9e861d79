"""The table of docs/performance.md, written from what ``research.benchmarks.speed`` measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

BEGIN, END = "<!-- figures, written by research.benchmarks.speed --write -->", "<!-- end of the figures -->"

Say = Callable[[dict], str]


def _times(key: str, wall: bool = True) -> Say:
    """A ratio of processor time and, in brackets, of the wall's."""
    return lambda f: f"{f[key]:.2f} times" + (f" ({f[f'{key}_wall']:.2f})" if wall else "")


def _share(key: str) -> Say:
    return lambda f: f"{100 * f[key]:.0f} %"


def _all(key: str, say: str) -> Say:
    return lambda f: ", ".join(say.format(one) for one in f[key])


# part, what, how its figures say it, what is wanted
ROWS: list[tuple[str, str, Say, str]] = [
    (
        "a",
        "ViT-B, random weights, a canvas of the sample town, 64 runs: `SamPredictor` run by run / ours",
        _times("time_ratio"),
        "2.5",
    ),
    ("a", "the same, drawing only what the vote counts, as `detect` does", _times("kept_time_ratio"), ""),
    ("a", "encoder alone", _times("encoder_ratio", wall=False), ""),
    ("a", "runs alone", _times("decoder_ratio", wall=False), ""),
    (
        "a",
        "if ours were nothing but its multiplications, at the speed of large products, all masks drawn",
        _times("limit_ratio", wall=False),
        "",
    ),
    (
        "a",
        "low-resolution logits, largest difference",
        lambda f: f"{f['logit_difference']:.1e} (they span {f['logit_span']:.2f})",
        "1e-3",
    ),
    ("a", "peak memory, ours / published", _share("memory_ratio"), "50 %"),
    (
        "b",
        "per square metre of query: the lecture's halves in the published way / our canvas",
        _times("area_time_ratio"),
        "4",
    ),
    ("b", "the same, drawing only what the vote counts", _times("kept_area_time_ratio"), ""),
    (
        "c",
        "canvases per minute, 64 runs each, both ours: MobileSAM's encoder / ViT-B's",
        _times("canvas_ratio"),
        "4",
    ),
    ("c", "the same, drawing only what the vote counts", _times("kept_canvas_ratio"), ""),
    ("c", "encoders alone", _times("encoder_ratio", wall=False), ""),
    (
        "d",
        "embedded model, `guided`, sample town: automatic masks on its area (from 2 tiles) / end to end",
        _times("automatic_ratio"),
        "15",
    ),
    ("d", "end to end / encoding its canvases alone", lambda f: f"{f['encoding_ratio']:.1f}", "at most 6"),
    ("d", "share that is not the network", _share("other_share"), "under 20 %"),
    ("e", "embedded model, `guided`, number of tiles", _all("tiles", "{}"), "1 to 200"),
    ("e", "peak memory in GB", _all("peaks_gb", "{:.2f}"), "1.5, flat"),
    ("e", "time per tile, as a share of that of the largest", _all("time_per_tile_ratio", "{:.2f}"), ""),
    ("e", "largest deviation of that", _share("time_spread"), "10 %"),
    (
        "f",
        "sample town, from the cache, another minimum score: encodings, decodings",
        lambda f: f"{f['encodings']['threshold']} and {f['decodings']['threshold']}",
        "no decoding",
    ),
    ("f", "computed anew / from the cache", _times("threshold_ratio"), ""),
    (
        "f",
        "another strategy: encodings, instead of those without a cache",
        lambda f: f"{f['encodings']['strategy']}, {f['encodings']['uncached']}",
        "no encoding",
    ),
    ("f", "computed anew / from the cache", _times("strategy_ratio"), ""),
    ("g", "encoder: ViT-B's, ours / the embedded model's", _times("encoder_ratio", wall=False), "100"),
    ("g", "the same, ViT-B the published way", _times("published_encoder_ratio", wall=False), ""),
    ("g", "64 runs: ViT-B's, ours / the embedded model's", _times("decoder_ratio", wall=False), "5"),
    ("g", "the same, ViT-B the published way", _times("published_decoder_ratio", wall=False), ""),
    ("g", "peak memory, the embedded model's / ViT-B's, ours", _share("memory_ratio"), ""),
    ("g", "the same, ViT-B the published way", _share("published_memory_ratio"), ""),
]


def table(figures: dict[str, dict]) -> str:
    """The figures as a table in Markdown; parts that were not measured are left out."""
    lines = ["| | what | measured | wanted |", "|---|---|---|---|"]
    before = None
    for part, what, say, wanted in ROWS:
        if part not in figures:
            continue
        repeats = figures[part].get("repeats")
        name = part if part != before else ""
        counted = f" (medians of {repeats})" if name and (repeats or 0) > 1 else ""
        lines.append(f"| {name} | {what}{counted} | {say(figures[part])} | {wanted} |")
        before = part
    return "\n".join(lines)


def write_page(result: dict[str, dict], docs: Path) -> None:
    """Add the parts that were measured to ``performance.json`` and write the table of ``performance.md``.

    Raises
    ------
    ValueError
        Where the page has no place for the table.
    """
    kept, page = docs / "performance.json", docs / "performance.md"
    figures = json.loads(kept.read_text()) if kept.exists() else {}
    figures = dict(sorted((figures | result).items()))
    text = page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page} has no place for the figures, from {BEGIN} to {END}.")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    kept.write_text(json.dumps(figures, indent=2) + "\n")
    page.write_text(f"{before}{BEGIN}\n{table(figures)}\n{END}{after}")
