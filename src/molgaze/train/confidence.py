"""Fits the confidence of weights: the chance that a reading is right, and that an atom of it is.

    python -m molgaze.train.confidence TABLE.csv [TABLE.csv ...] --weights FOLDER
    python -m molgaze.train.confidence --each 100 SCANS.csv --whole NOTHING.csv --weights FOLDER

A table has the columns ``file`` and ``smiles`` (empty for a picture without a molecule), and may
have ``note``: ``flat`` compares without stereo, ``dummy any label`` takes dummy atoms for equal.
The pictures must be such as the network never learned from. They are read once; what was seen of
them is kept in ``--cache``, by the id of the weights, so that a fit can be repeated in seconds. The
model is fitted on one half of the pictures and measured on the other, the measures are printed, and
then it is fitted on all and written into the metadata of ``encoder.onnx`` and ``step.onnx``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdFMCS

from ..confidence import Confidence
from ..picture import PictureError, load
from ..reader import WEIGHTS, Candidate, Reader
from .metadata import add_metadata

#: Features that the confidence is made of; :mod:`molgaze.confidence` tells what they are.
FEATURES = (
    "letter",
    "mark",
    "way",
    "mean",
    "total",
    "size",
    "small",
    "unread",
    "beside",
    "apart",
    "lines",
    "bare",
    "misshapen",
    "unknown",
    "repaired",
    "charge",
    "rings",
    "differ",
)
PENALTY = 4.0  # of the squares of the weights of features with unit variance
REFUSED = 0.004  # of the pictures with a molecule that may be refused
FOLDS = 5  # in which it is tried how low a picture with a molecule may come out
BINS = 10  # of the expected calibration error
SURE = 0.7  # confidence from which a wrong reading counts as confidently wrong

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A picture to read: which table it is of, its file, the answer and how it is compared."""

    table: str
    file: Path
    smiles: str
    note: str


@dataclass(frozen=True)
class Seen:
    """One reading of a picture, as it is kept."""

    features: dict[str, float]
    right: bool
    molecule: bool
    """Whether it is a valid one, and was read to its end."""


@dataclass(frozen=True)
class Record:
    """A picture that was read."""

    table: str
    file: str
    holds: bool
    """Whether a molecule is drawn in it."""
    seen: tuple[Seen, ...]
    """All readings, the best first by the confidence of that time."""
    atoms: tuple[tuple[tuple[float, bool], ...], ...]
    """Of each reading, for each atom: the log-probability, and whether it is right."""


def rows(tables: Sequence[Path], each: int) -> Iterator[Row]:
    """The pictures of tables: of each the first so many of a fixed shuffle, all for 0."""
    for path in tables:
        with open(path, newline="", encoding="utf-8") as lines:
            found = list(csv.DictReader(lines))
        random.Random(7).shuffle(found)
        for row in found[: each or len(found)]:
            yield Row(path.stem, path.parent / row["file"], row["smiles"], row.get("note") or "")


