"""What attention is worth: the study behind docs/attention.md, in one command.

    pip install -e '.[train,dev]'
    python bench/attention.py --data molecules.smi.gz --out runs/attention --minutes 60 \\
        --anchor runs/i2s

Five readers learn one after the other from the same molecules, each for the same minutes on the
same machine, once for each seed:

    a  i2s, fixed    context = mean of the 49 places
    b  i2s, plain    as it is
    c  i2s, taught   attention taught where to look
    d  i2s, walk     taught, walk tokens
    e  gaze          the reader that ships, molgaze.train.fit

The four of i2s learn from plain drawings, gaze from the lessons and hands that it always has. The
anchor is a reader (b) that was trained for longer, by ``molgaze i2s train``. Every run leaves
snapshots at equal times; each is read back greedily on the same held-out plain drawings, outside
the budget, by length class. In OUT: curves.csv, summary.csv, summary.md, probes.csv, curves.png,
lengths.png. A command that was stopped goes on where it was; finished runs are kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
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
from molgaze.files import whole
from molgaze.molecule import MoleculeError, molecule
from molgaze.score import Result, compare
from molgaze.sites import CELL
from molgaze.train import fit
from molgaze.train.corpus import read_smiles
from molgaze.train.draw import Drawing
from molgaze.train.export import TorchNet
from molgaze.train.i2s import score
from molgaze.train.i2s.drawing import Example, Plain, RefusedError, draw, example
from molgaze.train.i2s.feed import CLASSES, Batch, Molecules, collate
from molgaze.train.i2s.loss import distances
from molgaze.train.i2s.model import GRID, VARIANTS, Size, load_model
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
ANCHOR = ("anchor", "i2s, trained for longer")
NEVER = 1e6  # minutes


@dataclass
class Sight:
    """A held-out picture as both readers get it."""

    plain: Plain
    examples: dict[str, Example]
    """For i2s, by variant."""
    scaled: Drawing
    """For gaze, at its reading scale."""


@dataclass
class Figures:
    """What one reader makes of the held-out pictures, a number for each picture."""

    results: list[Result]
    tokens: list[int]
    right: list[float]
    """Tokens that are right when those before are given."""
    nats: list[float]
    """Negative log-likelihood of the whole target, the tokens before each given."""
    atoms: list[int]
    near: list[float]
    """Attention within one cell of i2s (a seventh of the picture) of each atom, summed."""
    nearest: list[float]
    """The same within one cell of the reader's own: for gaze 8 pixels at reading scale."""

    def row(self, chosen: Sequence[int] | None = None) -> dict[str, float]:
        """Means over all pictures, or over the chosen ones."""
        picked = range(len(self.results)) if chosen is None else chosen

        def mean(name: str) -> float:
            return float(np.mean([getattr(self.results[i], name) for i in picked]))

        def share(parts: list[float], of: list[int]) -> float:
            return sum(parts[i] for i in picked) / max(sum(of[i] for i in picked), 1)

        return {
            "exact": mean("exact"),
            "tanimoto": mean("tanimoto"),
            "valid": mean("valid"),
            "near": share(self.near, self.atoms),
            "near_own_cell": share(self.nearest, self.atoms),
            "token_right": share(self.right, self.tokens),
            "nats": sum(self.nats[i] for i in picked) / len(picked),
        }


# --- molecules and pictures -----------------------------------------------------------------------


