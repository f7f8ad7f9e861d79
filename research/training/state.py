"""Training state on disk, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.sam.networks.embedded import BOX_HEAD, SEMANTIC_HEAD, build_embedded
from core.sam.networks.widths import INNER, LAST, inverted_residuals
from research.training.network import Trainee

EMA_DECAY = 0.998  # an average over some 500 steps


class State:
    """Everything that a resumed training needs.

    Parameters
    ----------
    seed : int
        Seeds weights and draws.
    starts : sequence of dict, optional
        State dicts of a ``Trainee`` to begin with, the later over the earlier;
        taken where name and shape fit.
    half : bool
        See :class:`research.training.network.Trainee`.
    """

    def __init__(self, seed: int = 0, starts: Sequence[dict[str, Tensor]] = (), half: bool = False):
        torch.manual_seed(seed)
        self.model = Trainee(half)
        for start in starts:
            self._begin_with(start)
        self.rng = np.random.default_rng(seed)
        self.step = 0
        self.elapsed_s = 0.0
        self.ema: dict[str, Tensor] = self._weights()
        self.optimizer = make_optimizer(self.model)

    def _begin_with(self, start: dict[str, Tensor]) -> None:
        own = self.model.state_dict()
        fitting = {name: v for name, v in start.items() if name in own and own[name].shape == v.shape}
        self.model.load_state_dict(own | fitting)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def restart_average(self) -> None:
        """Forget the average: after a stage whose weights would spoil it."""
        self.ema = self._weights()

    @torch.no_grad()
    def average(self) -> None:
        """Move the average towards the current weights."""
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                self.ema[name].lerp_(value, 1 - decay)
            else:
                self.ema[name].copy_(value)

    def averaged(self) -> Trainee:
        """A copy of the model with the averaged weights, in evaluation mode."""
        model = Trainee()
        model.load_state_dict(self.ema)
        return model.eval()

    def save(self, path: Path) -> None:
        """Write the state; a half-written file never has the final name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = {
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "rng": self.rng.bit_generator.state,
        }
        part = path.with_suffix(".part")
        torch.save(stored, part)
        part.replace(path)

    @classmethod
    def load(cls, path: Path, half: bool = False) -> State:
        """Read a state that ``save`` wrote."""
        stored = torch.load(path, map_location="cpu", weights_only=True)
        state = cls(half=half)
        state.model.load_state_dict(stored["model"])
        state.ema = stored["ema"]
        state.optimizer.load_state_dict(stored["optimizer"])
        state.step, state.elapsed_s = stored["step"], stored["elapsed_s"]
        state.rng.bit_generator.state = stored["rng"]
        return state


def weights_of(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, or those of a model file, by a ``Trainee``'s names."""
    if path.suffix == ".pt":
        return torch.load(path, map_location="cpu", weights_only=True)["ema"]
    return of_sam({name: value.float() for name, value in widened(load_file(path)).items()})


def widened(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model file's weights with zeros in the place of channels that ``research.training.prune`` dropped."""
    network, whole = build_embedded(), dict(weights)
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    for block in inverted_residuals(network):
        for name in (f"{block}.{part}" for part in (*INNER, LAST)):
            if name in weights and weights[name].shape != shapes[name]:
                whole[name] = weights[name].new_zeros(shapes[name])
                whole[name][tuple(slice(length) for length in weights[name].shape)] = weights[name]
    return whole


def of_sam(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A SAM's state dict, with or without the heads of a model file, as part of a ``Trainee``'s."""
    return {_own_name(name): value for name, value in state.items()}


def _own_name(name: str) -> str:
    for prefix, own in ((SEMANTIC_HEAD, "head."), (BOX_HEAD, "box_head.")):
        if name.startswith(prefix):
            return own + name.removeprefix(prefix)
    return f"sam.{name}"


def make_optimizer(model: Trainee) -> torch.optim.AdamW:
    """AdamW; what comes trained goes slower (``pace``)."""
    backbone = list(model.sam.image_encoder.backbone.parameters())
    known = {id(parameter) for parameter in backbone}
    encoder = [p for p in model.sam.image_encoder.parameters() if id(p) not in known]
    decoder = list(model.sam.prompt_encoder.parameters()) + list(model.sam.mask_decoder.parameters())
    return torch.optim.AdamW(
        [
            {"params": backbone, "pace": 0.5, "weight_decay": 0.02},
            {"params": encoder, "pace": 0.7, "weight_decay": 0.02},
            {"params": decoder, "pace": 1.0, "weight_decay": 0.01},
            {"params": list(model.head.parameters()), "pace": 1.0, "weight_decay": 0.01},
            {"params": list(model.box_head.parameters()), "pace": 1.0, "weight_decay": 0.01},
        ],
        lr=1e-3,
    )
