"""The training loop: draw in worker processes, learn, save, resume.

    molgaze train --data molecules.smi.gz --minutes 120 --out runs/gaze
    torchrun --nproc-per-node 2 -m molgaze.train.fit --data ... --out ...

A run is a folder. ``last.safetensors`` (weights, their moving average, optimiser, progress) is
replaced atomically, so a run that was stopped or killed goes on from its last save with the same
command. The rate of learning is constant, so that a run may go on for days. In the last minutes of
a run the rate falls to nothing. That part is a branch with a file of its own,
``cooled.safetensors``: given more minutes, the run goes on from where the branch began.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
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
from ..files import whole
from ..sites import CELL, Sites, padded, sites
from .corpus import Corpus
from .draw import Drawing
from .echo import echoed
from .lessons import KINDS, SHARES, drawn
from .model import Batch, Gaze, Loss, Size, loss
from .options import add_options
from .spoil import spoil

MAX_TOKENS = 320
WARM_UP = 300  # steps until the rate is reached
SHELF = 576  # pictures that are sorted by the length of their walks, in each drawing process
KEPT = 1500  # drawings that wait to be spoiled again, in each drawing process
AGAIN = 0.6  # share of the pictures that are a drawing spoiled once more
UNSPOILED = 100_000  # pictures over which the spoiling grows, where nothing was learned before
LEAST_RATE = 0.005  # of the rate, at the end of its fall
EASE = (0.8, 1.4)  # limits of how much less, or more, a kind is drawn by what is still read wrongly
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
    """Minutes of the whole run. A run that has had them goes on if it is given more."""
    cool: float = -1.0
    """Minutes, the last of the run, in which the rate falls to nothing; a fifth of the run if it is
    negative, and none if it is 0. With fewer minutes than the run has had, the fall begins at once.
    """
    batch: int = 32
    """Pictures of medium size a step and process; fewer large ones or more small ones."""
    rate: float = 1e-3
    """Learning rate of AdamW."""
    harm: float = 1.0
    """How much pictures are spoiled: 0 is not at all, 1 as much as scans and photographs are."""
    jitter: float = 0.15
    """Standard deviation of the noise on the places that are given, in cells of 8 pixels."""
    share: float = 0.25
    """Share of the steps of a walk for which the attention is taught; fewer are faster."""
    workers: int = 1
    """Processes that draw pictures beside each process that learns."""
    echo: int = 1
    """How often a picture is learnt from, at most, while new ones are still being drawn: for a GPU,
    which learns faster than processors draw."""
    seed: int = 0
    """Seed of all random numbers."""
    device: str = "cpu"
    """cpu or cuda."""
    weights: Path | None = None
    """Weights to start from (an earlier run's file, or exported half-precision weights)."""
    save_minutes: float = 3.0
    """Minutes between saves."""
    check_minutes: float = 10.0
    """Minutes between checks on molecules that are not trained on."""


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
    grid4 = np.zeros((count, 2 * grid.shape[1], 2 * grid.shape[2]), np.int64)
    most = max(max(len(s.cells) for s in found), 1)
    cells = np.full((count, most, 2), -1, np.int64)
    rows = np.zeros((count, most), np.int64)
    first, first4 = 0, 0  # how many cells, and sites of 4x4 pixels, the pictures before have
    for i, s in enumerate(found):
        h, w = s.grid.shape
        grid[i, :h, :w] = np.where(s.grid > 0, s.grid + first, 0)
        grid4[i, : 2 * h, : 2 * w] = np.where(s.grid4 > 0, s.grid4 + first4, 0)
        n = len(s.cells)
        cells[i, :n] = s.cells
        rows[i, :n] = np.arange(first + 1, first + n + 1)
        first += n
        first4 += len(s.down4) - 1
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
        grid4,
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


def portions(shelf: Sequence[Example], batch: int) -> list[list[Example]]:
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

    Args:
        settings: of the run.
        seed: of this process.
        shares: (len(KINDS),) how often each kind is drawn; may be changed while pictures are drawn.
        harm: a shared number from 0 to 1: how much pictures are spoiled.
    """

    def __init__(
        self, settings: Settings, seed: int, shares: torch.Tensor, harm: torch.Tensor
    ) -> None:
        self.settings, self.seed, self.shares, self.harm = settings, seed, shares, harm

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        seed = [self.seed, worker.id if worker else 0]
        if worker:
            cv2.setNumThreads(0)
            torch.set_num_threads(1)
        rng = np.random.default_rng([*seed, 1])
        molecules = Corpus(self.settings.data, [*seed, 2], self.settings.shares)
        drawings: deque[Drawing] = deque()  # to be spoiled once more, much later

        def shown() -> Example:
            while True:
                if len(drawings) > KEPT and rng.random() < AGAIN:
                    clean = drawings.popleft()
                    if rng.random() < AGAIN:
                        drawings.append(clean)
                else:
                    shares = self.shares.numpy().astype(np.float64)
                    kind = KINDS[int(rng.choice(len(KINDS), p=shares / shares.sum()))]
                    clean = drawn(kind, molecules, rng)
                    drawings.append(clean)
                spoiled = example(spoil(clean, rng, float(self.harm)))
                if spoiled is not None:
                    return spoiled

        size = self.settings.batch
        full = max(SHELF, 6 * size)
        shelf = [shown() for _ in range(size)]  # the first batch is wanted soon
        while True:
            parts = portions(shelf, size)
            growth = 2 if 2 * len(shelf) <= full else 1
            shelf = []
            for k in rng.permutation(len(parts)):
                yield collate(parts[k])
                # the next fills as this one empties
                shelf += [shown() for _ in range(growth * len(parts[k]))]


# --- the run ---


def fast_bf16(cuda: bool) -> bool:
    """Whether bf16 is faster than fp32 here: on a GPU, or a processor with units for it."""
    return cuda or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def average(mean: Gaze, model: Gaze, step: int) -> None:
    """Move the exponential moving average of weights and buffers towards the model."""
    decay = min(0.998, (1 + step) / (20 + step))
    pairs = list(zip(mean.state_dict().values(), model.state_dict().values(), strict=True))
    with torch.no_grad():
        torch._foreach_lerp_(
            [a for a, _ in pairs if a.is_floating_point()],
            [b for a, b in pairs if a.is_floating_point()],
            1 - decay,
        )
        for a, b in pairs:
            if not a.is_floating_point():
                a.copy_(b)


def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file so that it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft:
        save_file({k: v.contiguous() for k, v in tensors.items()}, draft, metadata)


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118


def load_model(*paths: Path) -> Gaze:
    """The averaged weights of a run or of exported weights, ready to read with; of several with one
    past, the mean of them, normalisation included.
    """
    models = [_load_model(path) for path in paths]
    mean = models[0]
    with torch.no_grad():
        states = [model.state_dict() for model in models]
        for name, tensor in mean.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(sum(state[name] for state in states) / len(states))
    return mean


def _load_model(path: Path) -> Gaze:
    tensors, metadata = load(path)
    size = json.loads(metadata["size"])
    model = Gaze(Size(**{**size, "dilations": tuple(size["dilations"])}))
    prefix = "mean." if any(k.startswith("mean.") for k in tensors) else ""
    missing, unknown = model.load_state_dict(
        {
            k.removeprefix(prefix): v.float() if v.is_floating_point() else v
            for k, v in tensors.items()
            if k.startswith(prefix)
        },
        strict=False,
    )
    if missing or unknown:
        raise ValueError(f"{path}: not weights of this network: {(missing + unknown)[0]}")
    return model.eval()


def grow(model: Gaze, smaller: Gaze) -> None:
    """Give a network the weights of one that has fewer blocks, or as many, and read as it does: a
    new block begins as the identity.

    Raises:
        ValueError: they differ in more than the number of blocks.
    """
    try:
        missing, unknown = model.load_state_dict(smaller.state_dict(), strict=False)
    except RuntimeError as err:
        raise ValueError(f"weights of a network of another size: {err}") from err
    odd = unknown + [name for name in missing if not re.match(r"encoder\.(fine|coarse)\.", name)]
    if odd:
        raise ValueError(f"weights of another network: {odd[0]}")


def weights_of(run: Path) -> Path:
    """The file of a run's best weights: after the fall of the rate if there was one since the last
    save, else the mean at constant rate. A file is its own.
    """
    if run.is_file():
        return run
    cooled, last = run / "cooled.safetensors", run / "last.safetensors"
    if cooled.exists() and not (last.exists() and last.stat().st_mtime > cooled.stat().st_mtime):
        return cooled
    return last


def save_weights(model: Gaze, path: Path, **metadata: str) -> None:
    """Write a model's weights in half precision."""
    half = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save(half, path, {"size": json.dumps(asdict(model.size)), **metadata})


@torch.no_grad()
def check(
    model: Gaze, held: Mapping[str, Sequence[Batch]], amp: torch.autocast
) -> dict[str, dict[str, float]]:
    """Losses and hits over held-out pictures of each kind, under the true gaze."""
    model.eval()
    found: dict[str, dict[str, float]] = {}
    with amp:
        for kind, batches in held.items():
            losses = [loss(model, batch) for batch in batches]
            found[kind] = {
                f.name: round(
                    float(np.nanmean([float(getattr(v, f.name)) for v in losses] or [0])), 4
                )
                for f in fields(Loss)
                if f.name != "total"
                and not all(math.isnan(float(getattr(v, f.name))) for v in losses)
            }
    return found


def needed(found: Mapping[str, Mapping[str, float]]) -> list[float]:
    """How often each kind should be drawn: more of what is still read wrongly, within EASE."""
    wrong = {kind: 1 - hits["walk_right"] for kind, hits in found.items()}
    mean = max(sum(SHARES[kind] * wrong[kind] for kind in KINDS), 1e-6)
    eased = [SHARES[kind] * min(max(wrong[kind] / mean, EASE[0]), EASE[1]) for kind in KINDS]
    return [share / sum(eased) for share in eased]


@dataclass
class State:
    """How far a run has come."""

    step: int = 0
    seen: int = 0
    """Pictures learnt from, each as often as it was."""
    drawn: int = 0
    """Different ones."""
    minutes: float = 0.0
    """At constant rate."""
    cooled: float = 0.0
    """Minutes of the fall of the rate."""
    shares: list[float] = field(default_factory=lambda: list(SHARES.values()))
    """How often each kind is drawn."""


def fit(settings: Settings) -> Path:
    """Train, or go on training, until the minutes are over; returns the last save.

    A signal to stop (SIGTERM, SIGINT) saves the run first.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    cuda = settings.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise RuntimeError("--device cuda: no CUDA device is available to PyTorch")
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if cuda else "cpu"
    torch.manual_seed(settings.seed + rank)
    cool = settings.minutes / 5 if settings.cool < 0 else settings.cool
    steady = settings.minutes - cool
    last, cooled = settings.out / "last.safetensors", settings.out / "cooled.safetensors"
    model, mean = Gaze().to(device), Gaze().to(device)
    state, tensors = State(), dict[str, torch.Tensor]()
    path = last
    if last.exists():
        tensors, metadata = load(last)
        state = State(**json.loads(metadata["state"]))
    if state.minutes >= steady and cool > 0:
        path = cooled
        if cooled.exists():
            branch, metadata = load(cooled)
            on = State(**json.loads(metadata["state"]))
            if on.minutes == state.minutes:  # a fall that began where the run stands
                tensors, state = branch, on
    if tensors:
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        mean.load_state_dict({k[5:]: v for k, v in tensors.items() if k.startswith("mean.")})
    else:
        if settings.weights:
            grow(model, load_model(settings.weights))
        mean.load_state_dict(model.state_dict())
    names = {id(p): n for n, p in model.named_parameters()}
    optimiser = _optimiser(model, settings.rate)
    for p in model.parameters():
        if (name := "optimiser." + names[id(p)]) + ".first" in tensors:
            optimiser.state[p] = {
                "step": torch.tensor(float(state.step), device=p.device),
                "exp_avg": tensors[name + ".first"].to(device),
                "exp_avg_sq": tensors[name + ".second"].to(device),
            }
    del tensors
    amp = torch.autocast(device.split(":", maxsplit=1)[0], torch.bfloat16, enabled=fast_bf16(cuda))
    # every process must be wrapped, or their gradients would not meet
    wrapped: torch.nn.Module = Trainer(model, settings)
    if world > 1:
        wrapped = DistributedDataParallel(wrapped)

    def spoiling() -> float:
        learned = 1.0 if settings.weights else state.seen / UNSPOILED
        return settings.harm * min(0.3 + learned, 1.0)

    shares = torch.tensor(state.shares).share_memory_()  # type: ignore[no-untyped-call]
    harm = torch.tensor([spoiling()]).share_memory_()  # type: ignore[no-untyped-call]
    drawing = Pictures(settings, settings.seed + 7919 * state.step + 104729 * rank, shares, harm)
    loader: DataLoader[Batch] = DataLoader(
        drawing,
        batch_size=None,
        num_workers=settings.workers,
        pin_memory=cuda,
        prefetch_factor=4 if settings.workers else None,
    )
    pictures = iter(loader)  # its processes begin to draw
    held = held_out(settings, device) if rank == 0 else {}
    log = settings.out / "log.jsonl"
    settings.out.mkdir(parents=True, exist_ok=True)
    bar = tqdm(disable=rank > 0 or None, unit=" pictures", initial=state.seen, file=sys.stderr)
    model.train()
    recent: list[torch.Tensor] = []
    stop = Stop()
    saved = checked = time.monotonic()
    before: float | None = None  # the time of the last step; none is spent before the first

    def write() -> None:
        kept = {"model." + k: v for k, v in model.state_dict().items()}
        kept |= {"mean." + k: v for k, v in mean.state_dict().items()}
        for weight, s in optimiser.state.items():
            kept["optimiser." + names[id(weight)] + ".first"] = s["exp_avg"]
            kept["optimiser." + names[id(weight)] + ".second"] = s["exp_avg_sq"]
        save(
            kept, path, {"size": json.dumps(asdict(model.size)), "state": json.dumps(asdict(state))}
        )

    for batch, is_new in echoed(pictures, settings.echo, state.step, lambda b: b.to(device)):
        now = time.monotonic()
        # all processes must stop, check and save at the same step: rank 0's clock counts
        clock = torch.tensor([(now - (before or now)) / 60, float(stop.asked), *shares])
        if world > 1:
            clock = clock.to(device)
            dist.broadcast(clock, 0)
            shares.copy_(clock[2:].cpu())
        before = now
        spent, asked = float(clock[0]), bool(clock[1])
        if path == cooled:
            state.cooled += spent
            done = state.cooled >= cool
            rate = max(1 - state.cooled / cool, LEAST_RATE)
        else:
            state.minutes += spent
            done = state.minutes >= steady
            rate = min((state.step + 1) / WARM_UP, 1.0)
            if done and cool > 0 and not asked:  # the rest is a branch, from this save
                if rank == 0:
                    write()
                done, path = False, cooled
        if not done and not asked:
            harm[0] = spoiling()
            for group in optimiser.param_groups:
                group["lr"] = settings.rate * rate
            with amp:
                cost: Loss = wrapped(batch)
            optimiser.zero_grad(set_to_none=True)
            cost.total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            state.step += 1
            state.seen += len(batch.tokens) * world
            state.drawn += len(batch.tokens) * world * is_new
            average(mean, model, state.step)
            recent.append(torch.stack([getattr(cost, f.name).detach() for f in fields(Loss)]))
            bar.update(len(batch.tokens) * world)
        ends = done or asked
        if rank == 0 and recent and (ends or state.step % 100 == 0):
            means = torch.stack(recent).nanmean(0).tolist()
            recent.clear()
            row: dict[str, object] = {
                "step": state.step,
                "seen": state.seen,
                "drawn": state.drawn,
                "minutes": round(state.minutes + state.cooled, 2),
                "rate": round(settings.rate * rate, 6),
            }
            row |= {f.name: round(v, 4) for f, v in zip(fields(Loss), means, strict=True)}
            bar.set_postfix({k: row[k] for k in ("token", "attention")})
            note(log, row)
        if rank == 0 and held and (done or now - checked > settings.check_minutes * 60):
            checked = now
            found = check(mean, held, amp)
            state.shares = needed(found)
            shares.copy_(torch.tensor(state.shares))
            drawn_now = {k: round(v, 3) for k, v in zip(KINDS, state.shares, strict=True)}
            row = {"step": state.step, "seen": state.seen, "minutes": round(state.minutes, 2)}
            note(log, {**row, "held_out": found, "shares": drawn_now})
        if rank == 0 and (ends or now - saved > settings.save_minutes * 60):
            saved = now
            write()
        if ends:
            break
    bar.close()
    stop.over()
    if world > 1:
        dist.destroy_process_group()
    return path


class Stop:
    """Whether a signal has asked the run to stop; it is heard at the next step."""

    def __init__(self) -> None:
        self.asked = False
        kinds = (signal.SIGTERM, signal.SIGINT)
        self._before = {kind: signal.signal(kind, self._ask) for kind in kinds}

    def _ask(self, *_: object) -> None:
        self.asked = True

    def over(self) -> None:
        """Let the signals do again what they did before."""
        for kind, before in self._before.items():
            signal.signal(kind, before)


def _optimiser(model: Gaze, rate: float) -> torch.optim.Optimizer:
    """AdamW; biases and normalisations don't decay."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}],
        lr=rate,
        betas=(0.9, 0.98),
        fused=True,
    )


