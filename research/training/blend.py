"""The mean of exported models that learned one from the other: steadier than any of them.

``python -m research.training.blend BEFORE.safetensors AFTER.safetensors --output MODEL.safetensors``

Weights of one training's stages lie in one valley, so their mean is a model too, and
on places that none of them has seen often the better one (Wortsman et al., *Model
soups*, ICML 2022, and *Robust fine-tuning of zero-shot models*, CVPR 2022). The quality
head is left out: it belongs to one network, and is fitted anew (``research.training.quality``).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from research.common.paths import MODEL_FILE
from research.training.export import to_half
from research.training.quality import network_weights


def blend(paths: Sequence[Path], output: Path = MODEL_FILE) -> None:
    """Write the mean of all weights; ``ValueError`` where the files are not of one network."""
    states = [network_weights(path) for path in paths]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes[1:]):
        raise ValueError("The files hold networks of different kinds.")
    mean = {
        name: torch.stack([state[name].float() for state in states]).mean(0)
        if value.dtype.is_floating_point
        else states[-1][name]
        for name, value in states[0].items()
    }
    with safe_open(paths[-1], "pt") as file:
        metadata = file.metadata()
    save_file(to_half(mean), output, metadata=metadata)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.training.blend", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, default=MODEL_FILE)
    arguments = parser.parse_args()
    blend(arguments.models, arguments.output)
    print(f"{arguments.output}: the mean of {len(arguments.models)}; now python -m research.training.quality")


if __name__ == "__main__":
    main()
