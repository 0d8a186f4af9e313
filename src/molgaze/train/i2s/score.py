"""How well held-out pictures are read, by length class, and where the attention falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from ...score import Result, compare
from .caption import write
from .feed import Batch
from .loss import distances, loss
from .model import I2S


@dataclass(frozen=True)
class Figures:
    """What a reader makes of some pictures."""

    results: list[Result]
    """Of its own, greedy reading."""
    nats: float
    """Negative log-likelihood of a whole target, the tokens before each given."""
    token_right: float
    """Share of the tokens that are right when those before are given."""
    near: float
    """Share of the attention within one cell of the atom that is being written, tokens given."""
    equal: float
    """What equal weights at all 49 places would give for it."""

    def row(self) -> dict[str, float]:
        """Means over the pictures, by name."""
        means = {
            name: fmean(float(getattr(r, name)) for r in self.results)
            for name in ("exact", "tanimoto", "valid")
        }
        rest = ("near", "equal", "token_right", "nats")
        found = {**means, **{name: getattr(self, name) for name in rest}}
        return {"pictures": len(self.results)} | {k: round(v, 4) for k, v in found.items()}


@torch.no_grad()
def judge(model: I2S, batches: Sequence[Batch]) -> Figures:
    """Read batches whose SMILES are known, and look at the attention under the true tokens."""
    model.eval()
    results: list[Result] = []
    nats, right, near, equal, tokens, atoms = 0.0, 0.0, 0.0, 0.0, 0, 0
    for batch in batches:
        cost = loss(model, batch)
        count, writes = int((batch.tokens[:, 1:] > 0).sum()), int(batch.atom.sum())
        tokens, atoms = tokens + count, atoms + writes
        nats += float(cost.token) * count
        right += float(cost.token_right) * count
        near += float(cost.near) * writes
        equal += float((distances(batch.places)[batch.atom] <= 1).float().mean(-1).sum())
        for smiles, caption in zip(batch.smiles, write(model, batch.seen), strict=True):
            results.append(compare(Path(), smiles, caption.smiles))
    return Figures(results, nats / len(results), right / tokens, near / atoms, equal / atoms)


def report(found: Mapping[int, Figures]) -> list[str]:
    """Lines of a table, a length class in each."""
    lines = ["characters  pictures   exact  Tanimoto   valid  attention near  equal weights"]
    shortest = 1
    for most, figures in found.items():
        row = figures.row()
        lines.append(
            f"{shortest:4} to {most:2}  {row['pictures']:8.0f}  {row['exact']:6.1%}"
            f"  {row['tanimoto']:8.3f}  {row['valid']:6.1%}  {row['near']:14.3f}"
            f"  {row['equal']:13.3f}"
        )
        shortest = most + 1
    return lines
