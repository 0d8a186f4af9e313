"""What attention is worth: the study behind docs/attention.md, in one command.

    pip install -e '.[train,dev]'
    python bench/attention.py --data molecules.smi.gz --out runs/attention --minutes 120

Five readers learn one after the other from the same molecules, hands and spoiling, each for the
same minutes on the same machine, once for each seed:

    a  i2s, fixed    context = mean of the 49 places
    b  i2s, plain    as it is
    c  i2s, taught   attention taught where to look
    d  i2s, walk     taught, walk tokens
    e  gaze          the reader that ships, molgaze.train.fit

Every run leaves snapshots at equal times; each is read back greedily on the same held-out
pictures, outside the budget. In OUT: curves.csv, summary.csv, summary.md, probes.csv, curves.png.
A command that was stopped goes on where it was; finished runs are kept.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from tqdm import tqdm

from molgaze import gaze, walk
from molgaze.molecule import MoleculeError, molecule
from molgaze.score import Result, compare
from molgaze.train import fit, i2s
from molgaze.train.corpus import Corpus
from molgaze.train.draw import Drawing
from molgaze.train.export import TorchNet
from molgaze.train.hands import hand
from molgaze.train.spoil import spoil

mpl.use("Agg")
from matplotlib import pyplot as plt

ARMS = {
    "a": ("fixed", "i2s, fixed context"),
    "b": ("plain", "i2s"),
    "c": ("taught", "i2s, taught"),
    "d": ("walk", "i2s, walk tokens"),
    "e": ("", "gaze"),
}
NEVER = 1e6  # minutes


@dataclass
class Sight:
    """A held-out picture as both readers get it."""

    drawing: Drawing
    spoiled: Drawing
    smiles: str


@dataclass
class Figures:
    """What one reader makes of the held-out pictures."""

    results: list[Result]
    token_right: float
    """Share of the tokens that are right when those before are given."""
    nats: float
    """Negative log-likelihood of a whole target, the tokens before each given."""
    near: float
    """Attention within one cell of i2s (a seventh of the picture) of the atom being written."""
    nearest: float
    """The same within one cell of the reader's own: for gaze 8 pixels at reading scale."""

    def row(self) -> dict[str, float]:
        def mean(name: str) -> float:
            return float(np.mean([getattr(r, name) for r in self.results]))

        return {
            "exact": mean("exact"),
            "tanimoto": mean("tanimoto"),
            "valid": mean("valid"),
            "near": self.near,
            "near_own_cell": self.nearest,
            "token_right": self.token_right,
            "nats": self.nats,
        }


# --- molecules and pictures -----------------------------------------------------------------------


