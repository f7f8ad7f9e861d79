"""Logistic regression on features whose truth is there, for what the pipeline weighs by a few of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

Rows = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # of each tile or run: features, answers, weights


@dataclasses.dataclass(frozen=True)
class Judged:
    """Features (N, F), what is true (N,), and how much each counts (N,), 1 together."""

    features: np.ndarray
    true: np.ndarray
    weights: np.ndarray


def together(rows: Rows) -> Judged:
    """All that was judged in one place; every place counts alike, however large."""
    features, true, weights = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Judged(features, true, weights / weights.sum())


def fit(places: list[Judged], ridge: float = 0.0) -> LogisticRegression:
    """Fit one regression to all places; ``ridge`` times the squared weights is added to the log loss."""
    strength = 1 / (2 * ridge) if ridge else np.inf  # scikit-learn weighs the loss, and halves the squares
    regression = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-8, max_iter=1000)
    return regression.fit(
        np.concatenate([place.features for place in places]),
        np.concatenate([place.true for place in places]),
        sample_weight=np.concatenate([place.weights for place in places]),
    )


def loss(regression: LogisticRegression, judged: Judged) -> float:
    """Weighted log loss of a regression on one place."""
    probability = regression.predict_proba(judged.features)[:, 1]
    return float(log_loss(judged.true, probability, sample_weight=judged.weights, labels=[False, True]))


def report(places: dict[str, Judged], ridge: float = 0.0) -> None:
    """Print each place's loss by what the others tell, and what all of them tell together."""
    for name, own in places.items():
        others = fit([place for other, place in places.items() if other != name], ridge)
        print(
            f"{name}: log loss {loss(others, own):.3f} by the others' weights, shares {own.true.mean():.2f}"
        )
    regression = fit(list(places.values()), ridge)
    weights, constant = np.round(regression.coef_[0], 2).tolist(), regression.intercept_[0]
    print(f"WEIGHTS {weights}, CONSTANT {constant:.2f}")
