"""Reading: a picture to the SMILES under it, and where each of its characters was looked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from torch import Tensor

from ... import walk
from ...molecule import MoleculeError, molecule
from ...picture import PictureError, Source, load
from .drawing import canvas
from .model import CELL, END, GRID, I2S, PADDING, PLACES, START


@dataclass(frozen=True)
class Caption:
    """What was written under one picture."""

    tokens: tuple[str, ...]
    """From the first on, ``>`` included if it was written."""
    probabilities: tuple[float, ...]
    weights: NDArray[np.float32]  # (T, 49): where each token looked
    smiles: str | None
    """As written, or as the walk decodes; None where a walk gives no molecule."""
    ended: bool
    """False if it was cut off at the last step."""

    @property
    def confidence(self) -> float:
        """Product of the tokens' probabilities."""
        return math.prod(self.probabilities)


def write(model: I2S, seen: Tensor) -> list[Caption]:
    """Read greedily: at each step the most probable token.

    Args:
        model: the reader.
        seen: grey pictures (B, 1, 224, 224) of 0..255, or the backbone's features (B, 49, 1280).
    """
    names, limit = model.size.tokens, model.size.steps - 1
    count = len(seen)
    with torch.no_grad():
        features = model.encode(seen)  # (B, 49, 512)
        keys = model.decoder.keys(features)
        hidden = model.decoder.reset_state(features)
        token = torch.full((count,), START, device=seen.device)
        ended = torch.zeros(count, dtype=torch.bool, device=seen.device)
        tokens, chances, looks = [], [], []
        for _ in range(limit):
            hidden, _, weights = model.decoder.step(token, features, keys, hidden)
            logits = model.decoder.words(hidden).float()
            logits[:, [PADDING, START]] = -torch.inf  # neither is ever asked for
            chance, token = torch.softmax(logits, -1).max(-1)  # (B,)
            tokens.append(token)
            chances.append(chance)
            looks.append(weights[..., 0].float())
            ended |= token == END
            if bool(ended.all()):
                break
    said = torch.stack(tokens, 1).tolist()  # (B, T)
    sure = torch.stack(chances, 1).tolist()
    gazed = torch.stack(looks, 1).cpu().numpy()  # (B, T, 49)
    found = []
    for i in range(count):
        finished = END in said[i]
        n = said[i].index(END) + 1 if finished else len(said[i])
        words = tuple(names[t] for t in said[i][:n])
        plain = "".join(words[:-1] if finished else words)
        smiles = _walked(words, gazed[i, :n]) if model.size.variant == "walk" else plain
        found.append(Caption(words, tuple(sure[i][:n]), gazed[i, :n], smiles or None, finished))
    return found


def _walked(words: Sequence[str], weights: NDArray[np.float32]) -> str | None:
    """The SMILES of a walk whose places (x, y) are those of its attention."""
    graph, _ = walk.decode(words, gazes(weights) * CELL)
    try:
        return molecule(graph).smiles
    except MoleculeError:
        return None


def gazes(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Places (T, 2) in cells: the centre of mass of the weights (T, 49) around their peaks."""
    y, x = np.divmod(np.arange(PLACES), GRID)
    peak = weights.argmax(1)[:, None]
    near = (abs(x - x[peak]) <= 1) & (abs(y - y[peak]) <= 1)
    mass = np.where(near, weights, 0).astype(np.float64)
    found: NDArray[np.float64] = np.stack([mass @ x, mass @ y], 1) / mass.sum(1, keepdims=True)
    return found


def read(
    model: I2S, sources: Iterable[Source]
) -> Iterator[tuple[NDArray[np.uint8], Caption] | PictureError]:
    """Read pictures one by one: each as the reader sees it (224, 224), and its caption.

    One that cannot be opened gives its error in its place.
    """
    for source in sources:
        try:
            picture, _ = canvas(load(source).ink)
        except PictureError as err:
            yield err
            continue
        yield picture, write(model, torch.from_numpy(picture)[None, None])[0]


def fault(caption: Caption) -> str:
    """Why a caption is no answer; empty if it is one."""
    if not caption.ended:
        return f"cut off at its longest ({len(caption.tokens)} tokens)"
    if not caption.smiles:
        return "no molecule"
    with rdBase.BlockLogs():
        if Chem.MolFromSmiles(caption.smiles) is None:
            return f"not a SMILES: {caption.smiles}"
    return ""
