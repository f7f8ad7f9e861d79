"""Products of matrices by the quicker of the two libraries that torch brings.

torch multiplies matrices of float32 by MKL, whose kernels leave the AVX-512 units of
AMD's processors unused; oneDNN, by which it convolves, has kernels for them that take
half the time. torch offers these by an operator that is none of its public ones,
which its own compiler puts in the place of ``torch.nn.Linear``; without it, on other
processors and on graphics cards everything here is what torch does anyway.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_ROWS = 32  # fewer are multiplied as quickly by MKL, and each shape is prepared for once

_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_GAINS = (
    _ONEDNN is not None
    and torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability() == "AVX512"
)


class QuickLinear(nn.Linear):
    """A linear layer that no longer learns."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def quicken(network: nn.Module) -> None:
    """Let all linear layers of a network multiply by the quicker library, in place."""
    for module in network.modules():
        if type(module) is nn.Linear:  # what is derived from it may do something else
            module.__class__ = QuickLinear


def is_quicker(x: Tensor, rows: int) -> bool:
    """Whether a product with this many rows is better left to oneDNN."""
    return (
        _GAINS
        and rows >= LEAST_ROWS
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """Rows (..., k) times the transpose of a matrix (m, k), plus a bias (m,), through a GELU if asked for."""
    if is_quicker(x, x.shape[:-1].numel()):
        activation = ("gelu", [], "none") if gelu else ("none", [], "")
        return _ONEDNN(x, weight, bias, *activation)
    product = F.linear(x, weight, bias)
    return F.gelu(product) if gelu else product


def times(x: Tensor, y: Tensor) -> Tensor:
    """Products (B, n, m) of matrices (B, n, k) and (B, k, m)."""
    if is_quicker(x, x.shape[1]):
        return _stacked([_ONEDNN(a, b.t(), None, "none", [], "") for a, b in zip(x, y, strict=True)])
    return x @ y


def plus_times(total: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A total (B, n, m) plus products of matrices (B, n, k) and (B, k, m)."""
    if is_quicker(x, x.shape[1]):
        return _stacked(
            [_ONEDNN.binary(a, one, b.t(), None, "add") for one, a, b in zip(total, x, y, strict=True)]
        )
    return torch.baddbmm(total, x, y)


def _stacked(matrices: list[Tensor]) -> Tensor:
    """Matrices as one (B, n, m), without a copy where there is one only."""
    return matrices[0][None] if len(matrices) == 1 else torch.stack(matrices)
