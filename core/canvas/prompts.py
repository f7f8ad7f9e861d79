"""Strategies: where the prompts of a run are placed on the canvas.

Vora and Saha (section 3) show four designs as pictures, without figures for how
many points there are or where exactly they lie. What is theirs: which half gets
points and of which sign. What is our reading:

* the example's points are drawn anew for every run, ``EXAMPLE_POINTS`` of each
  sign, uniformly over the pixels of all copies of the example in the column;
* negative points come from a close ring around the polygon only. The paper's
  example image has a mask of *all* its objects; our user draws *one*, so what
  lies further away may be another object of the same kind;
* the query's points are drawn uniformly over the tile's valid pixels, so many
  fall on nothing of interest; the ensemble's filter sorts those runs out.

``guided`` is ours: its runs vote as those of the second design do, and what was
found is parted into objects along the borders that the network answers
(``core.instances.watershed``). Where it does not, three quarters of the runs are kept for
clicks that part it (``core.instances.click_grouping``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from core.canvas.stitch import Canvas
from core.errors import InputError
from core.protocol import DetectRequest

EXAMPLE_POINTS = 4  # of each sign, per run
SEVERAL = 4  # query points per run of the fourth design
CLICKED = 0.75  # of guided's runs: on one canvas few votes say what many would


@dataclasses.dataclass(frozen=True)
class PromptSets:
    """The points of R runs.

    Attributes
    ----------
    points_canvas : ndarray of float64, shape (R, N, 2)
        x, y in canvas pixels, at pixel centres.
    labels : ndarray of int64, shape (R, N)
        1 positive, 0 negative, -1 no point.
    """

    points_canvas: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Strategy:
    """A way to place prompts: ``place(canvas, runs, rng)`` gives the prompt sets.

    Attributes
    ----------
    separates : bool
        Whether what was found is parted into single objects: along the borders
        that the network answers, else by clicks (see ``core.instances.click_grouping``), for
        which a share of the runs, ``CLICKED``, is kept.
    """

    name: str
    title: str
    place: Callable[[Canvas, int, np.random.Generator], PromptSets]
    separates: bool = False

    def split(self, runs: int, by_borders: bool = False) -> tuple[int, int]:
        """How many of the runs vote, at least one, and how many are left for clicks.

        Objects that are parted ``by_borders`` need no clicks: all runs vote.
        """
        clicks = int(CLICKED * runs) if self.separates and not by_borders else 0
        return runs - clicks, clicks


def _draw(mask: np.ndarray, runs: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw pixel centres of a mask uniformly, shape (runs, count, 2)."""
    rows, columns = np.nonzero(mask)
    chosen = rng.integers(len(rows), size=(runs, count)) if len(rows) else np.zeros((runs, 0), int)
    return np.stack([columns[chosen], rows[chosen]], axis=-1) + 0.5


def _design(*, negatives: bool, query_points: int) -> Callable[..., PromptSets]:
    def place(canvas: Canvas, runs: int, rng: np.random.Generator) -> PromptSets:
        signed = [(1, _draw(canvas.example, runs, EXAMPLE_POINTS, rng))]
        if negatives:
            signed.append((0, _draw(canvas.ring, runs, EXAMPLE_POINTS, rng)))
        if query_points:
            signed.append((1, _draw(canvas.query, runs, query_points, rng)))
        return PromptSets(
            np.concatenate([points for _, points in signed], axis=1),
            np.concatenate([np.full(points.shape[:2], sign) for sign, points in signed], axis=1),
        )

    return place


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            "guided",
            "Vote, then tell objects apart",
            _design(negatives=True, query_points=1),
            separates=True,
        ),
        Strategy(
            "random-point",
            "One random point per run (design 2)",
            _design(negatives=True, query_points=1),
        ),
        Strategy(
            "example-only",
            "Points in the example only (design 1)",
            _design(negatives=True, query_points=0),
        ),
        Strategy(
            "random-point-positive",
            "One random point, no negative points (design 3)",
            _design(negatives=False, query_points=1),
        ),
        Strategy(
            "random-points",
            "Several random points per run (design 4)",
            _design(negatives=True, query_points=SEVERAL),
        ),
    )
}
DEFAULT = DetectRequest.strategy


def strategy_named(name: str) -> Strategy:
    if name not in STRATEGIES:
        raise InputError(f"There is no strategy {name!r}. Choose one of: {', '.join(STRATEGIES)}.")
    return STRATEGIES[name]
