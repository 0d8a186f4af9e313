"""Convolutions channel by channel that are learnt faster in bf16 on a CPU.

PyTorch's own backward pass of them takes most of the time of the whole backbone there: of 5x5
kernels in what it gives the weights, at stride 2 in what it gives the picture. Here both are made
of forward convolutions and products, in three quarters of the time; in single precision it would
take longer. The numbers are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def depthwise(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve every channel by itself, without padding.

    Args:
        x: (B, C, H, W). weight: (C, 1, k, k).
        stride: pixels from one place to the next.

    Returns:
        (B, C, (H - k) // stride + 1, (W - k) // stride + 1), in the type that autocast asks for.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        x, weight = (t.to(torch.get_autocast_dtype(kind)) for t in (x, weight))
    if kind != "cpu" or x.dtype != torch.bfloat16 or not torch.is_grad_enabled():
        return F.conv2d(x, weight, stride=stride, groups=len(weight))
    out: Tensor = _Depthwise.apply(x, weight, stride)  # type: ignore[no-untyped-call]
    return out


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, stride=stride, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        slope = slopes[0].contiguous(memory_format=torch.channels_last)
        to_x = _to_x(slope, x, weight, ctx.stride) if ctx.needs_input_grad[0] else None
        to_weight = _to_weight(slope, x, weight, ctx.stride) if ctx.needs_input_grad[1] else None
        return to_x, to_weight, None


def _to_x(slope: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The slope of x: pixels a stride apart meet the same part of the kernel, so each such set of
    pixels is a convolution of its own.
    """
    out = torch.zeros_like(x, memory_format=torch.channels_last)
    for top in range(stride):
        for left in range(stride):
            part = weight[:, :, top::stride, left::stride].flip(2, 3)
            high, wide = part.shape[2] - 1, part.shape[3] - 1
            around = F.pad(slope, (wide, wide, high, high))
            found = F.conv2d(around, part, groups=len(weight))
            to = out[:, :, top::stride, left::stride]
            to[:, :, : found.shape[2], : found.shape[3]] = found
    return out


def _to_weight(slope: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The slope of the weights: of a 5x5 kernel one product for each of its 25."""
    side = weight.shape[2]
    if side < 5:
        found = torch.ops.aten.convolution_backward(
            slope, x, weight, None, [stride] * 2, [0, 0], [1, 1], False, [0, 0], len(weight),
            [False, True, False],
        )  # fmt: skip
        own: Tensor = found[1]
        return own
    rows, columns = slope.shape[2], slope.shape[3]
    given, last = slope.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)  # channels last
    out = weight.new_empty(len(weight), 1, side, side, dtype=torch.float32)
    for y in range(side):
        for z in range(side):
            seen = last[:, y : y + rows * stride : stride, z : z + columns * stride : stride]
            seen = seen[:, :rows, :columns]
            out[:, 0, y, z] = (seen * given).sum((0, 1, 2), dtype=torch.float32)
    return out.to(weight.dtype)
