"""The device on which a network is evaluated."""

from __future__ import annotations

import torch

from core.errors import InputError


def choose_device(device: str) -> torch.device:
    """Turn ``auto`` into the best device there is; refuse one that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if device not in there:
        raise InputError(f"There is no device {device!r}. Choose one of: auto, {', '.join(there)}.")
    if not there[device]:
        raise InputError(f"This computer offers no {device} device. Use --device auto or cpu.")
    return torch.device(device)
