"""What a batch costs, and how well it was read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .feed import Batch
from .model import GRID, I2S, PADDING


@dataclass
class Loss:
    """What a batch costs, and how well it was read given the true tokens before each."""

    total: Tensor
    token: Tensor
    """Cross-entropy in nats a token, padding left out."""
    attention: Tensor
    """Kullback-Leibler divergence from the taught target; 0 where nothing is taught."""
    token_right: Tensor
    near: Tensor
    """Share of the attention that falls within one cell of the atom that is being written."""


def distances(places: Tensor) -> Tensor:
    """From places (.., 2) in cells to the centres of the 49: (.., 49), NaN for no place."""
    line = torch.arange(GRID, device=places.device, dtype=places.dtype)
    y, x = torch.meshgrid(line, line, indexing="ij")
    centres = torch.stack([x.flatten(), y.flatten()], -1)  # (49, 2), row by row
    apart: Tensor = (places[..., None, :] - centres).norm(dim=-1)
    return apart


def loss(model: I2S, batch: Batch, weight: float = 0.5, sigma: float = 0.6) -> Loss:
    """Cross-entropy of tokens; where attention is taught, weight times its own on top.

    The target of attention is a Gaussian of sigma cells around the token's place.
    """
    logits, weights = model(batch.seen, batch.tokens)  # (B, T, V), (B, T, 49)
    answer = batch.tokens[:, 1:]  # (B, T)
    real = answer != PADDING
    token = F.cross_entropy(logits.flatten(0, 1), answer.flatten(), ignore_index=PADDING)
    far = distances(batch.places[:, 1:])  # (B, T, 49)
    total, divergence = token, torch.zeros_like(token)
    if model.size.variant in ("taught", "walk"):
        target = torch.nan_to_num(torch.exp(-(far**2) / (2 * sigma**2)))
        mass = target.sum(-1, keepdim=True)
        target = target / mass.clamp(min=1e-6)
        known = mass[..., 0] > 0.1  # (B, T): the token has a place, and it lies on the picture
        cross = -(target * torch.log(weights.clamp(min=1e-9))).sum(-1)
        count = known.sum().clamp(min=1)
        taught = (cross * known).sum() / count
        entropy = -(target * torch.log(target.clamp(min=1e-9))).sum(-1)
        divergence = taught.detach() - (entropy * known).sum() / count
        total = token + weight * taught
    with torch.no_grad():
        right = ((logits.argmax(-1) == answer) & real).sum() / real.sum().clamp(min=1)
        writes = batch.atom[:, 1:]
        inside = (weights * (far <= 1)).sum(-1)  # NaN compares False
        near = (inside * writes).sum() / writes.sum().clamp(min=1)
    return Loss(total, token.detach(), divergence, right, near)
