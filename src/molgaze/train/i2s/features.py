"""What the frozen backbone made of pictures, kept on disk, so that it is paid for once.

A picture's features are 49 x 1280 numbers in half precision: 125,440 bytes. They lie in shards of
1,024 pictures, ``000000.npy``, which are read through the memory map of the system, with what is to
be read in them beside each, ``000000.npz``. When there are more shards than the store may hold, the
oldest goes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...files import whole
from .feed import Batch
from .model import PADDING

SHARD = 1024  # pictures
PLAN = 32  # batches that are chosen at once and sorted by length


class Store:
    """Features on disk, and batches of them at random.

    Args:
        folder: of the shards.
        limit: bytes that the shards may have in all.
        variant: of the network; its tokens are kept beside the features.
        shard: pictures of a shard; SHARD if it is 0.

    Raises:
        ValueError: the folder holds features of another variant.
    """

    def __init__(self, folder: Path, limit: float, variant: str, shard: int = 0) -> None:
        self.folder, self.limit, self.variant = folder, limit, variant
        self.shard = shard or SHARD
        self._features: dict[int, NDArray[np.float16]] = {}  # (N, 49, 1280) by shard
        self._targets: dict[int, dict[str, NDArray[Any]]] = {}
        self._waiting: list[Batch] = []
        self._planned: list[list[tuple[int, int]]] = []  # batches of (shard, row)
        for path in sorted(folder.glob("[0-9]*.npz")):
            self._open(int(path.stem))

    def __len__(self) -> int:
        """Pictures on disk."""
        return sum(len(features) for features in self._features.values())

    def add(self, batch: Batch) -> None:
        """Keep a batch whose ``seen`` are features; it is on disk when its shard is full."""
        if not self.limit:
            return
        self._waiting.append(replace(batch, seen=batch.seen.to("cpu", torch.float16)))
        if sum(len(b.tokens) for b in self._waiting) >= self.shard:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        steps = max(b.tokens.shape[1] for b in waiting)
        targets: dict[str, Any] = {
            "tokens": _rows([b.tokens.cpu().numpy() for b in waiting], steps, PADDING, np.uint16),
            "places": _rows([b.places.cpu().numpy() for b in waiting], steps, np.nan, np.float32),
            "atom": _rows([b.atom.cpu().numpy() for b in waiting], steps, False, np.bool_),
            "variant": np.array(self.variant),
        }
        number = max(self._features, default=-1) + 1
        features = torch.cat([b.seen for b in waiting]).numpy()
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole(self.folder / f"{number:06d}.npy") as draft, draft.open("wb") as file:
            np.save(file, features)
        # these come last: a shard without them is not there
        with whole(self.folder / f"{number:06d}.npz") as draft, draft.open("wb") as file:
            np.savez(file, **targets)
        self._open(number)
        while len(self._features) > 1 and self._bytes() > self.limit:
            self._drop(min(self._features))

    def _bytes(self) -> int:
        return sum(features.nbytes for features in self._features.values())

    def _open(self, number: int) -> None:
        path = self.folder / f"{number:06d}.npz"
        with np.load(path) as found:
            targets = {name: found[name] for name in found.files}
        if str(targets.pop("variant")) != self.variant:
            raise ValueError(f"{path}: features of another variant; choose another folder")
        self._targets[number] = targets
        self._features[number] = np.load(path.with_suffix(".npy"), mmap_mode="r")

    def _drop(self, number: int) -> None:
        del self._features[number], self._targets[number]
        self._planned.clear()
        path = self.folder / f"{number:06d}.npz"
        path.unlink(missing_ok=True)
        with contextlib.suppress(PermissionError):  # Windows, while it is still mapped
            path.with_suffix(".npy").unlink(missing_ok=True)

    def batches(self, count: int, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """So many batches of pictures at random, each of similar length; none while it is empty."""
        for _ in range(count if self._features else 0):
            if not self._planned:
                self._plan(size, rng)
            yield self._read(self._planned.pop())

    def _plan(self, size: int, rng: np.random.Generator) -> None:
        rows = [(number, row) for number, f in self._features.items() for row in range(len(f))]
        picked = rng.choice(len(rows), min(PLAN * size, len(rows)), replace=False)
        lengths = {number: (t["tokens"] > 0).sum(1) for number, t in self._targets.items()}
        chosen = sorted((rows[i] for i in picked), key=lambda at: int(lengths[at[0]][at[1]]))
        parts = [chosen[k : k + size] for k in range(0, len(chosen), size)]
        self._planned = [parts[k] for k in rng.permutation(len(parts))]

    def _read(self, rows: list[tuple[int, int]]) -> Batch:
        def of(name: str) -> NDArray[Any]:
            found = [self._targets[number][name][row] for number, row in rows]
            steps = max(len(one) for one in found)
            fill = {"tokens": PADDING, "places": np.nan, "atom": False}[name]
            return np.concatenate([_rows([one[None]], steps, fill, one.dtype) for one in found])

        tokens = of("tokens").astype(np.int64)
        steps = int((tokens > 0).sum(1).max())
        features = np.stack([self._features[number][row] for number, row in rows])
        return Batch(
            torch.from_numpy(features),
            torch.from_numpy(tokens[:, :steps]),
            torch.from_numpy(of("places")[:, :steps]),
            torch.from_numpy(of("atom")[:, :steps]),
            [],
        )


def _rows(parts: list[NDArray[Any]], steps: int, fill: float, dtype: Any) -> NDArray[Any]:
    """Arrays (b, t, ..) one below the other, (sum of b, steps, ..), filled up behind."""
    count = sum(len(part) for part in parts)
    out = np.full((count, steps, *parts[0].shape[2:]), fill, dtype)
    start = 0
    for part in parts:
        out[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return out