def answer(smiles: str | None, note: str) -> str | None:
    """What an answer is compared by; None for none."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles) if smiles else None
        if mol is None or not mol.GetNumAtoms():
            return None
        for atom in mol.GetAtoms() if "dummy" in note else ():
            if atom.GetAtomicNum() == 0:
                atom.SetIsotope(0)
                atom.SetAtomMapNum(0)
        return str(Chem.MolToSmiles(mol, isomericSmiles="flat" not in note))


def looked(reader: Reader, row: Row) -> Record:
    """Read one picture and compare every reading of it with the answer."""
    try:
        found = reader.candidates(load(row.file))
    except PictureError:
        found = []
    truth = answer(row.smiles, row.note)
    seen = []
    for candidate in found:
        right = truth is not None and answer(candidate.smiles, row.note) == truth
        seen.append(Seen(candidate.features, right, candidate.is_whole))
    atoms = []
    good: dict[str, list[bool]] = {}  # by what was read: several scales often read the same
    for candidate, s in zip(found, seen, strict=True):
        if candidate.smiles not in good:
            good[candidate.smiles] = _good(candidate, row, s.right)
        atoms.append(_atoms(candidate, good[candidate.smiles]))
    return Record(row.table, str(row.file), truth is not None, tuple(seen), tuple(atoms))


def _good(candidate: Candidate, row: Row, right: bool) -> list[bool]:
    """For each atom whether the answer has it too, with its bonds; none of what is not whole."""
    if candidate.molecule is None or not candidate.is_whole:
        return []
    with rdBase.BlockLogs():
        truth = Chem.MolFromSmiles(row.smiles)
    if not right and truth is not None and truth.GetNumAtoms():
        return _shared(candidate.molecule.mol, truth)
    return [right] * candidate.molecule.mol.GetNumAtoms()


def _atoms(candidate: Candidate, good: list[bool]) -> tuple[tuple[float, bool], ...]:
    """The log-probability of each atom, and whether it is right."""
    if candidate.verdict is None or candidate.molecule is None:
        return ()
    chances = np.maximum(candidate.verdict.chances, 1e-9)
    logs = [float(math.log(chances[source])) for source in candidate.molecule.atoms]
    return tuple(zip(logs, good, strict=False))


def _shared(mol: Chem.Mol, truth: Chem.Mol) -> list[bool]:
    """For each atom of a mol whether it is in the largest part that the true one has too."""
    found = rdFMCS.FindMCS([mol, truth], timeout=1, ringMatchesRingOnly=True)
    pattern = Chem.MolFromSmarts(found.smartsString) if found.numAtoms else None
    if pattern is None:
        return [False] * mol.GetNumAtoms()
    mine, theirs = mol.GetSubstructMatch(pattern), truth.GetSubstructMatch(pattern)
    good = [False] * mol.GetNumAtoms()
    for a, b in zip(mine, theirs, strict=False):
        one, other = mol.GetAtomWithIdx(a), truth.GetAtomWithIdx(b)
        codes = [x.GetProp("_CIPCode") if x.HasProp("_CIPCode") else "" for x in (one, other)]
        good[a] = one.GetDegree() == other.GetDegree() and (
            codes[0] == codes[1] or len(mine) < mol.GetNumAtoms()
        )
    return good


# --- the cache ---


def read_all(reader: Reader, wanted: Sequence[Row], cache: Path | None) -> list[Record]:
    """Records of pictures, from the cache where they are there."""
    model = reader.info["id"]
    known: dict[str, Record] = {}
    if cache is not None and cache.exists():
        for line in cache.read_text(encoding="utf-8").splitlines():
            stored = json.loads(line)
            if stored["model"] == model:
                known[stored["file"]] = _restored(stored)
    records = []
    for count, row in enumerate(wanted):
        record = known.get(str(row.file))
        if record is None:
            record = looked(reader, row)
            if cache is not None:
                with open(cache, "a", encoding="utf-8") as out:
                    out.write(json.dumps({"model": model, **_stored(record)}) + "\n")
        records.append(record)
        if count % 100 == 99:
            print(f"{count + 1} of {len(wanted)} pictures read", flush=True)
    return records


def _stored(record: Record) -> dict[str, Any]:
    return {
        "table": record.table,
        "file": record.file,
        "holds": record.holds,
        "seen": [[s.features, s.right, s.molecule] for s in record.seen],
        "atoms": record.atoms,
    }


def _restored(stored: dict[str, Any]) -> Record:
    return Record(
        stored["table"],
        stored["file"],
        stored["holds"],
        tuple(Seen(*row) for row in stored["seen"]),
        tuple(tuple((x, bool(ok)) for x, ok in atoms) for atoms in stored["atoms"]),
    )


# --- the fit ---


def logistic(x: Floats, y: Floats, weight: Floats, penalty: float = PENALTY) -> Floats:
    """Weights (F + 1,) of a logistic model of y (N,), 0 or 1, over x (N, F); the last is the bias.

    Newton's method. The penalty acts on the weights of features brought to unit variance, and
    keeps them finite where a feature parts y in two.
    """
    middle, spread = x.mean(0), x.std(0) + 1e-9
    design = np.c_[(x - middle) / spread, np.ones(len(x))]
    ridge = np.diag([penalty] * x.shape[1] + [1e-6])
    weights = np.zeros(x.shape[1] + 1)
    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (weight * (y - p)) - ridge @ weights
        curve = (design.T * (weight * (p * (1 - p) + 1e-9))) @ design + ridge
        step = np.linalg.solve(curve, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    own = weights[:-1] / spread
    return np.append(own, weights[-1] - own @ middle)


def fit(records: Sequence[Record]) -> Confidence:
    """The model of some pictures: all their readings count, each picture as one; then the readings
    that the model chooses set its slope and its bias.
    """
    x, y, weight = [], [], []
    for record in records:
        usable = [s for s in record.seen if s.molecule]
        for s in usable:
            x.append([s.features[name] for name in FEATURES])
            y.append(float(s.right))
            weight.append(1 / len(usable))
    named = _named(logistic(np.array(x), np.array(y), np.array(weight)))
    model = Confidence(named, {}, (1.0, 0.0, 0.0), 0.0)

    chosen = [best for record in records if (best := choice(model, record)) is not None]
    logits = np.array([[model.logit(s.features)] for s, _ in chosen])
    right = np.array([float(s.right) for s, _ in chosen])
    slope, shift = logistic(logits, right, np.ones(len(right)), 1e-3)
    named = {name: round(float(slope) * value, 5) for name, value in named.items()}
    named["bias"] = round(named["bias"] + float(shift), 5)
    model = Confidence(named, {}, (1.0, 0.0, 0.0), 0.0)

    shown = [(record, found) for record in records if (found := shown_by(model, record))]
    features = np.array([[found[name] for name in FEATURES] for _, found in shown])
    holds = np.array([float(record.holds) for record, _ in shown])
    drawing = {name: round(value, 5) for name, value in _named(_drawn(features, holds)).items()}
    fold = np.array([zlib.crc32(Path(record.file).name.encode()) % FOLDS for record, _ in shown])
    fresh = np.zeros(len(shown))  # log odds by a model that was not fitted on the picture
    for k in np.unique(fold):
        weights = _drawn(features[fold != k], holds[fold != k])
        fresh[fold == k] = features[fold == k] @ weights[:-1] + weights[-1]
    least = float(np.quantile(fresh[holds == 1], REFUSED)) if holds.any() else -30.0
    refused = 1 / (1 + math.exp(-max(least, -30.0)))

    rest: list[tuple[float, float]] = []
    good: list[float] = []
    for s, atoms in chosen:
        rest += [(log, model.logit(s.features)) for log, _ in atoms]
        good += [float(ok) for _, ok in atoms]
    own, whole, bias = logistic(np.array(rest), np.array(good), np.ones(len(good)), 1e-3)
    atom = (round(float(own), 5), round(float(whole), 5), round(float(bias), 5))
    return Confidence(named, drawing, atom, round(refused, 5))


def _drawn(features: Floats, holds: Floats) -> Floats:
    return logistic(features, holds, np.ones(len(holds)))


def _named(weights: Floats) -> dict[str, float]:
    return dict(zip((*FEATURES, "bias"), weights.tolist(), strict=True))


def shown_by(model: Confidence, record: Record) -> dict[str, float] | None:
    """The features by which a picture is taken for a drawing or refused; None if nothing was read
    in it, which is a refusal too.
    """
    best = choice(model, record)
    if best is not None:
        return best[0].features
    return next((s.features for s in record.seen if "size" in s.features), None)


def choice(model: Confidence, record: Record) -> tuple[Seen, Any] | None:
    """The reading of a picture that a model chooses, with its atoms; None if there is none."""
    usable = [pair for pair in zip(record.seen, record.atoms, strict=True) if pair[0].molecule]
    return max(usable, key=lambda pair: model(pair[0].features), default=None)


def _chance(model: Confidence, record: Record) -> float:
    """The confidence of what is read in a picture, 0 for nothing and for what is refused."""
    best = choice(model, record)
    return model(best[0].features) if best and not model.refuses(best[0].features) else 0.0


# --- the measures ---


def error(chances: Floats, right: Floats) -> float:
    """Expected calibration error: over bins of equal width, how far the mean confidence is from the
    share that is right, by the number of readings in each.
    """
    bins = np.minimum((chances * BINS).astype(int), BINS - 1)
    off = [abs(float((chances - right)[bins == b].sum())) for b in range(BINS)]
    return float(sum(off)) / max(len(chances), 1)


def coverage(chances: Floats, right: Floats, wanted: float = 0.95) -> float:
    """The largest share of the readings, the surest first, of which so many are right."""
    order = np.argsort(-chances)
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    return float(max(np.flatnonzero(share >= wanted), default=-1) + 1) / max(len(order), 1)


def measure(model: Confidence, records: Sequence[Record]) -> None:
    """Print what a model says of pictures that it was not fitted on, by table."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.table].append(record)
    groups["all with a molecule"] = [r for r in records if r.holds]
    print(f"{'table':22s} {'n':>5s} right  mean   ECE  wrong>={SURE} kept@95 >=0.5 refused  best")
    for name, group in groups.items():
        chances = np.array([_chance(model, record) for record in group])
        picked = [choice(model, record) for record in group]
        right = np.array([float(best is not None and best[0].right) for best in picked])
        sure = (chances >= SURE) & (right == 0)
        features = [shown_by(model, record) for record in group]
        refused = np.mean([f is None or model.refuses(f) for f in features])
        best = np.mean([any(s.right for s in record.seen) for record in group])
        print(
            f"{name:22s} {len(group):5d} {right.mean():5.3f} {chances.mean():5.3f} "
            f"{error(chances, right):5.3f} {sure.mean():8.3f} {coverage(chances, right):8.3f} "
            f"{(chances >= 0.5).mean():5.3f} {refused:7.3f} {best:5.3f}"
        )
    atoms = [
        (log, model.logit(b[0].features), ok)
        for b in map(_choose(model), records)
        if b
        for log, ok in b[1]
    ]
    own, whole, bias = model.atom
    given = 1 / (1 + np.exp(-np.array([own * x + whole * z + bias for x, z, _ in atoms])))
    good = np.array([float(ok) for *_, ok in atoms])
    doubt = given < 0.5
    wrong = 1 - good[doubt].mean() if doubt.any() else 0.0
    print(
        f"atoms: {len(good)}, right {good.mean():.4f}, ECE {error(given, good):.4f}; of "
        f"{int(doubt.sum())} doubtful ones {wrong:.3f} wrong, "
        f"of {int((good == 0).sum())} wrong ones {doubt[good == 0].mean():.3f} doubtful"
    )


