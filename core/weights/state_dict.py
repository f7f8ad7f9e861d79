"""Files of weights: read without running code from them."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors.torch import load as load_safetensors

from core.errors import InputError, is_out_of_memory


def read_state_dict(path: Path, file: BinaryIO | None = None) -> dict[str, torch.Tensor]:
    """Read weights without running code from the file, and without mapping it.

    ``file`` is what to read where the path is open already.
    """
    wrong = InputError(f"{path} holds no weights that can be read safely. Choose a SAM checkpoint.")
    try:
        with nullcontext(file) if file else path.open("rb") as file:
            if path.suffix == ".safetensors":
                state = load_safetensors(file.read())
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the sentence below says all that the user needs
                    state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}.") from error
    except Exception as error:  # damaged files make torch fail in many ways
        if is_out_of_memory(error):
            raise
        raise wrong from error
    if not isinstance(state, dict) or not all(map(_is_weight, state.keys(), state.values())):
        raise wrong
    state = {key: value.float() for key, value in state.items()}
    if unfit := next((key for key, value in state.items() if not value.isfinite().all()), None):
        raise InputError(
            f"{path} holds weights that are no finite numbers ({unfit}), so it would find nothing. "
            "Take the file of a training that went well."
        )
    return state


def _is_weight(key: object, value: object) -> bool:
    """Whether an entry of a file is a named tensor of ordinary numbers."""
    if not (isinstance(key, str) and isinstance(value, torch.Tensor)):
        return False
    return not (value.is_quantized or value.is_complex())