class Trainer(torch.nn.Module):
    """The model and its loss as one forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, model: Gaze, settings: Settings) -> None:
        super().__init__()
        self.model, self.settings = model, settings

    def forward(self, batch: Batch) -> Loss:
        return loss(self.model, batch, self.settings.jitter, self.settings.share)


def held_out(settings: Settings, device: str = "cpu", count: int = 32) -> dict[str, list[Batch]]:
    """So many pictures of each kind, of molecules that training never sees, spoiled in full."""
    rng = np.random.default_rng(12345)
    molecules = Corpus(settings.data, 12345, held_out=True, pool=32, uses=1)
    held: dict[str, list[Batch]] = {}
    for kind in KINDS:
        shelf: list[Example] = []
        while len(shelf) < count:
            shown = example(spoil(drawn(kind, molecules, rng), rng, settings.harm))
            if shown is not None:
                shelf.append(shown)
        shelf.sort(key=lambda e: len(e.tokens))
        half = count // 2
        held[kind] = [collate(shelf[:half]).to(device), collate(shelf[half:]).to(device)]
    return held


def note(log: Path, row: dict[str, object]) -> None:
    """Add a line to the run's log."""
    with log.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run to a parser."""
    add_options(parser, "fit")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that parsed options ask for."""
    given = {f.name: getattr(args, f.name) for f in fields(Settings)}
    return Settings(**{**given, "data": tuple(args.data), "shares": tuple(args.shares)})


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description="Train the gaze reader.")
    options(cli)
    fit(settings_of(cli.parse_args()))