def gather(files: Sequence[Path], target: Path, count: int, longest: int) -> None:
    """Write the first molecules of the files, in turn, whose SMILES is short enough."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)

    def lines(path: Path) -> Iterator[str]:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as rows:
            for row in rows:
                if row.strip() and len(row.split()[0]) <= longest:
                    yield row.split()[0]

    sources = [lines(path) for path in files]
    rough = target.with_name(target.name + ".tmp")
    with rough.open("w", encoding="utf-8") as out:
        written = 0
        while sources and written < count:
            for source in list(sources):
                smiles = next(source, None)
                if smiles is None:
                    sources.remove(source)
                elif written < count:
                    out.write(smiles + "\n")
                    written += 1
    if not written:
        raise SystemExit(f"{', '.join(map(str, files))}: no SMILES of up to {longest} characters")
    rough.replace(target)


def sights(data: Path, count: int, harm: float) -> list[Sight]:
    """Held-out pictures that every arm can be asked for."""
    rng = np.random.default_rng(777)
    molecules = iter(Corpus([data], 777, held_out=True, pool=32, uses=1))
    found: list[Sight] = []
    for _ in range(50 * count):
        drawing = hand(next(molecules), rng)
        spoiled = spoil(drawing, rng, harm)
        try:
            shown = [i2s.example(drawing, spoiled, i2s.Size(v)) for v, _ in ARMS.values() if v]
        except i2s.RefusedError:
            continue
        if fit.example(spoiled) is not None:
            found.append(Sight(drawing, spoiled, shown[0].smiles))
        if len(found) == count:
            return found
    raise SystemExit(f"{data}: too few held-out molecules that every arm can read")


# --- training -------------------------------------------------------------------------------------


def learn(arm: str, out: Path, data: Path, options: argparse.Namespace, seed: int) -> None:
    """Train one arm; every save is kept as a snapshot."""
    variant, _ = ARMS[arm]
    command = [sys.executable, "-m"]
    command += ["molgaze.train.i2s", "train", "--variant", variant] if variant else [
        "molgaze.train.fit"
    ]  # fmt: skip
    given = {
        "data": data,
        "out": out,
        "seed": seed,
        "minutes": options.minutes,
        "harm": options.harm,
        "workers": options.workers,
        "save-minutes": options.minutes / options.points,
        "check-minutes": NEVER,
    }
    if not variant:
        given["cool"] = 0  # all minutes at constant rate
    for name, value in given.items():
        command += [f"--{name}", str(value)]
    out.mkdir(parents=True, exist_ok=True)
    last = out / "last.safetensors"
    known = {path.stat().st_ino for path in out.glob("snapshot-*.safetensors")}

    def keep() -> None:
        # a save replaces the file whole, so a second name keeps the one before
        if last.exists() and last.stat().st_ino not in known:
            known.add(last.stat().st_ino)
            os.link(last, out / f"snapshot-{len(known):03d}.safetensors")

    with (out / "output.txt").open("ab") as output:
        run = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            while run.poll() is None:
                keep()
                time.sleep(0.5)
        finally:
            if run.poll() is None:
                run.terminate()
                run.wait()
    keep()
    if run.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {run.returncode}, see {output.name}")


# --- reading --------------------------------------------------------------------------------------


def judge_i2s(path: Path, shown: Sequence[Sight]) -> Figures:
    """A snapshot of i2s on held-out pictures."""
    model = i2s.load_model(path)
    results, right, nats, near, tokens, atoms = [], 0.0, 0.0, 0.0, 0, 0
    for batch in i2s_batches(model.size, shown):
        with torch.no_grad():
            cost = i2s.loss(model, batch)
            written = i2s.write(model, batch.picture)
        count, writes = int((batch.tokens[:, 1:] > 0).sum()), int(batch.atom.sum())
        tokens, atoms = tokens + count, atoms + writes
        right += float(cost.token_right) * count
        nats += float(cost.token) * count
        near += float(cost.near) * writes
        for smiles, caption in zip(batch.smiles, written, strict=True):
            results.append(compare(Path(), smiles, caption.smiles))
    share = near / atoms
    return Figures(results, right / tokens, nats / len(shown), share, share)


def i2s_batches(size: i2s.Size, shown: Sequence[Sight], count: int = 32) -> Iterator[i2s.Batch]:
    """Held-out pictures for i2s, in their order."""
    for k in range(0, len(shown), count):
        part = shown[k : k + count]
        yield i2s.collate([i2s.example(s.drawing, s.spoiled, size) for s in part])


def judge_gaze(path: Path, shown: Sequence[Sight]) -> Figures:
    """A snapshot of gaze on held-out pictures."""
    model = fit.load_model(path)
    net: Any = TorchNet(model)
    results, right, nats, near, own, tokens, atoms = [], 0.0, 0.0, 0.0, 0.0, 0, 0
    for sight in shown:
        ink = sight.spoiled.ink
        found = gaze.read(net, ink.astype(np.float32) / 255)
        results.append(compare(Path(), sight.smiles, _smiles_of(found)))
        example = fit.example(sight.spoiled)
        assert example is not None
        batch = fit.collate([example])
        with torch.no_grad():
            logits, scores, _ = model(batch)
        answer = batch.tokens[0, 1:]
        right += int((logits[0].argmax(-1) == answer).sum())
        nats += float(F.cross_entropy(logits[0], answer, reduction="sum"))
        tokens += len(answer)
        words = [walk.VOCABULARY[t] for t in answer.tolist()]
        writes = [walk.is_atom(w) or w == walk.OPEN for w in words]
        weights = torch.softmax(scores[0], -1)[writes]  # (A, L)
        places = batch.places[0, 1:][writes]  # (A, 2), cells of 8 pixels
        far = torch.cdist(places, batch.cells[0].float())  # (A, L)
        wide = max(ink.shape) / i2s.GRID / fit.CELL  # a cell of i2s in cells of gaze
        near += float((weights * (far <= wide)).sum())
        own += float((weights * (far <= 1)).sum())
        atoms += len(places)
    return Figures(results, right / tokens, nats / len(shown), near / atoms, own / atoms)


def _smiles_of(walks: Sequence[gaze.Walk]) -> str | None:
    if not walks:
        return None
    graph, _ = walk.decode(walks[0].tokens, walks[0].places)
    try:
        return molecule(graph).smiles
    except MoleculeError:
        return None


# --- probes: what the hidden state does in the score ----------------------------------------------

Hook = Callable[[Any, Any, torch.Tensor], torch.Tensor]


def probes(path: Path, shown: Sequence[Sight]) -> Iterator[dict[str, object]]:
    """Token loss of a trained i2s when its attention is tampered with at reading time."""
    model = i2s.load_model(path)
    attention = model.decoder.attention
    assert attention is not None

    def constant(layer: Any, given: Any, out: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(out) + layer.bias  # what hidden = 0 asks for, at every step

    def another(layer: Any, given: Any, out: torch.Tensor) -> torch.Tensor:
        return out.roll(1, 0)  # the next picture's hidden state asks

    def flat(layer: Any, given: Any, out: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(out)  # equal scores: the mean of the 49 places

    ways: list[tuple[str, Any, Hook | None]] = [
        ("as it is", None, None),
        ("hidden left out of the score", attention.w2, constant),
        ("hidden of another picture in the score", attention.w2, another),
        ("equal weights at all 49 places", attention.v, flat),
    ]
    for name, layer, hook in ways:
        handle = layer.register_forward_hook(hook) if layer is not None else None
        nats, near, moved, tokens, atoms, steps = 0.0, 0.0, 0.0, 0, 0, 0
        for batch in i2s_batches(model.size, shown):
            with torch.no_grad():
                logits, weights = model(batch.picture, batch.tokens)
            answer = batch.tokens[:, 1:]
            nats += float(
                F.cross_entropy(
                    logits.flatten(0, 1), answer.flatten(), ignore_index=0, reduction="sum"
                )
            )
            tokens += int((answer > 0).sum())
            far = i2s.distances(batch.places[:, 1:])
            writes = batch.atom[:, 1:]
            near += float(((weights * (far <= 1)).sum(-1) * writes).sum())
            atoms += int(writes.sum())
            both = answer[:, 1:] > 0  # half the weights' change from one step to the next
            change = (weights[:, 1:] - weights[:, :-1]).abs().sum(-1) / 2
            moved, steps = moved + float((change * both).sum()), steps + int(both.sum())
        if handle is not None:
            handle.remove()
        yield {
            "probe": name,
            "nats_per_token": round(nats / tokens, 4),
            "near": round(near / atoms, 4),
            "moved_per_step": round(moved / steps, 4),
        }


# --- tables and plots -----------------------------------------------------------------------------


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """A CSV table, whole or not at all."""
    rough = path.with_name(path.name + ".tmp")
    with rough.open("w", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    rough.replace(path)


def interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean, by drawing the pictures anew 2000 times."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(differences), size=(2000, len(differences)))
    low, high = np.percentile(differences[picks].mean(1), [2.5, 97.5])
    return float(low), float(high)


def plot(curves: Sequence[dict[str, Any]], path: Path) -> None:
    """Learning curves, a line for each arm and seed."""
    panels = {
        "tanimoto": "mean Tanimoto",
        "exact": "exact match",
        "valid": "validity",
        "near": "attention within one cell (1/7) of the atom",
        "token_right": "tokens right, those before given",
        "nats": "nats a picture, tokens before given",
    }
    figure, axes = plt.subplots(2, 3, figsize=(14, 7.5), constrained_layout=True)
    for axis, (name, title) in zip(axes.flat, panels.items(), strict=True):
        for k, (arm, (_, label)) in enumerate(ARMS.items()):
            for n, seed in enumerate(sorted({c["seed"] for c in curves if c["arm"] == arm})):
                line = [c for c in curves if c["arm"] == arm and c["seed"] == seed]
                style = {"color": f"C{k}", "marker": ".", "alpha": 0.8}
                named = None if n else f"{arm}  {label}"
                axis.plot(
                    [c["minutes"] for c in line], [c[name] for c in line], label=named, **style
                )
        axis.set(title=title, xlabel="minutes")
        axis.grid(alpha=0.3)
        axis.set_xlim(left=0)
        if name == "nats":
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
    axes.flat[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def summary(
    final: dict[tuple[str, int], tuple[dict[str, Any], list[Result]]], chance: float
) -> tuple[list[dict[str, object]], str]:
    """The table over the seeds' last snapshots, as rows and as Markdown with what follows."""
    rows: list[dict[str, object]] = []
    names = ("exact", "tanimoto", "valid", "near", "near_own_cell", "token_right", "nats", "seen")
    for arm, (_, label) in ARMS.items():
        runs = [row for (a, _), (row, _) in final.items() if a == arm]
        if runs:
            row: dict[str, object] = {"arm": arm, "reader": label, "seeds": len(runs)}
            for name in names:
                values = [float(r[name]) for r in runs]
                row[name] = round(float(np.mean(values)), 4)
                row[name + "_range"] = round(max(values) - min(values), 4)
            rows.append(row)
    text = "| arm | reader | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 2) + "|\n"
    for row in rows:
        cells = [f"{row[n]} (±{float(str(row[n + '_range'])) / 2:.3g})" for n in names]
        text += f"| {row['arm']} | {row['reader']} | " + " | ".join(cells) + " |\n"
    text += f"\nEqual weights at all places would put {chance:.4f} of them within one cell.\n"
    for one, other in (("b", "a"), ("c", "b"), ("d", "c"), ("e", "b")):
        seeds = [s for a, s in final if a == one and (other, s) in final]
        for name in ("tanimoto", "exact") if seeds else ():
            apart = np.mean(
                [
                    [
                        float(getattr(x, name)) - float(getattr(y, name))
                        for x, y in zip(final[one, s][1], final[other, s][1], strict=True)
                    ]
                    for s in seeds
                ],
                axis=0,
            )
            low, high = interval(apart)
            text += (
                f"\n{one} - {other}, {name}: {apart.mean():+.4f} (95 % of redrawn pictures: "
                f"{low:+.4f} to {high:+.4f}; seeds: {len(seeds)})\n"
            )
    return rows, text


