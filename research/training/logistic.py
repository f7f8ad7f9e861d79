"""Logistic regression on signs whose answers are known, for what the pipeline weighs by a few of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import minimize

Rows = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # of each tile or run: signs, answers, weights


@dataclasses.dataclass(frozen=True)
class Judged:
    """Signs (N, S), what is true (N,), and how much each counts (N,), 1 together."""

    signs: np.ndarray
    true: np.ndarray
    weights: np.ndarray


def together(rows: Rows) -> Judged:
    """All that was judged in one place; every place counts alike, however large."""
    signs, true, weights = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Judged(signs, true, weights / weights.sum())


def loss(coefficients: np.ndarray, judged: Judged) -> float:
    """Weighted log loss of weights and constant (S + 1,)."""
    score = judged.signs @ coefficients[:-1] + coefficients[-1]
    return float(judged.weights @ np.logaddexp(0, np.where(judged.true, -score, score)))


def fit(places: list[Judged], ridge: float = 0.0) -> np.ndarray:
    """Weights and constant (S + 1,) of the regression on all places; ``ridge`` keeps weights small."""

    def total(x: np.ndarray) -> float:
        return sum(loss(x, place) for place in places) + ridge * float(x[:-1] @ x[:-1])

    return minimize(total, np.zeros(places[0].signs.shape[1] + 1)).x


def report(places: dict[str, Judged], ridge: float = 0.0) -> None:
    """Print each place's loss by what the others tell, and what all of them tell together."""
    for name, own in places.items():
        others = fit([place for other, place in places.items() if other != name], ridge)
        print(
            f"{name}: log loss {loss(others, own):.3f} by the others' weights, shares {own.true.mean():.2f}"
        )
    *weights, constant = fit(list(places.values()), ridge)
    print(f"WEIGHTS {np.round(weights, 2).tolist()}, CONSTANT {constant:.2f}")