def _choose(model: Confidence) -> Callable[[Record], tuple[Seen, Any] | None]:
    return lambda record: choice(model, record)


def halves(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Two halves of some pictures, by the checksums of their files' names."""
    parts: tuple[list[Record], list[Record]] = ([], [])
    for record in records:
        parts[zlib.crc32(Path(record.file).name.encode()) % 2].append(record)
    return parts


def write(folder: Path, model: Confidence) -> None:
    """Put a model into the metadata of both files of a folder of weights."""
    files = [folder / name for name in ("encoder.onnx", "step.onnx")]
    add_metadata(files, {"confidence": json.dumps(asdict(model))})


def refit(
    weights: Path,
    tables: Sequence[Path],
    each: int = 0,
    whole: Sequence[Path] = (),
    cache: Path | None = None,
    dry: bool = False,
) -> Confidence:
    """Fit the confidence of weights, print what it is worth, and write it into their metadata.

    Args:
        weights: a folder with ``encoder.onnx`` and ``step.onnx``.
        tables: of pictures and answers.
        each: how many pictures of each of these tables; all for 0.
        whole: more tables, of which all pictures are read.
        cache: a file in which it is kept what was seen of the pictures.
        dry: write nothing.
    """
    reader = Reader(weights, device="cpu", threads=1)
    wanted = [*rows(tables, each), *rows(whole, 0)]
    records = read_all(reader, wanted, cache)
    first, second = halves(records)
    print("Fitted on one half of the pictures and measured on the other, and the other way round:")
    measure(fit(first), second)
    measure(fit(second), first)
    model = fit(records)
    if not dry:
        write(weights, model)
    return model


def main() -> None:
    """Read, fit, measure, write."""
    parser = argparse.ArgumentParser(description="fit the confidence of exported weights")
    parser.add_argument("tables", nargs="+", type=Path, metavar="TABLE.csv")
    parser.add_argument("--each", type=int, default=0, help="pictures of each; default all")
    parser.add_argument(
        "--whole", nargs="+", type=Path, default=[], metavar="TABLE.csv", help="all of these"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FOLDER")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="what was seen is kept here")
    parser.add_argument("--dry", action="store_true", help="measure only, write nothing")
    options = parser.parse_args()
    found = refit(
        options.weights,
        options.tables,
        options.each,
        options.whole,
        options.cache,
        options.dry,
    )
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