def gather(files: Sequence[Path], target: Path, count: int, longest: int) -> None:
    """Write the first molecules of the files, in turn, whose SMILES is short enough; none of those
    that are held out.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)

    def lines(path: Path) -> Iterator[str]:
        return (smiles for smiles in read_smiles(path) if len(smiles) <= longest)

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


def sights(data: Sequence[Path], count: int, longest: int) -> list[Sight]:
    """Held-out pictures that every arm can be asked for, an equal share of each length class."""
    molecules = Molecules(data, held_out=True)
    rng = np.random.default_rng(777)
    classes = sorted({min(most, longest) for most in CLASSES})
    found: dict[str, Sight] = {}
    for k, most in enumerate(classes):
        least, wanted = (classes[k - 1] + 1 if k else 1), count * (k + 1) // len(classes)
        for _ in range(50 * count):
            if len(found) == wanted:
                break
            try:
                plain = draw(molecules.any(rng, least, most), most)
                examples = {v: example(plain, Size(v)) for v in VARIANTS}
            except RefusedError:
                continue
            scaled = spoil(plain.drawing(), rng, 0.0)
            if len(plain.smiles) >= least and fit.example(scaled) is not None:
                found[plain.smiles] = Sight(plain, examples, scaled)
        if len(found) < wanted:
            raise SystemExit(f"{data[0]}: too few held-out molecules that every arm can read")
    shown = list(found.values())
    rng.shuffle(shown)
    return shown


def length_classes(shown: Sequence[Sight]) -> dict[int, list[int]]:
    """Which of the pictures are of each length class."""
    found: dict[int, list[int]] = {}
    for i, sight in enumerate(shown):
        most = min(n for n in CLASSES if len(sight.plain.smiles) <= n)
        found.setdefault(most, []).append(i)
    return found


# --- training -------------------------------------------------------------------------------------


def learn(arm: str, out: Path, data: Path, options: argparse.Namespace, seed: int) -> None:
    """Train one arm; every save is kept as a snapshot."""
    variant, _ = ARMS[arm]
    command = [sys.executable, "-m"]
    if variant:
        command += ["molgaze", "i2s", "train", "--variant", variant]
    else:
        command += ["molgaze.train.fit"]
    given: dict[str, object] = {
        "data": data,
        "out": out,
        "seed": seed,
        "minutes": options.minutes,
        "device": options.device,
        "cool": 0,  # all minutes at constant rate
        "workers": options.workers,
        "save-minutes": options.minutes / options.points,
        "check-minutes": NEVER,
    }
    if variant:
        given |= {"longest": options.longest, "store": options.store, "grow": options.grow}
    else:
        given["harm"] = 0
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
    shutil.rmtree(out / "features", ignore_errors=True)  # gigabytes that nothing needs any more
    if run.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {run.returncode}, see {output.name}")


# --- reading --------------------------------------------------------------------------------------


def judge_i2s(path: Path, shown: Sequence[Sight]) -> Figures:
    """A snapshot of i2s on held-out pictures."""
    model = load_model(path)
    found = Figures([], [], [], [], [], [], [])
    for batch in i2s_batches(model.size, shown, 1):
        one = score.judge(model, [batch])
        count, writes = int((batch.tokens[:, 1:] > 0).sum()), int(batch.atom.sum())
        found.results += one.results
        found.tokens.append(count)
        found.right.append(one.token_right * count)
        found.nats.append(one.nats)
        found.atoms.append(writes)
        found.near.append(one.near * writes)
        found.nearest.append(one.near * writes)
    return found


def i2s_batches(size: Size, shown: Sequence[Sight], count: int = 32) -> Iterator[Batch]:
    """Held-out pictures for i2s, in their order."""
    for k in range(0, len(shown), count):
        yield collate([sight.examples[size.variant] for sight in shown[k : k + count]])


def judge_gaze(path: Path, shown: Sequence[Sight]) -> Figures:
    """A snapshot of gaze on held-out pictures."""
    model = fit.load_model(path)
    net: Any = TorchNet(model)
    found = Figures([], [], [], [], [], [], [])
    for sight in shown:
        ink = sight.scaled.ink
        read = gaze.read(net, ink.astype(np.float32) / np.float32(255))
        found.results.append(compare(Path(), sight.plain.smiles, _smiles_of(read)))
        asked = fit.example(sight.scaled)
        assert asked is not None
        batch = fit.collate([asked])
        with torch.no_grad():
            logits, scores, *_ = model(batch)
        answer = batch.tokens[0, 1:]
        found.right.append(float((logits[0].argmax(-1) == answer).sum()))
        found.nats.append(float(F.cross_entropy(logits[0], answer, reduction="sum")))
        found.tokens.append(len(answer))
        words = [walk.VOCABULARY[t] for t in answer.tolist()]
        writes = [walk.is_atom(w) or w == walk.OPEN for w in words]
        weights = torch.softmax(scores[0], -1)[writes]  # (A, L)
        places = batch.places[0, 1:][writes]  # (A, 2), cells of 8 pixels
        far = torch.cdist(places, batch.cells[0].float())  # (A, L)
        wide = max(ink.shape) / GRID / CELL  # a cell of i2s in cells of gaze
        found.near.append(float((weights * (far <= wide)).sum()))
        found.nearest.append(float((weights * (far <= 1)).sum()))
        found.atoms.append(len(places))
    return found


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
    model = load_model(path)
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
                logits, weights = model(batch.seen, batch.tokens)
            answer = batch.tokens[:, 1:]
            nats += float(
                F.cross_entropy(
                    logits.flatten(0, 1), answer.flatten(), ignore_index=0, reduction="sum"
                )
            )
            tokens += int((answer > 0).sum())
            far = distances(batch.places[:, 1:])
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
    with whole(path) as draft, draft.open("w", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def whole_text(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


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


def plot_lengths(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Bars by length class: exact, Tanimoto, validity and attention, a bar for each arm."""
    panels = {"exact": "exact", "tanimoto": "Tanimoto", "valid": "valid", "near": "attention near"}
    classes = list(dict.fromkeys(row["characters"] for row in rows))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), constrained_layout=True)
    for axis, (name, title) in zip(axes.flat, panels.items(), strict=True):
        for k, arm in enumerate(arms):
            of = [row for row in rows if row["arm"] == arm]
            spots = [
                classes.index(row["characters"]) + 0.8 * ((k + 0.5) / len(arms) - 0.5) for row in of
            ]
            axis.bar(spots, [row[name] for row in of], 0.8 / len(arms), label=arm, color=f"C{k}")
        if name == "near":
            for n, text in enumerate(classes):
                level = next(row["equal"] for row in rows if row["characters"] == text)
                axis.plot([n - 0.45, n + 0.45], [level, level], "k--", linewidth=1)
        axis.set(title=title, ylim=(0, 1), xticks=range(len(classes)), xticklabels=classes)
    axes.flat[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


MEASURES = ("exact", "tanimoto", "valid", "near", "near_own_cell", "token_right", "nats")
Final = dict[tuple[str, int], tuple[dict[str, Any], Figures]]


def summary(final: Final, shown: Sequence[Sight]) -> tuple[list[dict[str, Any]], str]:
    """The table over the seeds' last snapshots by length class, as rows and as Markdown with what
    follows from it.
    """
    rows: list[dict[str, Any]] = []
    least = 1
    for most, chosen in sorted(length_classes(shown).items()):
        equal = chance([shown[i] for i in chosen])
        for arm, label in [(a, text) for a, (_, text) in ARMS.items()] + [ANCHOR]:
            of = [both for (a, _), both in final.items() if a == arm]
            runs = [(told, figures.row(chosen)) for told, figures in of]
            if not runs:
                continue
            row: dict[str, Any] = {"characters": f"{least} to {most}", "arm": arm, "reader": label}
            row |= {"pictures": len(chosen), "seeds": len(runs), "equal": round(equal, 4)}
            for name in (*MEASURES, "minutes", "seen"):
                values = [float({**told, **means}[name]) for told, means in runs]
                row[name] = round(float(np.mean(values)), 4)
                row[name + "_range"] = round(max(values) - min(values), 4)
            rows.append(row)
        least = most + 1
    names = (*MEASURES, "minutes", "seen")
    text = "| characters | arm | reader | " + " | ".join(names) + " |\n"
    text += "|---" * (len(names) + 3) + "|\n"
    for row in rows:
        cells = [f"{row[n]:.4g} (±{row[n + '_range'] / 2:.2g})" for n in names]
        text += f"| {row['characters']} | {row['arm']} | {row['reader']} | {' | '.join(cells)} |\n"
    for row in {row["characters"]: row for row in rows}.values():
        text += f"\n{row['characters']} characters: equal weights put {row['equal']:.4f} near.\n"
    for one, other in (("b", "a"), ("c", "b"), ("d", "c"), ("e", "b")):
        seeds = [s for a, s in final if a == one and (other, s) in final]
        for name in ("tanimoto", "exact") if seeds else ():
            for most, chosen in [*sorted(length_classes(shown).items()), (0, None)]:
                text += _difference(final, one, other, name, seeds, most, chosen)
    return rows, text


def _difference(
    final: Final,
    one: str,
    other: str,
    name: str,
    seeds: Sequence[int],
    most: int,
    chosen: Sequence[int] | None,
) -> str:
    """What one arm has over another, with its interval over redrawn pictures."""

    def values(arm: str, seed: int) -> NDArray[np.float64]:
        return np.array([float(getattr(r, name)) for r in final[arm, seed][1].results])

    apart = np.mean([values(one, s) - values(other, s) for s in seeds], axis=0)
    apart = apart if chosen is None else apart[list(chosen)]
    low, high = interval(apart)
    where = f"up to {most} characters" if most else "all"
    return (
        f"\n{one} - {other}, {name}, {where}: {apart.mean():+.4f} (95 % of redrawn pictures: "
        f"{low:+.4f} to {high:+.4f}; seeds: {len(seeds)})\n"
    )


def main() -> None:
    """Train, read, write the tables."""
    parser = argparse.ArgumentParser(description="what attention is worth")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of SMILES")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each arm")
    parser.add_argument("--arms", default="".join(ARMS), help="default %(default)s")
    parser.add_argument("--points", type=int, default=8, help="snapshots of each run")
    parser.add_argument("--pictures", type=int, default=500, help="read at the end")
    parser.add_argument("--curve-pictures", type=int, default=100, help="read at each snapshot")
    parser.add_argument("--anchor", type=Path, help="a run of i2s, plain, trained for longer")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--store", type=float, default=5.0, help="gigabytes of features of a run")
    parser.add_argument("--grow", type=int, default=30_000, help="as of molgaze i2s train")
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
    told = {
        k: str(v) for k, v in vars(options).items() if k not in ("arms", "seeds", "out", "anchor")
    }
    out.mkdir(parents=True, exist_ok=True)
    asked = out / "options.json"
    if asked.exists() and json.loads(asked.read_text()) != told:
        raise SystemExit(f"{asked}: this folder holds a study with other options")
    asked.write_text(json.dumps(told, indent=2))

    data = out / "molecules.smi"
    gather(options.data, data, options.molecules, options.longest)
    shown = sights(options.data, max(options.pictures, options.curve_pictures), options.longest)
    curves: list[dict[str, Any]] = []
    final: Final = {}
    probed: list[dict[str, object]] = []

    def report(arm: str, seed: int, weights: Path, judge: Callable[..., Figures]) -> None:
        figures = judge(weights, shown[: options.pictures])
        final[arm, seed] = (_progress(weights), figures)
        if arm == ANCHOR[0] or ARMS[arm][0] in ("plain", "taught"):
            rows = probes(weights, shown[: options.pictures])
            probed.extend({"arm": arm, "seed": seed, **row} for row in rows)
            write_rows(out / "probes.csv", probed)
        if curves:
            write_rows(out / "curves.csv", curves)
            plot(curves, out / "curves.png")
        rows_of, text = summary(final, shown[: options.pictures])
        write_rows(out / "summary.csv", rows_of)
        plot_lengths(rows_of, out / "lengths.png")
        whole_text(out / "summary.md", text)

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
        report(arm, seed, last, judge)
    if options.anchor is not None:
        report(ANCHOR[0], 0, fit.weights_of(options.anchor), judge_i2s)
    print((out / "summary.md").read_text(encoding="utf-8"))


def _progress(path: Path) -> dict[str, float]:
    """Minutes and pictures that a snapshot took."""
    _, metadata = fit.load(path)
    told = json.loads(metadata["state"]) if "state" in metadata else metadata
    return {"minutes": round(float(told["minutes"]), 3), "seen": int(told["seen"])}


def chance(shown: Sequence[Sight]) -> float:
    """Share of the 49 places that lie within one cell of an atom, on average."""
    shares: list[float] = []
    for batch in i2s_batches(Size(), shown):
        far = distances(batch.places)[batch.atom]
        shares += ((far <= 1).float().mean(-1)).tolist()
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
