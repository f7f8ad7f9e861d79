"""Write ``docs/results.md``: the accuracy of the shipped model on places it was not trained on.

  python -m research.benchmarks.report --data ../shared/data/validation --examples 10

With ``--scenes`` the clicks are measured on synthetic scenes too (``python -m
research.training.unseen_scenes`` makes them). Measures every place by ``research.benchmarks.accuracy`` and
``research.benchmarks.model`` and writes the page after each, so that nothing is lost when it is cut off.
With ``--keep FOLDER`` each measurement is also left there, and one that was made with the same options,
weights and pipeline before is taken from there; so several processes can measure a place each (``--only``),
and one more writes the page. It holds no dates and no times: the same data, model and seed give the same
page.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from core.canvas.prompts import STRATEGIES
from core.errors import ExemplarError
from core.pipeline.cache import code_digest
from core.weights.catalogue import weights_file
from research.benchmarks import accuracy, model
from research.benchmarks.baselines import BASELINES, TRIVIAL
from research.benchmarks.causes import FALSE, MISSES
from research.benchmarks.clicks import FAULTS
from research.benchmarks.places import Place, asked_places
from research.benchmarks.potsdam import LECTURE
from research.common.paths import ROOT, VALIDATION_DATA

DOCS = ROOT / "docs"

HEAD = """# Results
Written by `{command}`; nothing here is typed by hand. {model}, {precision} precision,
else default settings, {runs} runs per tile. Examples are drawn by the seed from the truth: whole
objects of at least half the median size; where the truth is boxes, the model's own outline in one
of them, another one being drawn where it fills less than a third of its box. An example is one of
the objects and counts as found. No validation image was used in training, but those of Kampala and
Banepa adjoin training images of the same orthophotos. IoU is that of the unions of polygons over
the whole image; coverage is the truth's share of it, which is the IoU of the answer `everything`.
F1 matches objects one to one.

The lecture's column (Vora and Saha, arXiv 2408.07393) is building IoU on ISPRS Potsdam with
Meta's SAM and *all* objects of the example image given; it is another place and another model,
so it is a landmark, not a comparison. Who has that data set and a checkpoint measures both with
`python -m research.benchmarks.potsdam`.

`persam` and `automatic` are other ways to prompt the same network on the same canvas: a prototype
with one positive and one negative point, repeated (after arXiv 2305.03048); and segment-anything's
automatic masks, kept where they are like the example. They see each tile once, the pipeline's own
strategies in four mirrorings. The difference is that of `{reference}` to the other, on the same
examples, with the 95 % bootstrap interval of its mean over the examples: in Kampala and Banepa
all of one image, so it says nothing of other places, and from a few examples it is too narrow.

Of objects that are not found, a detection covers half or more of `merged` ones and of another
object too, of `outline` ones alone but with too much around; several detections together cover
half of `split` ones, less than that of `partial` ones, nothing that counts of `missed` ones. Half
or more of a false detection lies on one object (`pieces`), on `several`, or on the `ground`.
"""

CLICKS_HEAD = """
# One object, clicked or boxed
What the network answers to clicks on one object, with no example: the single mask, each click
together with the box that the network sees under it. (The pipeline's own clicks, for objects too
narrow for borders, come without that box.) First click in the middle of the object, the next ones
where the answer before was most wrong. Mean IoU; where the truth is boxes, the share of objects whose
mask's bounding box has IoU 0.5 or more with the truth's, so that the column `box` is judged by the very
box that was given. The next columns compare the network's own estimate of its IoU with the true
one. The last is the area under the curve of the embedding's cosine to *another* object of the
kind, the object against its surroundings without others of the kind: 0.5 tells nothing, 1 tells all.

| objects | n | 1 click | 3 clicks | 5 clicks | box | rank correlation | mean error | separation |
|---|---|---|---|---|---|---|---|---|
"""

FAULTS_HEAD = """
What is wrong with answers to one click whose IoU is below 0.5: they cover half or more of the
object and too much besides (`too much`), are smaller and lie on it by half or more (`too little`),
or neither (`elsewhere`):

| objects | n | below 0.5 | {names} |
|---|---|---|---|---|---|
"""

RESOLUTION_HEAD = """
The same by the size of a pixel that the network sees, whatever the object's size and the image's
own resolution (by default the pipeline chooses by the object):

