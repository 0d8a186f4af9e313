"""Molecules of growing length, drawn, in batches of similar length."""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ..corpus import read_smiles
from .drawing import Example, RefusedError, draw, example
from .model import PADDING, STEPS, Size

LONGEST = STEPS - 2  # characters
FIRST = 20  # characters of the longest SMILES at the start
CLASSES = (25, LONGEST)  # length classes of held-out pictures: up to 25 characters, 26 to 70
PATIENCE = 500  # molecules refused in a row before the files are held to be at fault
SHELF = 16  # batches that are drawn before they are sorted by length


class Molecules:
    """The SMILES of some files by their length, in little memory.

    A length is drawn as often as the root of how many SMILES have it, so that neither short nor
    long ones are rare.

    Args:
        files: of SMILES, one a line.
        held_out: those that training leaves out, instead of the others.

    Raises:
        ValueError: no SMILES of up to 70 characters.
    """

    def __init__(self, files: Sequence[Path], held_out: bool = False) -> None:
        lines = [
            line.encode()
            for path in files
            for line in read_smiles(path, held_out)
            if len(line) <= LONGEST
        ]
        if not lines:
            names = ", ".join(map(str, files))
            kept = " is left to be held out" if held_out else ""
            raise ValueError(f"{names}: no SMILES of up to {LONGEST} characters{kept}")
        lines.sort(key=len)
        self._text = b"".join(lines)
        self.counts = np.bincount([len(line) for line in lines], minlength=LONGEST + 1)  # (71,)
        lengths = np.arange(LONGEST + 1)
        self._first = np.concatenate([[0], np.cumsum(self.counts * lengths)])  # bytes before each

    def any(self, rng: np.random.Generator, shortest: int, longest: int) -> str:
        """One of so many characters at random; of the shortest there are, if none is as short."""
        share = np.sqrt(self.counts)
        share[:shortest] = 0
        inside = share[: longest + 1].sum()
        if inside:
            length = int(rng.choice(longest + 1, p=share[: longest + 1] / inside))
        else:
            length = int(np.flatnonzero(self.counts)[0])
        start = int(self._first[length]) + length * int(rng.integers(self.counts[length]))
        return self._text[start : start + length].decode()


def drawn(smiles: Callable[[], str], size: Size, longest: int, refused: Counter[str]) -> Example:
    """The next molecule that can be an example; those on the way to it are counted as refused.

    Raises:
        ValueError: all of many are refused; the text says why.
    """
    reasons: Counter[str] = Counter()
    while reasons.total() < PATIENCE:
        try:
            return example(draw(smiles(), longest), size)
        except RefusedError as err:
            refused[str(err)] += 1
            reasons[str(err)] += 1
    why = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    raise ValueError(f"{PATIENCE} molecules in a row were refused: {why}")


@dataclass
class Batch:
    """Pictures and what is to be read, padded."""

    seen: Tensor
    """(B, 1, 224, 224) uint8, or what the backbone makes of that, (B, 49, 1280)."""
    tokens: Tensor  # (B, T + 1) int64, 0 is padding
    places: Tensor  # (B, T + 1, 2) float, NaN where there is none
    atom: Tensor  # (B, T + 1) bool
    smiles: list[str]
    """Empty where it is not known."""
    refused: dict[str, int] = field(default_factory=dict)
    """Molecules that were left out on the way to this batch, by reason."""

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        seen, tokens, places, atom = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.seen, self.tokens, self.places, self.atom)
        )
        return Batch(seen, tokens, places, atom, self.smiles, self.refused)


def collate(examples: Sequence[Example], refused: dict[str, int] | None = None) -> Batch:
    """Pad examples to one batch."""
    count, steps = len(examples), max(len(e.tokens) for e in examples)
    tokens = np.full((count, steps), PADDING, np.int64)
    places = np.full((count, steps, 2), np.nan, np.float32)
    atom = np.zeros((count, steps), bool)
    for i, e in enumerate(examples):
        n = len(e.tokens)
        tokens[i, :n], places[i, :n], atom[i, :n] = e.tokens, e.places, e.atom
    return Batch(
        torch.from_numpy(np.stack([e.picture for e in examples]))[:, None],
        torch.from_numpy(tokens),
        torch.from_numpy(places),
        torch.from_numpy(atom),
        [e.smiles for e in examples],
        refused or {},
    )


def limit(seen: float, grow: int, longest: int) -> int:
    """Characters of the longest SMILES after so many pictures: from FIRST to longest."""
    share = min(seen / grow, 1.0) if grow else 1.0
    return min(FIRST + math.floor((LONGEST - FIRST) * share), longest)


class Pictures(IterableDataset[Batch]):
    """Endless batches, drawn as they are asked for.

    Args:
        molecules: what is drawn.
        size: of the network, for its tokens.
        batch: pictures in one.
        seed: of this run of the data.
        length: a shared number: characters of the longest SMILES now.
    """

    def __init__(
        self, molecules: Molecules, size: Size, batch: int, seed: int, length: Tensor
    ) -> None:
        self.molecules, self.size, self.batch = molecules, size, batch
        self.seed, self.length = seed, length

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker:
            # to end a worker is no signal to save the run, which it inherited
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            cv2.setNumThreads(0)
            torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        refused: Counter[str] = Counter()
        held: list[Example] = []
        shelf = 1  # the first batch is wanted soon
        while True:
            longest = int(self.length[0])
            smiles = partial(self.molecules.any, rng, 1, longest)
            held.append(drawn(smiles, self.size, longest, refused))
            if len(held) == shelf * self.batch:
                held.sort(key=lambda e: len(e.tokens))
                for k in rng.permutation(shelf):
                    yield collate(held[k * self.batch : (k + 1) * self.batch], dict(refused))
                    refused.clear()
                held.clear()
                shelf = min(2 * shelf, SHELF)


def held_out(
    files: Sequence[Path], size: Size, count: int, longest: int = LONGEST
) -> dict[int, list[Batch]]:
    """Pictures of molecules that training never sees: so many of each length class, in batches.

    Args:
        files: of SMILES.
        size: of the network, for its tokens.
        count: pictures of a class.
        longest: characters; classes beyond it are left out.

    Returns:
        By the most characters of a class.
    """
    molecules = Molecules(files, held_out=True)
    found: dict[int, list[Batch]] = {}
    shortest = 1
    for most in sorted({min(n, longest) for n in CLASSES}):
        rng = np.random.default_rng([12345, most])
        seen: set[str] = set()
        shelf: list[Example] = []
        tries = 0
        while len(shelf) < count and tries < 20 * count:
            tries += 1
            smiles = molecules.any(rng, shortest, most)
            try:
                one = example(draw(smiles, most), size)
            except RefusedError:
                continue
            if one.smiles not in seen and len(one.smiles) >= shortest:
                seen.add(one.smiles)
                shelf.append(one)
        shortest = most + 1
        if shelf:
            shelf.sort(key=lambda e: len(e.tokens))
            found[most] = [collate(shelf[k : k + 32]) for k in range(0, len(shelf), 32)]
    return found
