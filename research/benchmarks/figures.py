"""Figures of repeated measurements: median, worst, spread, paired differences, rank correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import bootstrap, rankdata

DRAWS = 10_000  # bootstrap samples: the interval's ends are steady to the third digit


def spread(name: str, values: Sequence[float]) -> dict[str, float | list[float]]:
    """Median, worst, best, quartiles and all values of one measure, keyed by its name."""
    rounded = [round(float(value), 4) for value in values]
    if not rounded:
        return {f"{name}_{what}": 0.0 for what in ("median", "min", "max", "q1", "q3")} | {name: []}
    return {
        f"{name}_median": float(np.median(rounded)),
        f"{name}_min": min(rounded),
        f"{name}_max": max(rounded),
        f"{name}_q1": float(np.percentile(rounded, 25)),
        f"{name}_q3": float(np.percentile(rounded, 75)),
        name: rounded,
    }


def paired_difference(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Mean of ``ours - theirs`` over the same cases, with its 95 % bootstrap interval.

    Parameters
    ----------
    ours, theirs : sequence of float
        One value per case, in the same order.
    seed : int
        Of the bootstrap's draws: the same values give the same interval.

    Returns
    -------
    dict
        ``mean``; ``low`` and ``high``, the percentile interval of the mean
        when cases are drawn again with replacement; ``n``, the cases.
    """
    differences = np.asarray(ours, float) - np.asarray(theirs, float)
    if not len(differences):
        return {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 0}
    low = high = differences.mean()
    if len(differences) > 1:  # of one case there is no interval
        rng = np.random.default_rng(seed)
        drawn = bootstrap((differences,), np.mean, n_resamples=DRAWS, method="percentile", rng=rng)
        low, high = drawn.confidence_interval
    return {
        "mean": round(float(differences.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n": len(differences),
    }


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 where one side is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
