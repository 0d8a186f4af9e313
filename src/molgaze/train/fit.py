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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

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
from .corpus import Corpus
from .draw import Drawing, nothing
from .hands import hand
from .model import CELL, Batch, Gaze, Loss, Size, loss
from .spoil import spoil

MAX_TOKENS = 320
EMPTY = 0.008  # share of pictures without a molecule
MEDIUM = 36_000  # pixels of a medium picture at reading scale
INK = 45  # of 255: a cell darker than this somewhere has ink
MAX_CELLS = 6000  # of 8x8 pixels; 620 x 620 pixels at reading scale


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
    start: Path | None = None
    """Weights to start from (an earlier run's file, or exported half-precision weights)."""
    save_minutes: float = 3.0
    """Time between saves."""
    check_minutes: float = 10.0
    """Time between checks on held-out molecules."""


# --- data ---


@dataclass
class Example:
    """One spoiled picture and its walk."""

    ink: NDArray[np.uint8]  # (H, W)
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
        drawing.ink,
        [walk.TOKEN_ID[word] for word in words],
        to_cells(places),
        to_cells(np.array([atom or none for atom, _ in marks])),
        to_cells(np.array([bond or none for _, bond in marks])),
    )


def inked_cells(ink: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(L, 2) x and y of the cells with ink in them or beside them; ink (8h, 8w)."""
    h, w = ink.shape[0] // CELL, ink.shape[1] // CELL
    smooth = cv2.blur(ink, (2, 2))  # a lone grey pixel is noise
    full = smooth.reshape(h, CELL, w, CELL).max((1, 3)) > INK
    near = cv2.dilate(full.astype(np.uint8), np.ones((3, 3), np.uint8))
    y, x = np.nonzero(near)
    return np.stack([x, y], 1).astype(np.int64)


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples to one batch; pictures to a common multiple of 8 pixels."""
    count = len(examples)
    height = max(-(-e.ink.shape[0] // CELL) for e in examples) * CELL
    width = max(-(-e.ink.shape[1] // CELL) for e in examples) * CELL
    steps = max(len(e.tokens) for e in examples)
    ink = np.zeros((count, 1, height, width), np.float32)
    tokens = np.zeros((count, steps), np.int64)
    places, atoms, bonds = (np.full((count, steps, 2), np.nan, np.float32) for _ in range(3))
    cells = []
    for i, e in enumerate(examples):
        h, w = e.ink.shape
        ink[i, 0, :h, :w] = e.ink / np.float32(255)
        n = len(e.tokens)
        tokens[i, :n] = e.tokens
        places[i, :n], atoms[i, :n], bonds[i, :n] = e.places, e.atoms, e.bonds
        padded = np.pad(e.ink, ((0, -h % CELL), (0, -w % CELL)))
        cells.append(inked_cells(padded))
    most = max(max(len(c) for c in cells), 1)
    inked = np.full((count, most, 2), -1, np.int64)
    for i, c in enumerate(cells):
        inked[i, : len(c)] = c
    arrays = (ink, inked, tokens, places, atoms, bonds)
    return Batch(*(torch.from_numpy(a) for a in arrays))


def shares(shelf: Sequence[Example], batch: int) -> list[list[Example]]:
    """Cut examples into batches of similar pictures and about equal cost."""

    def shape(e: Example) -> tuple[int, float]:
        return round(math.log2(e.ink.size)), e.ink.shape[0] / e.ink.shape[1]

    parts: list[list[Example]] = []
    budget = batch * MEDIUM
    for e in sorted(shelf, key=shape):
        if not parts or cost(parts[-1] + [e]) > budget or len(parts[-1]) >= 2 * batch:
            parts.append([])
        parts[-1].append(e)
    return parts


def cost(examples: Sequence[Example]) -> int:
    """Pixels of a batch, paper and padding included."""
    height = max(int(e.ink.shape[0]) for e in examples)
    return len(examples) * height * max(int(e.ink.shape[1]) for e in examples)


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
        while True:
            shelf: list[Example] = []
            while len(shelf) < 32 * self.settings.batch:
                harm = self.settings.harm * min(0.3 + 3 * float(self.progress), 1.0)
                clean = nothing(rng) if rng.random() < EMPTY else hand(next(molecules), rng)
                drawn = example(spoil(clean, rng, harm))
                if drawn is not None:
                    shelf.append(drawn)
            parts = shares(shelf, self.settings.batch)
            for k in rng.permutation(len(parts)):
                yield collate(parts[k])


# --- the run ---


def average(mean: Gaze, model: Gaze, step: int) -> None:
    """Move the exponential moving average of weights and buffers towards the model."""
    decay = min(0.9995, (1 + step) / (20 + step))
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


def load_model(path: Path) -> Gaze:
    """The averaged weights of a run or of exported weights, ready to read with."""
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
        if settings.start:
            model.load_state_dict(load_model(settings.start).state_dict())
        mean.load_state_dict(model.state_dict())
    for net in (model, mean):
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    amp = torch.autocast(device.split(":", maxsplit=1)[0], torch.bfloat16)
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
            warm = min((step + 1) / 300, 1.0)
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
    shelf.sort(key=lambda e: e.ink.size)
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
    parser.add_argument("--start", type=Path, help="weights to start from")
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
