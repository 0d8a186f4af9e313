"""Training of the reference reader: draw, look, learn, save, resume.

    molgaze i2s train --data molecules.smi.gz --out runs/i2s --minutes 1440
    molgaze i2s train --data ... --out runs/unfrozen --weights runs/i2s --unfreeze --minutes 1440

A run is a folder. ``last.safetensors`` (weights, their moving mean, optimiser, progress) is
replaced atomically: a run that was stopped or killed goes on from its last save with the same
command. As in :mod:`molgaze.train.fit`, the rate of learning is constant and falls in the last
minutes, in a branch of its own, ``cooled.safetensors``: given more minutes, the run goes on from
where the branch began.

While the backbone is frozen, the features of a picture are worked out once, kept in
``OUT/features`` and learnt from ``--uses`` times.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..echo import echoed
from ..fit import LEAST_RATE, Stop, fast_bf16, load, note, save
from .features import Store
from .feed import Batch, Molecules, Pictures, held_out, limit
from .loss import Loss, loss
from .model import I2S, Backbone, Size, WeightsError, card, load_model
from .score import judge

WARM_UP = 300  # steps until the rate is reached
MEAN = 0.999  # of the mean of the weights stays, each step
GIGABYTE = 10**9
LAST, COOLED = "last.safetensors", "cooled.safetensors"  # as molgaze.train.fit names them


@dataclass(frozen=True)
class Settings:
    """What a run is told; every field is an option of the command line."""

    data: tuple[Path, ...]
    """Files of SMILES."""
    out: Path
    """Folder of the run."""
    variant: str = "plain"
    """plain, fixed (no attention), taught (the attention is told where each atom is) or walk
    (taught, and walk tokens instead of characters)."""
    unfreeze: bool = False
    """Train the backbone too."""
    settle: bool = False
    """Let a backbone that is trained normalise by the statistics that it came with, as in reading.
    Batches are of one length, and each normalised by its own is not what is met in reading: end a
    run like this."""
    weights: Path | None = None
    """Weights to start from (a run's folder or file); those of ImageNet for the backbone if not."""
    device: str = "cpu"
    """cpu or cuda."""
    minutes: float = 60.0
    """Minutes of the whole run. A run that has had them goes on if it is given more."""
    cool: float = -1.0
    """Minutes, the last of the run, in which the rate falls to nothing; a fifth of the run if it is
    negative, and none if it is 0. With fewer minutes than the run has had, the fall begins at once.
    """
    batch: int = 64
    """Pictures a step."""
    rate: float = 7e-4
    """Learning rate of Adam."""
    backbone_rate: float = 0.2
    """Share of the rate that the backbone learns at."""
    longest: int = 70
    """Characters of the longest SMILES."""
    grow: int = 200_000
    """Drawn pictures over which the longest SMILES grows from 20 characters to 70."""
    uses: int = 4
    """How often the features of a picture are learnt from, if the backbone is frozen."""
    echo: int = 1
    """How often a picture is learnt from, at most, while new ones are still being drawn, if the
    backbone is trained: for a GPU, which learns faster than processors draw."""
    store: float = 20.0
    """Gigabytes of features that are kept; 8,000 pictures take one."""
    weight: float = 0.5
    """Of the attention's loss, where attention is taught."""
    workers: int = 1
    """Processes that draw pictures."""
    seed: int = 0
    """Seed of all random numbers."""
    save_minutes: float = 5.0
    """Minutes between saves."""
    check_minutes: float = 20.0
    """Minutes between checks on molecules that are not trained on."""


@dataclass
class State:
    """How far a run has come."""

    step: int = 0
    seen: int = 0
    """Pictures learnt from, each as often as it was used."""
    drawn: int = 0
    """Different pictures."""
    minutes: float = 0.0
    """At constant rate."""
    cooled: float = 0.0
    """Minutes of the fall of the rate."""
    refused: dict[str, int] = field(default_factory=dict)
    """Molecules that were not drawn, by reason."""


HELD = 128  # pictures of each length class that are checked now and then


def fit(settings: Settings) -> Path:
    """Train, or go on training, until the minutes are over; returns the last save.

    A signal to stop (SIGTERM, SIGINT) saves the run first.

    Raises:
        ValueError: files without molecules that can be drawn, a folder of another kind of run.
        RuntimeError: no CUDA device.
    """
    cuda = settings.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise RuntimeError("--device cuda: no CUDA device is available to PyTorch")
    torch.manual_seed(settings.seed)
    cool = settings.minutes / 5 if settings.cool < 0 else settings.cool
    steady = settings.minutes - cool
    size = Size(settings.variant)
    model = I2S(size, settings.unfreeze)
    model.is_settled = settings.settle
    mean = copy.deepcopy(model)
    path, state, tensors = _last_save(settings.out, model, steady, cool)
    if tensors:
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        mean.load_state_dict({k[5:]: v for k, v in tensors.items() if k.startswith("mean.")})
    else:
        _start(model, settings.weights)
        mean.load_state_dict(model.state_dict())
    for one in (model, mean):
        one.to(settings.device)
        # a third faster on a CPU
        one.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learnt = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimiser = _optimiser(learnt, settings, tensors, state.step)
    del tensors
    bf16 = fast_bf16(cuda)
    amp = torch.autocast(settings.device, torch.bfloat16, enabled=bf16)
    eyes = None
    if not settings.unfreeze:
        eyes = model.backbone.folded(torch.bfloat16 if bf16 else torch.float32)

    length = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
    length[0] = limit(state.drawn, settings.grow, settings.longest)
    seed = settings.seed + 7919 * state.step
    loader: DataLoader[Batch] = DataLoader(
        Pictures(Molecules(settings.data), size, settings.batch, seed, length),
        batch_size=None,
        num_workers=settings.workers,
        pin_memory=cuda,
        prefetch_factor=4 if settings.workers else None,
    )
    drawing = iter(loader)  # its processes begin to draw
    held = {
        most: [_with_features(batch.to(settings.device), eyes) for batch in batches]
        for most, batches in held_out(settings.data, size, HELD, settings.longest).items()
    }
    store = None
    if eyes is not None and settings.uses > 1:
        store = Store(settings.out / "features", settings.store * GIGABYTE, settings.variant)
    log = settings.out / "log.jsonl"
    settings.out.mkdir(parents=True, exist_ok=True)
    bar = tqdm(disable=None, unit=" pictures", initial=state.seen, file=sys.stderr)
    recent: list[Tensor] = []
    stop = Stop()
    saved = checked = time.monotonic()
    before: float | None = None  # the time of the last step; none is spent before the first

    def write() -> None:
        kept = {"model." + k: v for k, v in model.state_dict().items()}
        kept |= {"mean." + k: v for k, v in mean.state_dict().items()}
        for name, p in learnt.items():
            if p in optimiser.state:
                kept[f"optimiser.{name}.first"] = optimiser.state[p]["exp_avg"]
                kept[f"optimiser.{name}.second"] = optimiser.state[p]["exp_avg_sq"]
        save(kept, path, {**card(model), "state": json.dumps(asdict(state))})

    for batch in _batches(drawing, eyes, store, settings, state):
        now = time.monotonic()
        spent = (now - (before or now)) / 60
        before = now
        if path.name == COOLED:
            state.cooled += spent
            done = state.cooled >= cool
            rate = max(1 - state.cooled / cool, LEAST_RATE)
        else:
            state.minutes += spent
            done = state.minutes >= steady
            rate = min((state.step + 1) / WARM_UP, 1.0)
            if done and cool > 0 and not stop.asked:  # the rest is a branch, from this save
                write()
                done, path = False, settings.out / COOLED
        ends = done or stop.asked
        if not ends:
            model.train()
            length[0] = limit(state.drawn, settings.grow, settings.longest)
            for group in optimiser.param_groups:
                group["lr"] = settings.rate * rate * group["share"]
            with amp:
                cost = loss(model, batch, settings.weight)
            optimiser.zero_grad(set_to_none=True)
            cost.total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(learnt.values(), 1.0)
            optimiser.step()
            state.step += 1
            state.seen += len(batch.tokens)
            average(mean, model, state.step)
            recent.append(torch.stack([getattr(cost, f.name).detach() for f in fields(Loss)]))
            bar.update(len(batch.tokens))
        row: dict[str, object] = {
            "step": state.step,
            "seen": state.seen,
            "drawn": state.drawn,
            "minutes": round(state.minutes + state.cooled, 2),
        }
        if recent and (ends or state.step % 100 == 0):
            means = torch.stack(recent).mean(0).tolist()
            recent.clear()
            found = {f.name: round(v, 4) for f, v in zip(fields(Loss), means, strict=True)}
            bar.set_postfix({k: found[k] for k in ("token", "token_right")})
            told = {"rate": round(settings.rate * rate, 7), "longest": int(length[0])}
            note(log, row | told | found | {"refused": state.refused})
        if done or now - checked > settings.check_minutes * 60:
            checked = now
            with amp:
                figures = {most: judge(mean, batches).row() for most, batches in held.items()}
            note(log, row | {"held_out": figures})
        if ends or now - saved > settings.save_minutes * 60:
            saved = now
            write()
        if ends:
            break
    bar.close()
    stop.over()
    return path


def _batches(
    drawing: Iterator[Batch],
    eyes: Backbone | None,
    store: Store | None,
    settings: Settings,
    state: State,
) -> Iterator[Batch]:
    """Each drawn batch, and after it others of which the features are kept."""
    rng = np.random.default_rng([settings.seed, 3, state.step])
    uses = settings.echo if eyes is None else 1
    for drawn, is_new in echoed(drawing, uses, state.step, lambda b: b.to(settings.device)):
        if is_new:
            state.drawn += len(drawn.tokens)
            state.refused = dict(Counter(state.refused) + Counter(drawn.refused))
        fresh = _with_features(drawn, eyes)
        yield fresh
        if store is not None:
            store.add(fresh)
            for batch in store.batches(settings.uses - 1, settings.batch, rng):
                yield batch.to(settings.device)


@torch.no_grad()
def _with_features(batch: Batch, eyes: Backbone | None) -> Batch:
    """A batch with features in place of pictures, where the backbone is frozen."""
    if eyes is None:
        return batch
    return replace(batch, seen=eyes(batch.seen.expand(-1, 3, -1, -1)))


def average(mean: I2S, model: I2S, step: int) -> None:
    """Move the exponential moving mean of weights and buffers towards the model."""
    decay = min(MEAN, (1 + step) / (20 + step))
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


def _last_save(
    out: Path, model: I2S, steady: float, cool: float
) -> tuple[Path, State, dict[str, Tensor]]:
    """Where the run goes on: the file to save to, the state, and the tensors if there are any.

    Args:
        out: folder of the run.
        model: of the kind that is trained.
        steady: minutes at constant rate.
        cool: minutes of the fall of the rate.
    """
    last, cooled = out / LAST, out / COOLED
    state, tensors = _opened(last, model) if last.exists() else (State(), {})
    if not cool or state.minutes < steady:
        return last, state, tensors
    if cooled.exists():
        branch, more = _opened(cooled, model)
        if branch.minutes == state.minutes:  # a fall that began where the run stands
            return cooled, branch, more
    return cooled, state, tensors


def _opened(path: Path, model: I2S) -> tuple[State, dict[str, Tensor]]:
    """The state and the tensors of a save.

    Raises:
        WeightsError: of a run of another kind.
    """
    tensors, metadata = load(path)
    for key, value in card(model).items():
        if metadata.get(key) != value:
            raise WeightsError(f"{path}: a run of another {key}; choose another folder")
    if "state" not in metadata:
        raise WeightsError(f"{path}: not a run of this version; choose another folder")
    return State(**json.loads(metadata["state"])), tensors


def _start(model: I2S, weights: Path | None) -> None:
    """Give a new run the weights that it starts from."""
    if weights is None:
        model.backbone.load_imagenet()
        return
    start = load_model(weights)
    if start.size != model.size:
        raise WeightsError(f"{weights}: not weights of the variant {model.size.variant}")
    model.load_state_dict(start.state_dict())


@torch.no_grad()
def _optimiser(
    learnt: dict[str, nn.Parameter], settings: Settings, tensors: dict[str, Tensor], step: int
) -> torch.optim.Optimizer:
    """Adam, as the save left it; the backbone learns at a share of the rate."""
    backbone = [p for n, p in learnt.items() if n.startswith("backbone.")]
    others = [p for n, p in learnt.items() if not n.startswith("backbone.")]
    groups = [{"params": others, "share": 1.0}]
    if backbone:
        groups.append({"params": backbone, "share": settings.backbone_rate})
    optimiser = torch.optim.Adam(groups, settings.rate, betas=(0.9, 0.98), fused=True)
    for name, p in learnt.items():
        if f"optimiser.{name}.first" in tensors:
            optimiser.state[p] = {
                "step": torch.tensor(float(step), device=p.device),
                "exp_avg": torch.empty_like(p).copy_(tensors[f"optimiser.{name}.first"]),
                "exp_avg_sq": torch.empty_like(p).copy_(tensors[f"optimiser.{name}.second"]),
            }
    return optimiser


def settings_of(args: object) -> Settings:
    """The settings that parsed options ask for."""
    given = {f.name: getattr(args, f.name) for f in fields(Settings)}
    return Settings(**{**given, "data": tuple(given["data"])})
