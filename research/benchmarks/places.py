"""The places of the report: real images with their truth, and synthetic scenes."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from core.errors import ExemplarError


@dataclasses.dataclass(frozen=True)
class Place:
    """One place of the report.

    Attributes
    ----------
    title : str
    files : tuple of str
        Arguments that name rasters and truths.
    target : str
    more : tuple of str
        Further arguments of ``research.benchmarks.accuracy``.
    clicks_only : bool
        No example is run there.
    """

    title: str
    files: tuple[str, ...]
    target: str
    more: tuple[str, ...] = ()
    clicks_only: bool = False

    @property
    def rasters(self) -> int:
        """How many images the place has."""
        return self.files.index("--truth") - 1

    @property
    def name(self) -> str:
        """As part of a file's name."""
        return self.title.split(" (")[0].replace(", ", "_").lower()


def places(data: Path, examples: int, most_tiles: int | None = None) -> list[Place]:
    """Kampala and Banepa for buildings, the Estonian tiles for vehicles; those that the data holds."""
    found = [
        Place(
            f"Buildings, {name.capitalize()}",
            ("--raster", str(data / f"{name}.tif"), "--truth", str(data / f"{name}_truth.gpkg")),
            "building",
            ("--examples", str(examples)),
        )
        for name in ("kampala", "banepa")
        if (data / f"{name}.tif").exists()
    ]
    tiles = sorted((data / "estonia").glob("*.tif"))[:most_tiles]
    if tiles:
        truths = [str(tile.with_name(f"{tile.stem}_boxes.gpkg")) for tile in tiles]
        per_tile = max(1, round(examples / len(tiles)))
        found.append(
            Place(
                "Vehicles, Estonia (boxes; a match is a box IoU of 0.3)",
                ("--raster", *map(str, tiles), "--truth", *truths),
                "vehicle",
                ("--boxes", "--examples", str(per_tile)),
            )
        )
    if not found:
        raise ExemplarError(f"{data} holds no kampala.tif, banepa.tif or estonia/*.tif.")
    return found


def synthetic_places(folder: Path | None) -> list[Place]:
    """Buildings and vehicles of the synthetic scenes in a folder, for clicks."""
    scenes = sorted(folder.glob("*.tif")) if folder else []
    if folder and not scenes:
        raise ExemplarError(f"{folder} holds no scenes: run python -m research.training.unseen_scenes first.")
    truths = [str(scene.with_name(f"{scene.stem}_truth.gpkg")) for scene in scenes]
    files = ("--raster", *map(str, scenes), "--truth", *truths)
    targets = ("building", "vehicle") if scenes else ()
    return [
        Place(f"{target.capitalize()}s, synthetic", files, target, clicks_only=True) for target in targets
    ]


def asked_places(options: argparse.Namespace) -> list[Place]:
    """The places of the data and the scenes, or those of them that ``--only`` names."""
    there = places(options.data, options.examples, options.tiles) + synthetic_places(options.scenes)
    if not options.only:
        return there
    for word in options.only:
        if not any(word in place.name for place in there):
            raise ExemplarError(f"{options.data} holds no place of the name {word}.")
    if not options.keep:
        raise ExemplarError(
            "--only writes no page: give it --keep, and gather the page by a run without --only."
        )
    return [place for place in there if any(word in place.name for word in options.only)]
