"""Drop what never fires: inner channels of the encoder's blocks that are zero in every picture.

``python -m research.training.prune MODEL.safetensors`` rewrites an exported model, in place. Half of
the channels of the last stages end like this: batch norms push them below zero, where an
activation lets nothing through, and nothing that learns either. What is left is not
touched, so answers stay the same wherever those channels would have been silent.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.sam.networks.widths import INNER, LAST, inverted_residuals
from core.weights.verified_file import hash_file
from research.common.paths import MODEL_FILE, TRAINING_DATA
from research.training.cache import FOLDER
from research.training.export import rewrite
from research.training.network import Trainee
from research.training.quality import trainee_of
from research.training.state import widened
from research.training.steps import Data, random_view

VIEWS, SIDE = 300, 512
BOXES = 0.2  # share of the views of tiles that have boxes only
MULTIPLE = 16  # channels: as many as a processor handles at once; fewer would be no quicker


@torch.no_grad()
def alive(model: Trainee, images: Iterable[np.ndarray]) -> dict[str, Tensor]:
    """Which inner channels (C,) of each inverted residual are other than zero in any image; by its name."""
    blocks, seen = inverted_residuals(model.sam), {}

    def watch(name: str):
        def see(_, given: tuple[Tensor]) -> None:
            fires = (given[0] != 0).flatten(2).any(2).any(0)
            seen[name] = fires | seen.get(name, torch.zeros_like(fires))

        return see

    hooks = [block.conv_pwl.register_forward_pre_hook(watch(name)) for name, block in blocks.items()]
    for image in images:
        model.encode([image])
    for hook in hooks:
        hook.remove()
    return seen


def drop(state: dict[str, Tensor], live: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without dead channels, but for those that fill up the last ``MULTIPLE``."""
    dropped = dict(state)
    for name, lives in live.items():
        width = -(-max(int(lives.sum()), 1) // MULTIPLE) * MULTIPLE
        kept = torch.argsort(~lives, stable=True)[:width].sort().values  # the live ones come first
        for part in INNER:
            dropped[f"{name}.{part}"] = state[f"{name}.{part}"][kept].contiguous()
        dropped[f"{name}.{LAST}"] = state[f"{name}.{LAST}"][:, kept].contiguous()
    return dropped


def prune(path: Path, images: Iterable[np.ndarray]) -> None:
    """Rewrite a model file without what none of the images (H, W, 3) makes fire."""
    live = alive(trainee_of(path), images)
    rewrite(path, drop(widened(load_file(path)), live))


def views(data: Data, count: int, seed: int = 0) -> Iterable[np.ndarray]:
    """Views as training draws them, of tiles that have boxes only too."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        plate = data.draw(rng, 0.5)
        if data.boxes and rng.random() < BOXES:
            plate = data.boxes[rng.integers(len(data.boxes))]
        yield random_view(rng, plate, SIDE, 24, 300, shrinks=True).image


def main() -> None:
    """Look at views of the training's scenes and pictures, and rewrite."""
    parser = argparse.ArgumentParser(prog="python -m research.training.prune", description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=MODEL_FILE)
    parser.add_argument("--scenes", type=Path, default=FOLDER)
    parser.add_argument("--real", type=Path, default=TRAINING_DATA, help="real data; may be missing")
    parser.add_argument("--views", type=int, default=VIEWS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    data = Data.open(arguments.scenes, arguments.real)
    prune(arguments.model, views(data, arguments.views))
    print(f"{arguments.model}: {arguments.model.stat().st_size} bytes, SHA-256 {hash_file(arguments.model)}")


if __name__ == "__main__":
    main()
