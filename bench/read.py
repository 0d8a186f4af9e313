"""Speed of reading: pictures a second on one core, by size of molecule, and the time to start.

    python bench/read.py FILE.smi.gz [FILE ...] [-n 20] [--beam 5] [--weights DIR]
    python bench/read.py TABLE.csv [TABLE ...] [-n 20] ...

Either held-out molecules of SMILES files drawn by our own hand, in every style and at the scale
that it drew them, or the pictures of tables with the columns ``file`` and ``smiles``. They are read
with one thread; greedy and beam take turns on each picture, and time is that of the process alone,
the best of three readings, for whatever else the machine does only adds to it. A picture whose
reading is doubtful is read at more than one scale: ``scales`` counts them. Starts are whole
processes: user and system seconds of the best of three, and by the clock. The bars: 8 a second
greedy at 20 to 30 heavy atoms, a beam of 5 at no more than 3 times that, `molgaze read` from cold
in 2 seconds.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image
from rdkit import Chem

from molgaze.picture import Sheet
from molgaze.reader import WEIGHTS, Reader
from molgaze.score import table
from molgaze.train.corpus import Corpus
from molgaze.train.draw import own, style

SIZES = ((4, 9), (10, 19), (20, 30), (31, 40), (41, 80))  # heavy atoms
MEDIUM = SIZES[2]
READINGS = 3  # of each picture, of which the fastest counts


def size_of(mol: Chem.Mol) -> tuple[int, int] | None:
    """The row of the table that a molecule belongs to."""
    heavy = mol.GetNumHeavyAtoms()
    return next((size for size in SIZES if size[0] <= heavy <= size[1]), None)


def drawings(files: list[Path], rng: np.random.Generator) -> Iterator[tuple[Chem.Mol, Image.Image]]:
    """Held-out molecules and drawings of them, without end."""
    for mol in Corpus(files, seed=int(rng.integers(2**32)), held_out=True, pool=1, uses=1):
        look = replace(style(rng, mol.GetNumHeavyAtoms()), variables=0.0, clutter=0.0)
        yield mol, Image.fromarray(255 - own(mol, rng, look).ink)


def rows(files: list[Path], rng: np.random.Generator) -> Iterator[tuple[Chem.Mol, Image.Image]]:
    """The molecules and pictures of tables, in any order."""
    every = [(row.picture, row.smiles) for path in files for row in table(path)]
    for i in rng.permutation(len(every)):
        file, smiles = every[i]
        mol = Chem.MolFromSmiles(smiles)
        if mol is not None:
            with Image.open(file) as image:
                yield mol, image.copy()


def pictures(files: list[Path], each: int, seed: int) -> dict[tuple[int, int], list[Image.Image]]:
    """As many pictures of each size of molecule, from SMILES files or from tables."""
    found: dict[tuple[int, int], list[Image.Image]] = {size: [] for size in SIZES}
    is_table = all(file.suffix == ".csv" for file in files)
    rng = np.random.default_rng(seed)
    for mol, image in (rows if is_table else drawings)(files, rng):
        size = size_of(mol)
        if size and len(found[size]) < each:
            found[size].append(image)
        if all(len(row) == each for row in found.values()):
            break
    return {size: images for size, images in found.items() if images}


def start(command: list[str], times: int = 3) -> tuple[float, float]:
    """Seconds of a core, and seconds by the clock, of the best start of a process."""
    spent, waited = [], []
    for _ in range(times):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        waited.append(time.perf_counter() - began)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent), min(waited)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="speed of reading on one core")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="SMILES or tables")
    parser.add_argument("-n", type=int, default=20, help="pictures of each size; default 20")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-start", action="store_true", help="leave out the starts")
    options = parser.parse_args()

    beams = (1, options.beam)
    readers = {beam: Reader(options.weights, threads=1, beam=beam) for beam in beams}
    drawn = pictures(options.files, options.n, options.seed)
    for reader in readers.values():
        reader.read(next(iter(drawn.values()))[0])
    patch = mock.patch.object(Sheet, "at_scale", autospec=True, side_effect=Sheet.at_scale)
    at_scale = patch.start()  # called for every scale at which a picture is read
    heads = ("heavy atoms", "n", "tokens", "scales", "ms", "a second", f"beam {options.beam}")
    print("{:12s} {:>4s} {:>7s} {:>7s} {:>7s} {:>9s} {:>9s} ratio".format(*heads))
    for size, images in drawn.items():
        seconds: dict[int, list[float]] = {beam: [] for beam in beams}
        tokens, scales = [], []
        for image in images:
            for beam, reader in readers.items():
                times = []
                for _ in range(READINGS):
                    at_scale.reset_mock()
                    began = time.process_time()
                    reading = reader.read(image)
                    times.append(time.process_time() - began)
                seconds[beam].append(min(times))
                if beam == 1:
                    tokens.append(len(reading.tokens))
                    scales.append(at_scale.call_count)
        greedy, wide = (float(np.mean(seconds[beam])) for beam in beams)
        print(
            f"{f'{size[0]}-{size[1]}':12s} {len(images):4d} {np.mean(tokens):7.1f} "
            f"{np.mean(scales):7.1f} {1000 * greedy:7.1f} {1 / greedy:9.1f} {1 / wide:9.1f} "
            f"{wide / greedy:5.2f}"
        )
    if options.no_start:
        return
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "medium.png"
        drawn[MEDIUM][0].save(picture)
        weights = ["--weights", str(options.weights), "--threads", "1"]
        print(f"\n{'start':24s} {'core s':>7s} {'clock s':>8s}")
        for name, command in {
            "python": ["-c", ""],
            "import molgaze": ["-c", "import molgaze"],
            "import molgaze.Reader": ["-c", "from molgaze import Reader"],
            "molgaze --help": ["-m", "molgaze", "--help"],
            "molgaze read": ["-m", "molgaze", "read", *weights, str(picture)],
        }.items():
            spent, waited = start(command)
            print(f"{name:24s} {spent:7.2f} {waited:8.2f}")


if __name__ == "__main__":
    main()
