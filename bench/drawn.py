"""Accuracy on clean drawings by RDKit in its default style, and by Open Babel.

    python bench/drawn.py FILE.smi.gz [FILE ...] [-n 200] [--beam 1] [--weights DIR] [--keep FOLDER]

The molecules are held out: lines of the files that training never sees. RDKit draws them with no
option set, Open Babel, which training never uses, as it lays them out itself, both on pages of
300 to 800 px. Double bonds of unknown stereo are crossed, as both programs draw them. Exact is
canonical SMILES with full stereo. With --keep the pictures stay in a folder, with ``drawn.csv`` of
all and ``misses.csv`` of those that were misread, for `molgaze score --misses`.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from molgaze.reader import WEIGHTS, Reader
from molgaze.score import Result, compare, kinds
from molgaze.train.corpus import MAX_HEAVY, read_smiles

PAGE = (300, 800)  # px a side
SIZES = ((1, 19), (20, 30), (31, 40), (41, MAX_HEAVY))  # heavy atoms


def rdkit(smiles: str, side: int, file: Path) -> bool:
    """Draw with RDKit's defaults; False if it does not."""
    mol = Chem.MolFromSmiles(smiles)
    for element in Chem.FindPotentialStereo(mol):
        unknown = element.specified == Chem.StereoSpecified.Unspecified
        if element.type == Chem.StereoType.Bond_Double and unknown:
            mol.GetBondWithIdx(element.centeredOn).SetStereo(Chem.BondStereo.STEREOANY)
    canvas = rdMolDraw2D.MolDraw2DCairo(side, side)
    try:
        rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
    except (RuntimeError, ValueError):
        return False
    canvas.FinishDrawing()
    file.write_bytes(canvas.GetDrawingText())
    return True


def babel(smiles: str, side: int, file: Path) -> bool:
    """Draw with Open Babel's defaults; False if it does not."""
    command = ["obabel", f"-:{smiles}", f"-O{file}", "-xp", str(side)]
    subprocess.run(command, capture_output=True, check=False, timeout=60)
    return file.is_file() and file.stat().st_size > 0


def molecules(files: list[Path], count: int, rng: np.random.Generator) -> list[str]:
    """Held-out molecules, as many of each file, in canonical SMILES."""
    found: list[str] = []
    for number, file in enumerate(files):
        lines = read_smiles(file, held_out=True)
        rng.shuffle(lines)
        wanted = count * (number + 1) // len(files)
        for line in lines:
            mol = Chem.MolFromSmiles(line)
            if len(found) < wanted and mol and 1 <= mol.GetNumHeavyAtoms() <= MAX_HEAVY:
                found.append(Chem.MolToSmiles(mol))
    return found


def row(name: str, results: list[Result]) -> str:
    """One row of the table."""
    shares = (np.mean([getattr(r, k) for r in results]) for k in ("exact", "tetrahedral", "flat"))
    figures = " ".join(f"{100 * share:8.1f}" for share in shares)
    return f"{name:16s} {len(results):5d} {figures} {np.median([r.ms for r in results]):7.0f}"


def main() -> None:
    """Draw, read, and print the table."""
    parser = argparse.ArgumentParser(description="accuracy on drawings of RDKit and Open Babel")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="SMILES, one a line")
    parser.add_argument("-n", type=int, default=200, help="molecules; default %(default)s")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="pictures and tables of them")
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    reader = Reader(options.weights, threads=options.threads, beam=options.beam)
    hands = {"rdkit": rdkit}
    if shutil.which("obabel"):
        hands["babel"] = babel
    results: dict[str, list[Result]] = defaultdict(list)
    groups: dict[str, list[Result]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as rough:
        folder = options.keep or Path(rough)
        for name in hands:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for number, smiles in enumerate(molecules(options.files, options.n, rng)):
            side = int(rng.integers(PAGE[0], PAGE[1] + 1))
            heavy = Chem.MolFromSmiles(smiles).GetNumHeavyAtoms()
            for name, hand in hands.items():
                file = folder / name / f"{number:05d}.png"
                if not hand(smiles, side, file):
                    continue
                reading = reader.read(file)
                result = compare(file, smiles, reading, condition=name, ms=reading.ms or 0.0)
                results[name].append(result)
                size = next(s for s in SIZES if s[0] <= heavy <= s[1])
                groups[f"{name} {size[0]}-{size[1]}"].append(result)
        every = [result for group in results.values() for result in group]
        if options.keep:
            for table, kept in ("drawn", every), ("misses", [r for r in every if not r.exact]):
                with open(folder / f"{table}.csv", "w", newline="", encoding="utf-8") as out:
                    writer = csv.writer(out)
                    writer.writerow(("file", "smiles", "condition"))
                    writer.writerows(
                        (r.file.relative_to(folder), r.expected, r.condition) for r in kept
                    )
    print(f"{'':16s} {'n':>5s} {'exact':>8s} {'tetrahed.':>8s} {'flat':>8s} {'ms':>7s}")
    for name, group in results.items():
        print(row(name, group))
        for part in (key for key in sorted(groups) if key.startswith(name + " ")):
            print(row("  " + part.removeprefix(name + " "), groups[part]))
        print("  " + ", ".join(f"{kind} {n}" for kind, n in kinds(group).items()))


if __name__ == "__main__":
    main()
