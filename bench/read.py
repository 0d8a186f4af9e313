"""Speed of reading on one core, by size of molecule, beside other versions of the package.

    python bench/read.py TABLE.csv [TABLE ...] [-n 20] [--against FOLDER ...] [--many 48]
    python bench/read.py FILE.smi.gz [--against FOLDER ...] [--plot FILE.png]

The pictures are those of tables with the columns ``file`` and ``smiles``, or drawings by RDKit of
the molecules of a file of SMILES, and of chance peptides where those are too small. Every version
has a process of its own with one thread, and they take turns on every picture; a version's FOLDER
holds its package, as a ``src`` folder or what a wheel was installed to. Time is that of the
processor for the process alone, the least of some readings, for whatever else the machine does
only adds to it. `one` is a picture read by itself; `many` is a picture among many, all of them read
by one call. Starts are whole processes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from molgaze.score import table

SIZES = ((4, 9), (10, 19), (20, 30), (31, 45), (46, 60), (61, 80), (81, 110), (111, 150))  # atoms
MEDIUM = SIZES[2]
READINGS = 3  # of each picture, of which the fastest counts
HERE = Path(__file__).parent.parent / "src"
BOND = 30  # px, of drawings
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"

READ = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from molgaze import Reader
reader = Reader(device="cpu", threads=1, **json.loads(sys.argv[2]))
for line in sys.stdin:
    files = json.loads(line)
    began = time.process_time()
    if isinstance(files, str):
        tokens = len(reader.read(files).tokens)
    else:
        tokens = sum(len(reading.tokens) for reading in reader.read_many(files))
    print(json.dumps([time.process_time() - began, tokens]), flush=True)
"""


