"""The training loop: draw in worker processes, learn, save, resume.

    molgaze train --data molecules.smi.gz --minutes 120 --out runs/gaze
    torchrun --nproc-per-node 2 -m molgaze.train.fit --data ... --out ...

A run is a folder: ``last.safetensors`` (weights, their moving average, optimiser, progress) is
replaced atomically, so a killed run goes on from its last save with the same command.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from .. import walk
from ..sites import CELL, Sites, padded, sites
from .corpus import Corpus
from .draw import Drawing, nothing
from .hands import hand
from .model import Batch, Gaze, Loss, Size, loss
from .spoil import spoil

MAX_TOKENS = 320
WARM_UP = 0.05  # of a run at most; 300 steps are enough
EMPTY = 0.008  # share of pictures without a molecule
KEPT = 1500  # drawings that wait to be spoiled again, in each drawing process
MEDIUM = 240  # inked cells of a medium picture
MAX_CELLS = 7500  # of 8x8 pixels; 690 x 690 pixels at reading scale


@dataclass(frozen=True)
class Settings:
    """What a run is told; every field is an option of the command line."""

    data: tuple[Path, ...]
    """Files of SMILES."""
    out: Path
    """Folder of the run."""
    shares: tuple[float, ...] = ()
    """How often each file is drawn from; by default as the root of its length."""
    minutes: float = 60.0
    """Time budget of the whole run; the learning rate falls to nothing over it."""
    batch: int = 32
    """Pictures of medium size a step and process; fewer large ones or more small ones."""
    rate: float = 1.5e-3
    """Peak learning rate."""
    harm: float = 1.0
    """How much pictures are spoiled at the end of the run, 0 to 1."""
    jitter: float = 0.15
    """Noise on the given gaze, in cells."""
    share: float = 0.4
    """Share of the steps whose attention is taught."""
    workers: int = 1
    """Drawing processes."""
    seed: int = 0
    """All chance comes from here."""
    device: str = "cpu"
    """cpu or cuda."""
    weights: Path | None = None
    """Weights to start from (an earlier run's file, or exported half-precision weights)."""
    save_minutes: float = 3.0
    """Time between saves."""
    check_minutes: float = 10.0
    """Time between checks on held-out molecules."""


# --- data ---


@dataclass
class Example:
    """One spoiled picture and its walk."""

    sites: Sites
    tokens: list[int]
    places: NDArray[np.float32]  # (T + 1, 2), cells
    atoms: NDArray[np.float32]
    bonds: NDArray[np.float32]


def to_cells(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Pixel places (0 is the centre of the first pixel) to cells of 8x8."""
    return ((places + 0.5) / CELL - 0.5).astype(np.float32)


def example(drawing: Drawing) -> Example | None:
    """The walk of a drawing with all its marks; None if it is too large or can't be written."""
    height, width = drawing.ink.shape
    if (height // CELL + 1) * (width // CELL + 1) > MAX_CELLS:
        return None
    words, places = walk.encode(drawing.graph)
    if len(words) > MAX_TOKENS or any(word not in walk.TOKEN_ID for word in words):
        return None
    # at the end the gaze rests; where there is nothing, it looks at the middle
    places[-1] = places[-2] if len(words) > 2 else (width / 2, height / 2)
    trail = walk.Trail()
    none = (math.nan, math.nan)
    marks = [trail.step(w, (x, y)) for w, (x, y) in zip(words, places, strict=True)]
    return Example(
        sites(padded(drawing.ink) / np.float32(255), upward=True),
        [walk.TOKEN_ID[word] for word in words],
        to_cells(places),
        to_cells(np.array([atom or none for atom, _ in marks])),
        to_cells(np.array([bond or none for _, bond in marks])),
    )


def collate(examples: Sequence[Example]) -> Batch:
    """Examples to one batch: the sites of all pictures in one, the walks padded."""
    count = len(examples)
    steps = max(len(e.tokens) for e in examples)
    tokens = np.zeros((count, steps), np.int64)
    places, atoms, bonds = (np.full((count, steps, 2), np.nan, np.float32) for _ in range(3))
    for i, e in enumerate(examples):
        n = len(e.tokens)
        tokens[i, :n] = e.tokens
        places[i, :n], atoms[i, :n], bonds[i, :n] = e.places, e.atoms, e.bonds
    found = [e.sites for e in examples]
    grid = np.zeros((count, *np.max([s.grid.shape for s in found], 0)), np.int64)
    most = max(max(len(s.cells) for s in found), 1)
    cells = np.full((count, most, 2), -1, np.int64)
    rows = np.zeros((count, most), np.int64)
    first = 0  # how many cells the pictures before have
    for i, s in enumerate(found):
        h, w = s.grid.shape
        grid[i, :h, :w] = np.where(s.grid > 0, s.grid + first, 0)
        n = len(s.cells)
        cells[i, :n] = s.cells
        rows[i, :n] = np.arange(first + 1, first + n + 1)
        first += n
    fine, middle, coarse = ([len(getattr(s, t)) for s in found] for t in ("up2", "up4", "down8"))
    arrays = (
        together([s.patches for s in found]),
        together([s.down4 for s in found], fine),
        together([s.near4 for s in found], middle),
        together([s.down8 for s in found], middle),
        np.stack([together(list(t), coarse) for t in zip(*(s.near8 for s in found), strict=True)]),
        together([s.up2 for s in found], middle, 16),
        together([s.up4 for s in found], coarse, 16),
        grid,
        cells,
        rows,
        tokens,
        places,
        atoms,
        bonds,
    )
    return Batch(*(torch.from_numpy(a) for a in arrays))


def together(
    tables: Sequence[NDArray[Any]], named: Sequence[int] = (), stride: int = 1
) -> NDArray[Any]:
    """The tables of several pictures in one, with one row 0 for the paper of all.

    Args:
        tables: each with paper's row 0.
        named: how many sites, row 0 among them, each picture has of the kind that its table names;
            none if the tables hold no rows.
        stride: what a row counts for in the tables.
    """
    if not named:
        return np.concatenate([tables[0][:1], *(t[1:] for t in tables)])
    shifts = (np.cumsum(named) - np.array(named) - np.arange(len(named))) * stride
    return np.concatenate(
        [
            tables[0][:1],
            *(np.where(t > 0, t + s, 0)[1:] for t, s in zip(tables, shifts, strict=True)),
        ]
    )


def shares(shelf: Sequence[Example], batch: int) -> list[list[Example]]:
    """Cut examples into batches of similar walks and about equal cost."""
    parts: list[list[Example]] = []
    for e in sorted(shelf, key=lambda e: (len(e.tokens), len(e.sites.cells))):
        full = parts and (cost([*parts[-1], e]) > batch * MEDIUM or len(parts[-1]) >= 2 * batch)
        if not parts or full:
            parts.append([])
        parts[-1].append(e)
    return parts


def cost(examples: Sequence[Example]) -> int:
    """Inked cells of a batch, padding included."""
    return len(examples) * max(len(e.sites.cells) for e in examples)


class Pictures(IterableDataset[Batch]):
    """Endless batches of pictures of similar size, drawn as they are asked for.

    ``progress`` is a shared number from 0 to 1 by which the spoiling grows.
    """

    def __init__(self, settings: Settings, seed: int, progress: torch.Tensor) -> None:
        self.settings, self.seed, self.progress = settings, seed, progress

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        seed = [self.seed, worker.id if worker else 0]
        if worker:
            cv2.setNumThreads(0)
            torch.set_num_threads(1)
        rng = np.random.default_rng([*seed, 1])
        molecules = iter(Corpus(self.settings.data, [*seed, 2], self.settings.shares))
        drawings: deque[Drawing] = deque()  # to be spoiled a second time, much later

        def drawn() -> Example:
            while True:
                if len(drawings) > KEPT and rng.random() < 0.5:
                    clean = drawings.popleft()
                elif rng.random() < EMPTY:
                    clean = nothing(rng)
                else:
                    clean = hand(next(molecules), rng)
                    drawings.append(clean)
                harm = self.settings.harm * min(0.3 + 3 * float(self.progress), 1.0)
                shown = example(spoil(clean, rng, harm))
                if shown is not None:
                    return shown

        shelf = [drawn() for _ in range(24 * self.settings.batch)]
        while True:
            parts = shares(shelf, self.settings.batch)
            shelf = []
            for k in rng.permutation(len(parts)):
                yield collate(parts[k])
                shelf += [drawn() for _ in parts[k]]  # the next fills as this one empties


# --- the run ---


def fast_bf16(cuda: bool) -> bool:
    """Whether bf16 is faster than fp32 here: on a GPU, or a processor with units for it."""
    return cuda or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def average(mean: Gaze, model: Gaze, step: int) -> None:
    """Move the exponential moving average of weights and buffers towards the model."""
    decay = min(0.998, (1 + step) / (20 + step))
    with torch.no_grad():
        for a, b in zip(mean.state_dict().values(), model.state_dict().values(), strict=True):
            if a.is_floating_point():
                a.lerp_(b, 1 - decay)
            else:
                a.copy_(b)


def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file so that it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = path.with_name(path.name + ".tmp")
    save_file({k: v.contiguous() for k, v in tensors.items()}, rough, metadata)
    os.replace(rough, path)


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118


def load_model(*paths: Path) -> Gaze:
    """The averaged weights of a run or of exported weights, ready to read with; of several with one
    past, the mean of them.
    """
    models = [_load_model(path) for path in paths]
    mean = models[0]
    with torch.no_grad():
        for weights in zip(*(model.parameters() for model in models), strict=True):
            weights[0].copy_(sum(weights) / len(weights))
    return mean


def _load_model(path: Path) -> Gaze:
    tensors, metadata = load(path)
    size = json.loads(metadata["size"])
    model = Gaze(Size(**{**size, "dilations": tuple(size["dilations"])}))
    prefix = "mean." if any(k.startswith("mean.") for k in tensors) else ""
    chosen = {
        k.removeprefix(prefix): v.float() if v.is_floating_point() else v
        for k, v in tensors.items()
        if k.startswith(prefix)
    }
    model.load_state_dict(chosen)
    return model.eval()


def save_weights(model: Gaze, path: Path, **metadata: str) -> None:
    """Write a model's weights in half precision."""
    half = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save(half, path, {"size": json.dumps(asdict(model.size)), **metadata})


def check(model: Gaze, batches: Sequence[Batch], amp: torch.autocast) -> dict[str, float]:
    """Mean losses and hits over held-out batches, under the true gaze."""
    model.eval()
    with torch.no_grad(), amp:
        found: list[Loss] = [loss(model, b) for b in batches]
    return {
        f.name: float(np.mean([float(getattr(v, f.name)) for v in found]))
        for f in fields(Loss)
        if f.name != "total"
    }


def fit(settings: Settings) -> Path:
    """Train, or go on training, until the time budget is spent; returns the last save."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    cuda = settings.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise RuntimeError("--device cuda: no CUDA device is available to PyTorch")
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if cuda else "cpu"
    torch.manual_seed(settings.seed + rank)
    path = settings.out / "last.safetensors"
    model, mean = Gaze().to(device), Gaze().to(device)
    step, seen, spent = 0, 0, 0.0
    state: dict[str, torch.Tensor] = {}
    if path.exists():
        state, metadata = load(path)
        model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})
        mean.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("mean.")})
        step, seen, spent = (json.loads(metadata[k]) for k in ("step", "seen", "minutes"))
    else:
        if settings.weights:
            model.load_state_dict(load_model(settings.weights).state_dict())
        mean.load_state_dict(model.state_dict())
    names = {id(p): n for n, p in model.named_parameters()}
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings.rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    for p in (*matrices, *vectors):
        if (name := "optimiser." + names[id(p)]) + ".first" in state:
            optimiser.state[p] = {
                "step": torch.tensor(float(step)),
                "exp_avg": state[name + ".first"].to(device),
                "exp_avg_sq": state[name + ".second"].to(device),
            }
    del state
    amp = torch.autocast(device.split(":", maxsplit=1)[0], torch.bfloat16, enabled=fast_bf16(cuda))
    # every process must be wrapped, or their gradients would not meet
    wrapped: torch.nn.Module = Trainer(model, settings)
    if world > 1:
        wrapped = DistributedDataParallel(wrapped)

    progress = torch.zeros(1).share_memory_()  # type: ignore[no-untyped-call]
    progress[0] = min(spent / settings.minutes, 1.0)
    pictures = Pictures(settings, settings.seed + 7919 * step + 104729 * rank, progress)
    loader: DataLoader[Batch] = DataLoader(
        pictures,
        batch_size=None,
        num_workers=settings.workers,
        pin_memory=cuda,
        prefetch_factor=4 if settings.workers else None,
    )
    held = held_out(settings) if rank == 0 else []
    began = time.monotonic() - spent * 60
    saved = checked = time.monotonic()
    log = settings.out / "log.jsonl"
    settings.out.mkdir(parents=True, exist_ok=True)
    bar = tqdm(disable=rank > 0 or None, unit=" pictures", initial=seen, file=sys.stderr)
    model.train()
    recent: list[dict[str, float]] = []
    for batch in loader:
        now = time.monotonic()
        spent = (now - began) / 60
        # all processes must stop, check and save at the same step: rank 0's clock counts
        if world > 1:
            clock = torch.tensor([spent], device=device)
            dist.broadcast(clock, 0)
            spent = float(clock)
        done = spent >= settings.minutes
        if not done:
            progress[0] = spent / settings.minutes
            warm = min(max((step + 1) / 300, spent / settings.minutes / WARM_UP), 1.0)
            fall = 0.5 * (1 + math.cos(math.pi * min(spent / settings.minutes, 1.0)))
            for group in optimiser.param_groups:
                group["lr"] = settings.rate * warm * max(fall, 0.01)
            with amp:
                cost: Loss = wrapped(batch.to(device))
            optimiser.zero_grad(set_to_none=True)
            cost.total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step += 1
            seen += len(batch.tokens) * world
            average(mean, model, step)
            recent.append({f.name: float(getattr(cost, f.name).detach()) for f in fields(Loss)})
            bar.update(len(batch.tokens) * world)
        if rank == 0 and recent and (done or step % 100 == 0):
            row: dict[str, object] = {"step": step, "seen": seen, "minutes": round(spent, 2)}
            row |= {k: round(float(np.mean([r[k] for r in recent])), 4) for k in recent[0]}
            recent.clear()
            bar.set_postfix({k: row[k] for k in ("token", "attention")})
            note(log, row)
        if rank == 0 and (done or now - checked > settings.check_minutes * 60):
            checked = now
            note(
                log,
                {
                    "step": step,
                    "seen": seen,
                    "minutes": round(spent, 2),
                    "held_out": {k: round(v, 4) for k, v in check(mean, held, amp).items()},
                },
            )
        if rank == 0 and (done or now - saved > settings.save_minutes * 60):
            saved = now
            tensors = {"model." + k: v for k, v in model.state_dict().items()}
            tensors |= {"mean." + k: v for k, v in mean.state_dict().items()}
            for weight, s in optimiser.state.items():
                tensors["optimiser." + names[id(weight)] + ".first"] = s["exp_avg"]
                tensors["optimiser." + names[id(weight)] + ".second"] = s["exp_avg_sq"]
            save(
                tensors,
                path,
                {
                    "size": json.dumps(asdict(model.size)),
                    "step": str(step),
                    "seen": str(seen),
                    "minutes": str(spent),
                },
            )
        if done:
            break
    bar.close()
    if world > 1:
        dist.destroy_process_group()
    return path


class Trainer(torch.nn.Module):
    """The model and its loss as one forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, model: Gaze, settings: Settings) -> None:
        super().__init__()
        self.model, self.settings = model, settings

    def forward(self, batch: Batch) -> Loss:
        return loss(self.model, batch, self.settings.jitter, self.settings.share)


def held_out(settings: Settings, count: int = 256) -> list[Batch]:
    """Batches of molecules that training never sees, spoiled in full."""
    rng = np.random.default_rng(12345)
    molecules = iter(Corpus(settings.data, 12345, held_out=True, pool=32, uses=1))
    shelf: list[Example] = []
    while len(shelf) < count:
        drawn = example(spoil(hand(next(molecules), rng), rng, settings.harm))
        if drawn is not None:
            shelf.append(drawn)
    shelf.sort(key=lambda e: len(e.tokens))
    return [collate(shelf[k : k + 32]) for k in range(0, count, 32)]


def note(log: Path, row: dict[str, object]) -> None:
    """Add a line to the run's log."""
    with log.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run to a parser."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of SMILES")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--shares", type=float, nargs="*", default=(), help="one for each file")
    parser.add_argument("--weights", type=Path, help="weights to start from")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    for f in fields(Settings):
        if f.type in ("float", "int"):
            kind = float if f.type == "float" else int
            name = "--" + f.name.replace("_", "-")
            parser.add_argument(name, type=kind, default=f.default, help="default %(default)s")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that parsed options ask for."""
    given = {f.name: getattr(args, f.name) for f in fields(Settings)}
    return Settings(**{**given, "data": tuple(args.data), "shares": tuple(args.shares)})


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description="Train the gaze reader.")
    options(cli)
    fit(settings_of(cli.parse_args()))
