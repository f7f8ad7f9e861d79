"""Write ``docs/results.md``: the accuracy of the shipped model on places it was not trained on.

``python -m benchmarks.report --data ../shared/data/validation --examples 5 --seed 0``
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from benchmarks import accuracy
from core.prompts import STRATEGIES

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results.md"

# Vora and Saha, arXiv 2408.07393: building IoU on ISPRS Potsdam, SAM ViT-H.
LECTURE = {
    "example-only": 0.002,
    "random-point": 0.693,
    "random-point-positive": 0.393,
    "random-points": 0.480,
}

HEAD = """# Results
Written by `python -m benchmarks.report`; nothing here is typed by hand. Embedded model, examples
drawn by seed {seed} from the truth (whole objects of at least half the median size), {runs} runs
per tile, default settings, CPU. No validation image was used in training. IoU is that of the
unions of polygons over the whole image; coverage is the truth's share of it, which is the IoU of
the answer "everything". F1 matches objects one to one.

The lecture's column (Vora and Saha, arXiv 2408.07393) is building IoU on ISPRS Potsdam with
Meta's SAM and *all* objects of the example image given; it is another place and another model,
so it is a landmark, not a comparison.
"""


@dataclasses.dataclass(frozen=True)
class Place:
    """One table of the report: a title and what ``benchmarks.accuracy`` is asked for."""

    title: str
    arguments: tuple[str, ...]


def places(data: Path, examples: int) -> list[Place]:
    """Kampala and Banepa for buildings, the Estonian tiles for vehicles."""
    found = [
        Place(
            f"Buildings, {name.capitalize()}",
            (
                *("--raster", str(data / f"{name}.tif"), "--truth", str(data / f"{name}_truth.gpkg")),
                *("--target", "building", "--examples", str(examples)),
            ),
        )
        for name in ("kampala", "banepa")
    ]
    tiles = sorted((data / "estonia").glob("*.tif"))
    if tiles:
        truths = [str(tile.with_name(f"{tile.stem}_boxes.gpkg")) for tile in tiles]
        found.append(
            Place(
                "Vehicles, Estonia (boxes; a match is a box IoU of 0.3; one example per tile)",
                (
                    *("--raster", *map(str, tiles), "--truth", *truths, "--target", "vehicle"),
                    *("--boxes", "--iou", "0.3", "--examples", "1"),
                ),
            )
        )
    return found


def table(place: Place, result: dict) -> str:
    """One place as Markdown."""
    count = len(next(iter(result["strategies"].values()))["iou"])
    lines = [
        f"\n## {place.title}",
        f"Coverage {result['coverage']:.3f}; {count} examples.\n",
        "| strategy | lecture's IoU | IoU, median | IoU, worst to best | F1, median | F1, worst to best |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in result["strategies"].items():
        iou, f1 = figures["iou"], figures["f1"]
        lines.append(
            f"| `{name}` | {LECTURE.get(name, '')} | **{figures['iou_median']:.3f}** | {min(iou):.3f} to "
            f"{max(iou):.3f} | {figures['f1_median']:.3f} | {min(f1):.3f} to {max(f1):.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every place and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/validation"))
    parser.add_argument("--examples", type=int, default=5, help="per place")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="folder to keep examples and detections in")
    options = parser.parse_args()
    page = HEAD.format(seed=options.seed, runs=options.runs)
    for place in places(options.data, options.examples):
        common = ["--seed", str(options.seed), "--runs", str(options.runs), "--strategies", *STRATEGIES]
        if options.keep:
            common += ["--keep", str(options.keep)]
        page += table(place, accuracy.run(accuracy.parser().parse_args([*place.arguments, *common])))
        RESULTS.write_text(page, encoding="utf-8")  # a place is not lost if the next one is cut off


if __name__ == "__main__":
    main()