class Version:
    """A version of the package in a process that reads what it is told to."""

    def __init__(self, folder: Path, **arguments: Any) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", READ, str(folder), json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
        )

    def seconds(self, files: str | list[str]) -> tuple[float, int]:
        """Seconds of the processor for a picture or for many, and the tokens that were read."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(files), file=self._process.stdin, flush=True)
        spent, tokens = json.loads(self._process.stdout.readline())
        return spent, tokens

    def close(self) -> None:
        self._process.communicate()


def size_of(mol: Chem.Mol) -> tuple[int, int] | None:
    """The row of the table that a molecule belongs to."""
    heavy = mol.GetNumHeavyAtoms()
    return next((size for size in SIZES if size[0] <= heavy <= size[1]), None)


def peptides(rng: np.random.Generator) -> Iterator[Chem.Mol]:
    """Chance peptides of any length, without end."""
    while True:
        mol = Chem.MolFromSequence("".join(rng.choice(list(AMINO_ACIDS), int(rng.integers(9, 22)))))
        Chem.RemoveStereochemistry(mol)
        yield mol


def molecules(file: Path, rng: np.random.Generator) -> Iterator[Chem.Mol]:
    """The molecules of a file of SMILES, in any order, and then peptides without end."""
    with (gzip.open if file.suffix == ".gz" else open)(file, "rt") as lines:
        every = [line.split()[0] for line in lines if line.strip()]
    for i in rng.permutation(len(every))[:5000]:
        mol = Chem.MolFromSmiles(every[i])
        if mol is not None:
            yield mol
    yield from peptides(rng)


def draw(mol: Chem.Mol, file: Path) -> None:
    """A plain drawing in black, large enough for its bonds."""
    pen = rdMolDraw2D.MolDraw2DCairo(-1, -1)
    pen.drawOptions().useBWAtomPalette()
    pen.drawOptions().fixedBondLength = BOND
    pen.DrawMolecule(rdMolDraw2D.PrepareMolForDrawing(mol))
    pen.FinishDrawing()
    file.write_bytes(pen.GetDrawingText())


def pictures(
    files: list[Path], each: int, folder: Path, rng: np.random.Generator
) -> dict[tuple[int, int], list[tuple[int, str]]]:
    """For each size as many pictures, with the heavy atoms of each."""
    found: dict[tuple[int, int], list[tuple[int, str]]] = {size: [] for size in SIZES}
    if all(file.suffix == ".csv" for file in files):
        rows = [(str(row.picture), row.smiles) for path in files for row in table(path)]
        for i in rng.permutation(len(rows)):
            mol = Chem.MolFromSmiles(rows[i][1])
            size = size_of(mol) if mol is not None else None
            if size and len(found[size]) < each:
                found[size].append((mol.GetNumHeavyAtoms(), rows[i][0]))
    else:
        for number, mol in enumerate(molecules(files[0], rng)):
            size = size_of(mol)
            if size and len(found[size]) < each:
                file = folder / f"{number}.png"
                draw(mol, file)
                found[size].append((mol.GetNumHeavyAtoms(), str(file)))
            if all(len(row) == each for row in found.values()):
                break
    return {size: row for size, row in found.items() if row}


def start(command: list[str], folder: Path, times: int = 5) -> float:
    """Seconds of the processor for the best start of a process."""
    spent = []
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    with tempfile.TemporaryDirectory() as cache:
        environment["PYTHONPYCACHEPREFIX"] = cache
        for _ in range(times):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            whole = [sys.executable, "-P", *command]
            subprocess.run(whole, check=True, capture_output=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def plot(points: dict[int, list[tuple[int, float]]], versions: list[Version], file: Path) -> None:
    """Milliseconds of single pictures against heavy atoms."""
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for number, found in points.items():
        heavy, spent = np.array(found).T
        name = "this version" if number == 0 else versions[number].folder.parent.name
        axes.scatter(heavy, 1000 * spent, s=14, label=name)
    axes.set(xlabel="heavy atoms", ylabel="ms of one core", ylim=(0, None), xlim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="speed of reading on one core")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="SMILES or tables")
    parser.add_argument("-n", type=int, default=20, help="pictures of each size; default 20")
    parser.add_argument("--against", nargs="*", default=[], type=Path, metavar="FOLDER")
    parser.add_argument("--many", type=int, default=48, help="medium pictures in one call; 0: none")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="time against heavy atoms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-start", action="store_true", help="leave out the starts")
    options = parser.parse_args()

    versions = [Version(f, beam=options.beam) for f in (HERE, *options.against)]
    names = ["this", *(f"other {k}" for k in range(1, len(versions)))]
    with tempfile.TemporaryDirectory() as folder:
        drawn = pictures(
            options.files, options.n, Path(folder), np.random.default_rng(options.seed)
        )
        first = next(iter(drawn.values()))[0][1]
        for version in versions:
            version.seconds(first)
        print("one picture, ms of one core")
        print(f"{'heavy atoms':12s} {'n':>4s} {'tokens':>7s} " + "".join(f"{n:>9s}" for n in names))
        points: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for size, row in drawn.items():
            seconds: list[list[float]] = [[] for _ in versions]
            tokens = []
            for heavy, file in row:
                turns = [[v.seconds(file) for v in versions] for _ in range(READINGS)]
                tokens.append(turns[0][0][1])
                for k in range(len(versions)):
                    seconds[k].append(min(turn[k][0] for turn in turns))
                    points[k].append((heavy, seconds[k][-1]))
            means = "".join(f"{1000 * np.mean(s):9.1f}" for s in seconds)
            print(
                f"{f'{size[0]}-{size[1]}':12s} {len(row):4d} {np.mean(tokens):7.1f} {means}",
                flush=True,
            )
        if options.plot:
            plot(points, versions, options.plot)
        if options.many and MEDIUM in drawn:
            medium = [file for _, file in drawn[MEDIUM]]
            medium = (medium * (options.many // len(medium) + 1))[: options.many]
            turns = [[v.seconds(medium)[0] for v in versions] for _ in range(READINGS)]
            best = [min(turn[k] for turn in turns) for k in range(len(versions))]
            print(f"\n{len(medium)} pictures of {MEDIUM[0]} to {MEDIUM[1]} heavy atoms in one call")
            for name, spent in zip(names, best, strict=True):
                each = spent / len(medium)
                print(
                    f"{name:12s} {1000 * each:7.1f} ms each, {1 / each:6.1f} a second of one core"
                )
        for version in versions:
            version.close()
        if options.no_start:
            return
        print("\nstart, seconds of one core")
        for label, command in {
            "import molgaze.Reader": ["-c", "from molgaze import Reader"],
            "molgaze read": ["-m", "molgaze", "read", "--threads", "1", first],
        }.items():
            spents = "".join(f"{start(command, v.folder):9.2f}" for v in versions)
            print(f"{label:24s} {spents}", flush=True)


if __name__ == "__main__":
    main()