def main() -> None:
    """Train, read, write the tables."""
    parser = argparse.ArgumentParser(description="what attention is worth")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of SMILES")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=120.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each arm")
    parser.add_argument("--arms", default="".join(ARMS), help="default %(default)s")
    parser.add_argument("--points", type=int, default=8, help="snapshots of each run")
    parser.add_argument("--pictures", type=int, default=500, help="read at the end")
    parser.add_argument("--curve-pictures", type=int, default=100, help="read at each snapshot")
    parser.add_argument("--harm", type=float, default=0.5, help="how much pictures are spoiled")
    parser.add_argument("--longest", type=int, default=70, help="characters of a SMILES")
    parser.add_argument("--molecules", type=int, default=300_000)
    parser.add_argument("--workers", type=int, default=1, help="drawing processes")
    options = parser.parse_args()
    if not set(options.arms) <= set(ARMS) or not options.arms:
        parser.error(f"--arms: letters of {''.join(ARMS)}")
    if min(options.seeds, options.points, options.pictures, options.curve_pictures) < 1:
        parser.error("--seeds, --points, --pictures and --curve-pictures: at least 1")
    if options.minutes <= 0:
        parser.error("--minutes: more than 0")
    out: Path = options.out
    told = {k: str(v) for k, v in vars(options).items() if k not in ("arms", "seeds", "out")}
    out.mkdir(parents=True, exist_ok=True)
    asked = out / "options.json"
    if asked.exists() and json.loads(asked.read_text()) != told:
        raise SystemExit(f"{asked}: this folder holds a study with other options")
    asked.write_text(json.dumps(told, indent=2))

    data = out / "molecules.smi"
    gather(options.data, data, options.molecules, options.longest)
    shown = sights(data, max(options.pictures, options.curve_pictures), options.harm)
    curves: list[dict[str, Any]] = []
    final: dict[tuple[str, int], tuple[dict[str, Any], list[Result]]] = {}
    probed: list[dict[str, object]] = []
    runs = [(arm, seed) for seed in range(options.seeds) for arm in ARMS if arm in options.arms]
    for arm, seed in tqdm(runs, unit=" runs", file=sys.stderr):
        folder = out / f"{arm}-{seed}"
        last = folder / "last.safetensors"
        if not last.exists() or _progress(last)["minutes"] < options.minutes:
            learn(arm, folder, data, options, seed)
        judge = judge_i2s if ARMS[arm][0] else judge_gaze
        for path in sorted(folder.glob("snapshot-*.safetensors")):
            kept = path.with_suffix(".json")
            row = judge(path, shown[: options.curve_pictures]).row()
            kept.write_text(json.dumps(row | _progress(path)), encoding="utf-8")
            path.unlink()  # it is large; last.safetensors stays
        for kept in sorted(folder.glob("snapshot-*.json")):
            row = json.loads(kept.read_text(encoding="utf-8"))
            curves.append({"arm": arm, "seed": seed, **row})
        whole = judge(last, shown[: options.pictures])
        final[arm, seed] = (whole.row() | _progress(last), whole.results)
        if ARMS[arm][0] in ("plain", "taught"):
            rows = probes(last, shown[: options.pictures])
            probed += [{"arm": arm, "seed": seed, **row} for row in rows]
        write_rows(out / "curves.csv", curves)
        plot(curves, out / "curves.png")
        if probed:
            write_rows(out / "probes.csv", probed)
        rows_of, text = summary(final, chance(shown[: options.pictures]))
        write_rows(out / "summary.csv", rows_of)
        (out / "summary.md").write_text(text, encoding="utf-8")
    print(text)


def _progress(path: Path) -> dict[str, float]:
    """Minutes and pictures that a snapshot took."""
    _, metadata = fit.load(path)
    told = json.loads(metadata["state"]) if "state" in metadata else metadata
    return {"minutes": round(float(told["minutes"]), 3), "seen": int(told["seen"])}


def chance(shown: Sequence[Sight]) -> float:
    """Share of the 49 places that lie within one cell of an atom, on average."""
    shares = []
    for batch in i2s_batches(i2s.Size(), shown):
        far = i2s.distances(batch.places)[batch.atom]
        shares += ((far <= 1).float().mean(-1)).tolist()
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