| objects | metres per pixel | n | 1 click | 3 clicks | 5 clicks | box |
|---|---|---|---|---|---|---|
"""


def accuracy_section(place: Place, result: dict, command: str, pictures: str | None) -> str:
    """One place's table, command line and pictures as Markdown."""
    cases = result["cases"]
    lines = [
        f"\n## {place.title}",
        f"Coverage {result['coverage']:.3f}; {len(cases)} examples.\n",
        "| strategy | examples | lecture's IoU | IoU, median | IoU, worst to best | F1, median | "
        "F1, worst to best | F1, all counts together | IoU difference | F1 difference |",
        "|" + "---|" * 10,
    ]
    for name, figures in result["strategies"].items():
        iou, f1 = figures["iou"], figures["f1"]
        differences = result["differences"].get(name)
        compared = [interval(differences[key]) if differences else "" for key in ("iou", "f1")]
        lecture = LECTURE.get(name, "") if place.target == "building" else ""
        lines.append(
            f"| `{name}` | {len(iou)} | {lecture} | **{figures['iou_median']:.3f}** | "
            f"{min(iou):.3f} to {max(iou):.3f} | **{figures['f1_median']:.3f}** | "
            f"{min(f1):.3f} to {max(f1):.3f} | {figures['f1_pooled']:.3f} | {compared[0]} | {compared[1]} |"
        )
    lines += causes_tables(result["reference"], result["causes"])
    lines.append(f"\n```\n{command}\n```")
    for name in result.get("pictures", []):
        which = "Best" if "_best_" in name else "Worst"
        lines.append(f"\n![{which} example: truth green, found magenta, example yellow]({pictures}/{name})")
    for name in result.get("cause_pictures", []):
        cause = name.split("_")[1]
        lines.append(f"\n`{cause}`:\n\n![Errors, {cause}: truth green, found magenta]({pictures}/{name})")
    return "\n".join(lines) + "\n"


def causes_tables(strategy: str, counted: dict[str, int]) -> list[str]:
    """Where the reference strategy's objects and detections went, as two tables of one row."""
    lines = []
    for what, names in (("objects", ("found", *MISSES)), ("false detections", FALSE)):
        total = sum(counted[name] for name in names)
        shares = [f"{counted[name]} ({counted[name] / max(total, 1):.0%})" for name in names]
        lines += [
            f"\n| {what} of `{strategy}`, all examples | {' | '.join(names)} |",
            "|" + "---|" * (len(names) + 1),
            f"| {total} | {' | '.join(shares)} |",
        ]
    return lines


def interval(difference: dict) -> str:
    """A mean difference with its interval."""
    return f"{difference['mean']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"


def clicks_row(place: Place, result: dict) -> str:
    """One place's clicks as a row of Markdown."""
    figures = result[place.target]
    kind = " (boxes)" if figures["truth"] == "boxes" else ""
    separation = f"{figures['separation']:.3f}" if "separation" in figures else ""  # one object has no other
    return (
        f"| {place.title.split(' (')[0]}{kind} | {figures['n']} | {figures['click_1']:.3f} | "
        f"{figures['click_3']:.3f} | {figures['click_5']:.3f} | {figures['box']:.3f} | "
        f"{result['rank_correlation']:.3f} | {result['iou_error']:.3f} | {separation} |\n"
    )


def faults_row(place: Place, result: dict) -> str:
    """What is wrong with one place's answers, as a row of Markdown."""
    figures = result[place.target]
    faults = [figures["faults"][name] for name in FAULTS]
    cells = [figures["n"], sum(faults), *faults]
    return f"| {place.title.split(' (')[0]} | {' | '.join(map(str, cells))} |\n"


def resolution_rows(place: Place, result: dict) -> list[str]:
    """One place's clicks by resolution as rows of Markdown."""
    return [
        f"| {place.title.split(' (')[0]} | {metres} | {figures['n']} | {figures['click_1']:.3f} | "
        f"{figures['click_3']:.3f} | {figures['click_5']:.3f} | {figures['box']:.3f} |\n"
        for metres, figures in result[place.target].get("by_resolution", {}).items()
    ]


def command_line(module: str, arguments: list[str]) -> str:
    """What a person types to repeat one measurement; long lists of files are shortened."""
    shown, skipping = [], 0
    for index, argument in enumerate(arguments):
        inside = argument.endswith((".tif", ".gpkg")) and index + 1 < len(arguments)
        skipping = skipping + 1 if inside else 0
        if skipping <= 1:
            shown.append(shlex.quote(argument))
        elif skipping == 2:
            shown.append("…")
    return f"python -m research.benchmarks.{module} {' '.join(shown)}"


def kept(folder: Path | None, name: str, arguments: list[str], measure: Callable[[], dict]) -> dict:
    """A measurement from the folder where it was made before with the same arguments, or made now.

    Parameters
    ----------
    arguments : list of str
        All that the measurement depends on.
    """
    path = folder / f"{name}.json" if folder else None
    if path is not None and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["arguments"] == arguments:
            return before["result"]
    result = measure()
    if path is not None:
        part = path.with_suffix(".part")  # another process may look for it at this moment
        part.write_text(json.dumps({"arguments": arguments, "result": result}), encoding="utf-8")
        part.replace(path)
    return result


def version(options: argparse.Namespace) -> str:
    """Digest of what measures: the weights, the pipeline's and the benchmarks' own text, the libraries."""
    weights = weights_file(options.model, options.checkpoint).read_bytes()
    own = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(weights + code_digest() + own).hexdigest()


