"""Copies of the model that learn from different canvases at the same time.

A second thread within one small canvas gains next to nothing; a canvas for each
core nearly doubles what is seen, and the mean of two gradients is less noisy.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from research.training.network import Trainee
from research.training.steps import Outcome

Step = Callable[[Trainee, np.random.Generator], Outcome]


class Replicas:
    """One model and its copies, each with a thread of its own.

    Parameters
    ----------
    model : Trainee
        The one that is optimised: its parameters get the mean gradient.
    count : int
        How many there are with it.
    """

    def __init__(self, model: Trainee, count: int):
        self.models = [model] + [Trainee(model.half) for _ in range(count - 1)]
        self._threads = ThreadPoolExecutor(count)

    def gradient(self, step: Step, rng: np.random.Generator) -> list[Outcome]:
        """Evaluate one step on every copy, each with random numbers of its own; leaves the mean gradient."""
        self._follow()
        draws = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=len(self.models))]

        def evaluate(model: Trainee, draw: np.random.Generator) -> Outcome:
            model.zero_grad(set_to_none=True)
            outcome = step(model, draw)
            outcome.loss.backward()
            return outcome

        outcomes = list(self._threads.map(evaluate, self.models, draws))
        self._average()
        return outcomes

    @torch.no_grad()
    def _follow(self) -> None:
        first, *others = (list(model.state_dict().values()) for model in self.models)
        for other in others:
            torch._foreach_copy_(other, first)

    @torch.no_grad()
    def _average(self) -> None:
        for parameters in zip(*(model.parameters() for model in self.models)):
            # a part that no prompt of a canvas used has no gradient there, which counts as none
            there = [parameter.grad for parameter in parameters if parameter.grad is not None]
            if there:
                parameters[0].grad = torch.stack(there).sum(0) / len(parameters)
