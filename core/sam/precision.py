"""How precisely an encoder multiplies: in float32, or in half precision where a device has units for it."""

from __future__ import annotations

import torch

from core.errors import InputError
from core.protocol import PRECISIONS
from core.sam.fast.conv_encoder import FastConvEncoder
from core.sam.networks.embedded import ConvEncoder


def lower(encoder: torch.nn.Module, precision: str, device: torch.device) -> torch.dtype | None:
    """Let an encoder multiply as :func:`half_of` says.

    Returns
    -------
    torch.dtype, optional
        For autocast. None for float32, and for an encoder that knows itself what
        to halve on a processor, which is changed in place.
    """
    half = half_of(precision, device, encoder)
    if half and device.type == "cpu" and isinstance(encoder, FastConvEncoder):
        encoder.halve()
        return None
    return half


def half_of(precision: str, device: torch.device, encoder: torch.nn.Module) -> torch.dtype | None:
    """The half precision in which an encoder multiplies on a device; None for float32.

    By itself (``auto``) a graphics card of NVIDIA's takes float16, and a processor bfloat16 where
    it has units for it, but for the embedded model's encoder alone: what that loses is measured
    (``docs/performance.md``), while answers of the published networks are as published.

    Parameters
    ----------
    precision : {"auto", "single", "half"}
    device : torch.device
    encoder : nn.Module

    Raises
    ------
    InputError
        For anything else, and for ``half`` where it was never tried.
    """
    if precision not in PRECISIONS:
        raise InputError(f"There is no precision {precision!r}. Choose one of: {', '.join(PRECISIONS)}.")
    if precision == "single":
        return None
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu":
        chosen = precision == "half" or (isinstance(encoder, ConvEncoder) and has_units())
        return torch.bfloat16 if chosen else None
    if precision == "half":
        raise InputError(f"Half precision was never tried on {device.type}. Use --precision single.")
    return None


def has_units() -> bool:
    """Whether this processor multiplies bfloat16 itself; elsewhere it takes longer than float32."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # there is no public name for it
    return supported is not None and torch.backends.mkldnn.is_available() and bool(supported())