def write(options: argparse.Namespace, command: str) -> None:
    """Measure every place and write the page, after each measurement anew."""
    measured_with = version(options)
    network = ["--model", options.model, "--precision", options.precision, "--seed", str(options.seed)]
    if options.checkpoint:
        network += ["--checkpoint", options.checkpoint]
    head, sections, rows, wrong_rows, finer_rows = "", [], [], [], []
    for place in asked_places(options):
        per_raster = max(1, round(options.objects / place.rasters))
        arguments = [*place.files, "--target", place.target, "--objects", str(per_raster), *network]
        if options.by_resolution:
            arguments += ["--by-resolution", *(f"{metres:g}" for metres in options.by_resolution)]
        asked = partial(model.run, model.parser().parse_args(arguments))
        clicked = kept(options.keep, f"clicks_{place.name}", [*arguments, measured_with], asked)
        rows.append(clicks_row(place, clicked))
        wrong_rows.append(faults_row(place, clicked))
        finer_rows += resolution_rows(place, clicked)
        if not place.clicks_only:
            arguments = accuracy_arguments(place, options, network)
            shown = command_line("accuracy", arguments)
            if options.pictures:
                arguments += ["--pictures", str(options.pictures)]
            asked = partial(accuracy.run, accuracy.parser().parse_args(arguments))
            result = kept(options.keep, f"accuracy_{place.name}", [*arguments, measured_with], asked)
            sections.append(accuracy_section(place, result, shown, pictures_link(options)))
            head = HEAD.format(
                command=command,
                model="Embedded model" if options.model == "embedded" else f"Model `{options.model}`",
                precision=options.precision,
                runs=options.runs,
                reference=result["reference"],
            )
        wrong_head = FAULTS_HEAD.format(names=" | ".join(FAULTS))
        finer = [RESOLUTION_HEAD, *finer_rows] if finer_rows else []
        if not options.only:
            page = "".join([head, *sections, CLICKS_HEAD, *rows, wrong_head, *wrong_rows, *finer])
            options.output.write_text(page, encoding="utf-8")


def accuracy_arguments(place: Place, options: argparse.Namespace, network: list[str]) -> list[str]:
    """What ``research.benchmarks.accuracy`` is asked for a place."""
    left_out = options.vehicles_without if place.target == "vehicle" else []
    strategies = [name for name in options.strategies if name not in left_out]
    arguments = [*place.files, "--target", place.target, *place.more, *network]
    arguments += ["--runs", str(options.runs), "--strategies", *strategies]
    if few := [name for name in options.few if name in strategies]:
        arguments += ["--few", *few, "--few-examples", str(options.few_examples)]
    return arguments


def pictures_link(options: argparse.Namespace) -> str | None:
    """Folder of the pictures, as the page links to it."""
    return os.path.relpath(options.pictures, options.output.parent) if options.pictures else None


def _without_keep(arguments: list[str]) -> list[str]:
    """The arguments less a folder that says nothing to anyone else."""
    if "--keep" not in arguments:
        return arguments
    place = arguments.index("--keep")
    return arguments[:place] + arguments[place + 2 :]


def main(arguments: list[str] | None = None) -> int:
    """Measure every place and write the page."""
    names = [*STRATEGIES, *BASELINES, *TRIVIAL]
    parser = argparse.ArgumentParser(
        prog="python -m research.benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=VALIDATION_DATA)
    parser.add_argument("--examples", type=int, default=10, help="per place (10)")
    parser.add_argument(
        "--scenes", type=Path, help="folder of synthetic test scenes, for clicks (none; see training)"
    )
    parser.add_argument(
        "--by-resolution", nargs="+", type=float, default=[], metavar="METRES", help="of clicks, see model"
    )
    parser.add_argument("--tiles", type=int, help="of the Estonian tiles, the first so many (all)")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PLACE",
        help="kampala, banepa, estonia: measure these only, into --keep, and write no page",
    )
    parser.add_argument("--objects", type=int, default=100, help="clicked, at most, per place (100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--strategies", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--few", nargs="+", choices=names, default=[], metavar="NAME")
    parser.add_argument("--few-examples", type=int, default=3, help="of the strategies named in --few (3)")
    parser.add_argument(
        "--vehicles-without",
        nargs="+",
        choices=names,
        default=[],
        metavar="NAME",
        help="left out there: automatic masks of a tile that is enlarged threefold take a quarter of an hour",
    )
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--precision", default="single", help="see core (single, which all processors have)")
    parser.add_argument("--checkpoint")
    parser.add_argument("--keep", type=Path, help="folder to keep measurements in, and to take them from")
    parser.add_argument(
        "--pictures", type=Path, help="folder for the reference strategy's best and worst case"
    )
    parser.add_argument("--output", type=Path, default=DOCS / "results.md")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(given)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    try:
        write(options, command_line("report", _without_keep(list(given))))
    except ExemplarError as error:
        print(f"research.benchmarks.report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
