"""Export a checkpoint's averaged weights as the model file that ships with the plugin.

``python -m research.training.export build/training/runs/main/last.pt``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from core.sam.networks.embedded import BOX_HEAD, SEMANTIC_HEAD, build_embedded
from core.weights.verified_file import hash_file
from research.common.paths import MODEL_FILE
from research.training.state import State

LARGEST_BYTES = 12 * 2**20


def to_half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floating weights as float16; raises where one does not fit."""
    half = {}
    for name, value in state.items():
        half[name] = value.half().contiguous() if value.dtype.is_floating_point else value.contiguous()
        if not torch.isfinite(half[name].float()).all():
            raise ValueError(f"{name} does not fit into float16")
    return half


def rewrite(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Give a model file other weights; a half-written file never has the final name."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    part = path.with_suffix(".part")
    save_file(state, part, metadata=metadata)
    part.replace(path)


def export(checkpoint: Path, output: Path = MODEL_FILE) -> int:
    """Write the model file and check that it loads; gives its size in bytes."""
    state = State.load(checkpoint)
    model = state.averaged()
    half = to_half(model.sam.state_dict())
    build_embedded().load_state_dict({name: value.float() for name, value in half.items()}, strict=True)
    heads = {SEMANTIC_HEAD: model.head, BOX_HEAD: model.box_head}
    for prefix, head in heads.items():
        half |= to_half({f"{prefix}{name}": value for name, value in head.state_dict().items()})
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, output, metadata={"format": "pt", "model": "exemplar-embedded", "steps": str(state.step)})
    size = output.stat().st_size
    if size > LARGEST_BYTES:
        raise ValueError(f"{output} has {size} bytes, more than {LARGEST_BYTES}")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m research.training.export", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--output", type=Path, default=MODEL_FILE)
    arguments = parser.parse_args()
    size = export(arguments.checkpoint, arguments.output)
    print(f"{arguments.output}: {size} bytes, SHA-256 {hash_file(arguments.output)}")
    print("The model that ships is loaded by its name once both are in core/models.py.")


if __name__ == "__main__":
    main()
